# SPDX-License-Identifier: Apache-2.0
"""The client of VPP's API against a stand-in that hangs, lies and dies on command."""

import contextlib
import fcntl
import os
import socket
import struct
import termios
import threading
import time
from ipaddress import IPv4Address, IPv6Address

import pytest

from fip64agent import hub
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppError, VppGone, VppTimeout, VppUnavailable, explain
from tests.fakes.vppapi import FakeVpp

THING = {"number": 1, "fixed": IPv4Address("10.0.0.5"), "floating": IPv6Address("2001:db8::1")}


@pytest.fixture
def connect(tmp_path_factory):
    """Start a stand-in with these answers; return it and a connected client."""
    opened = []
    directory = tmp_path_factory.mktemp("v")

    def made(timeout=2.0, **answers):
        fake = FakeVpp(directory, **answers).__enter__()
        client = VppClient(fake.path, timeout=timeout, check=False)
        opened.extend([client, fake])
        client.connect()
        return fake, client

    yield made
    for each in opened:
        each.close() if isinstance(each, VppClient) else each.__exit__()


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        hub.sleep(0.005)
    return condition()


def wait_until_blocked(client):
    """Until the socket takes no more of what somebody sends."""
    waiting, same = -1, 0
    while same < 3:
        hub.sleep(0.03)
        now = struct.unpack("i", fcntl.ioctl(client._transport._sock, termios.TIOCOUTQ, bytes(4)))[0]
        waiting, same = now, same + 1 if now and now == waiting else 0


# -- connecting -----------------------------------------------------------------------------------


def test_handshake_and_good_bye(connect):
    fake, client = connect()
    assert client.connected and client.pid == os.getpid() and client.lost is None
    with pytest.raises(ValueError, match=r"ip_route_add_del: VPP at .* has no such message"):
        client.call("ip_route_add_del")
    client.close()
    assert not client.connected
    assert until(lambda: "sockclnt_delete" in fake.seen), "VPP would keep the client for ever"
    with pytest.raises(VppGone, match="closed by the agent"):
        client.call("control_ping")


def test_no_socket_is_named_with_the_reason(tmp_path):
    path = str(tmp_path / "api.sock")
    with pytest.raises(VppUnavailable, match=f"VPP's API socket {path}: No such file"):
        VppClient(path).connect()


def test_a_socket_that_nobody_listens_on(tmp_path):
    import socket

    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "api.sock"))
    sock.close()
    with pytest.raises(VppUnavailable, match="Connection refused"):
        VppClient(str(tmp_path / "api.sock")).connect()


def test_a_socket_where_too_many_wait_already_gets_patience(tmp_path):
    path = str(tmp_path / "api.sock")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(1)
        with pytest.raises(BlockingIOError):
            for _ in range(9):
                other = stack.enter_context(socket.socket(socket.AF_UNIX))
                other.setblocking(False)
                other.connect(path)
        begun, busy = time.monotonic(), time.process_time()
        with pytest.raises(VppUnavailable, match=r"no connection within 0\.5 s"):
            VppClient(path, timeout=0.5).connect()
        assert time.monotonic() - begun >= 0.5 and time.process_time() - busy < 0.2


def test_a_vpp_that_hangs_before_the_handshake(connect):
    with pytest.raises(VppUnavailable, match=r"handshake: VPP did not answer sockclnt_create within 0.3 s"):
        connect(timeout=0.3, sockclnt_create=lambda fake, request: None)


@pytest.mark.parametrize(("data", "words"), [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not VPP's API protocol"),
    (struct.pack(">QII", 0, 1 << 31, 0), "not VPP's API protocol: a message of 2147483648 bytes"),
    (struct.pack(">QII", 0, 0, 0), "not VPP's API protocol: a message of 0 bytes"),
])
def test_garbage_is_reported_and_the_connection_dropped(connect, data, words):
    _, client = connect(timeout=60, things_add_del=lambda fake, request: fake.raw(data))
    begun = time.monotonic()
    with pytest.raises(VppGone, match=words):
        client.call("things_add_del", things=[THING])
    assert time.monotonic() - begun < 30, "waiters are woken, they do not time out"
    assert not client.connected


def test_a_message_that_is_cut_short(connect):
    def answer(fake, request):
        number = fake.numbers["things_add_del_reply"]
        fake.raw(struct.pack(">QII", 0, 6, 0) + struct.pack(">HI", number, request.context))

    _, client = connect(things_add_del=answer)
    with pytest.raises(VppGone, match=r"sent a things_add_del_reply that cannot be read"):
        client.call("things_add_del", things=[THING])
    assert client.call("control_ping").retval == 0, "the stream is in step, so it goes on"


# -- calls ----------------------------------------------------------------------------------------


def refusing(retval):
    return lambda fake, request: fake.send("things_add_del_reply", context=request.context, retval=retval)


def test_a_refusal_names_message_object_and_reason(connect):
    _, client = connect(things_add_del=refusing(-3))
    with pytest.raises(VppError) as caught:
        client.call("things_add_del", things=[THING])
    error = caught.value
    assert (error.message, error.retval) == ("things_add_del", -3) and "NO_SUCH_FIB (-3)" in str(error)
    for word in ("things_add_del", "10.0.0.5", "2001:db8::1", "NO_SUCH_FIB (-3)", "no such IP table"):
        assert word in str(error)
    assert error.reply.retval == -3


def test_return_values_that_nobody_knows_are_reported_as_numbers():
    assert "(-4711)" in explain(-4711)


def test_a_malformed_request_is_never_sent(connect):
    fake, client = connect()
    with pytest.raises(ValueError, match="things_add_del: things"):
        client.call("things_add_del", things=[{**THING, "number": -1}])
    with pytest.raises(ValueError, match=r"no_such_thing: VPP at .* has no such message"):
        client.call("no_such_thing")
    client.call("control_ping")
    assert "things_add_del" not in fake.seen


def test_deadline_of_a_call_and_a_late_answer(connect):
    late = []
    _, client = connect(things_add_del=lambda fake, request: late.append((fake, request)))
    begun = time.monotonic()
    with pytest.raises(VppTimeout, match=r"things_add_del within 0.2 s"):
        client.call("things_add_del", _timeout=0.2, things=[THING])
    assert time.monotonic() - begun > 0.15
    fake, request = late[0]
    fake.send("things_add_del_reply", context=request.context, retval=-1)
    assert client.call("control_ping").retval == 0, "the late answer is nobody's"
    assert not client.waiting


def test_death_wakes_everybody_at_once(connect):
    _, client = connect(timeout=60, things_add_del=lambda fake, request: None,
                        thing_dump=lambda fake, request: fake.die())
    lost = []
    client.on_lost = lost.append
    results = []

    def waiter():
        try:
            client.call("things_add_del", things=[THING])
        except VppGone as error:
            results.append(error)

    threads = [hub.spawn(waiter) for _ in range(10)]
    hub.sleep(0.05)
    begun = time.monotonic()
    with pytest.raises(VppGone):
        client.dump("thing_dump")
    for thread in threads:
        thread.wait()
    assert len(results) == 10 and time.monotonic() - begun < 30
    assert until(lambda: lost == ["VPP closed the connection"])


def test_the_client_reconnects(connect):
    _, client = connect(things_add_del=lambda fake, request: fake.die())
    with pytest.raises(VppGone):
        client.call("things_add_del", things=[THING])
    client.connect()
    assert client.call("control_ping").retval == 0


# -- many -----------------------------------------------------------------------------------------


def test_pipeline_keeps_order_and_goes_on_after_failures(connect):
    def answer(fake, request):
        number = request.things[0].number
        fake.send("things_add_del_reply", context=request.context, retval=-6 if number % 10 == 3 else 0)

    _, client = connect(things_add_del=answer)
    requests = [("things_add_del", {"things": [{**THING, "number": number if number != 50 else -1}]})
                for number in range(500)]
    results = client.pipeline(requests, window=16)
    for number, result in enumerate(results):
        if number == 50:
            assert isinstance(result, ValueError)
        elif number % 10 == 3:
            assert isinstance(result, VppError) and result.retval == -6 and f"number={number}" in str(result)
        else:
            assert result.retval == 0
    assert not client.waiting


def test_pipeline_stays_within_its_window(connect):
    under_way = []

    def answer(fake, request):
        under_way.append(len(client.waiting))
        fake.send("things_add_del_reply", context=request.context)

    _, client = connect(things_add_del=answer)
    results = client.pipeline([("things_add_del", {"things": [THING]})] * 200, window=8)
    assert all(result.retval == 0 for result in results)
    assert 1 < max(under_way) <= 8


def test_death_in_the_middle_of_a_pipeline(connect):
    count = []

    def answer(fake, request):
        count.append(1)
        if len(count) > 300:
            fake.die()
        else:
            fake.send("things_add_del_reply", context=request.context)

    _, client = connect(timeout=60, things_add_del=answer)
    begun = time.monotonic()
    results = client.pipeline([("things_add_del", {"things": [THING]})] * 1000)
    assert time.monotonic() - begun < 30
    good = [result for result in results if not isinstance(result, Exception)]
    assert len(good) <= 300 and all(isinstance(result, VppGone) for result in results[300:])
    assert len(results) == 1000 and None not in results and not client.waiting


def test_hang_in_the_middle_of_a_pipeline(connect):
    count = []

    def answer(fake, request):
        count.append(1)
        if len(count) <= 10:
            fake.send("things_add_del_reply", context=request.context)

    _, client = connect(timeout=1.5, things_add_del=answer)
    results = client.pipeline([("things_add_del", {"things": [THING]})] * 20)
    assert [isinstance(result, VppTimeout) for result in results] == [False] * 10 + [True] * 10
    assert client.connected and not client.waiting


def test_a_vpp_that_does_not_read_holds_up_nobody(connect):
    """The socket's buffer is full: neither the pipeline nor a call beside it waits for ever."""
    awake = threading.Event()
    _, client = connect(things_add_del=lambda fake, request: awake.wait(60))
    pipeline = hub.spawn(client.pipeline, [("things_add_del", {"things": [THING] * 200})] * 500, timeout=2.0)
    wait_until_blocked(client)
    with pytest.raises(VppTimeout, match=r"for 0.3 s"):
        client.call("control_ping", _timeout=0.3)
    results = pipeline.wait()
    assert len(results) == 500 and all(isinstance(result, (VppTimeout, VppGone)) for result in results)
    assert "has not read" in client.lost and not client.waiting
    awake.set()


def test_what_follows_half_a_message_is_not_taken_for_its_rest(connect):
    """The sender is ended while VPP does not read."""
    awake = threading.Event()
    _, client = connect(things_add_del=lambda fake, request: awake.wait(60))
    sender = hub.spawn(client.pipeline, [("things_add_del", {"things": [THING] * 200})] * 500)
    wait_until_blocked(client)
    sender.kill()
    with pytest.raises(VppGone, match="in the middle of a message"):
        client.call("control_ping", _timeout=0.3)
    awake.set()
    client.connect()
    assert client.call("control_ping").vpe_pid == os.getpid()


@pytest.mark.parametrize("ask", [
    lambda client: [client.call("control_ping", _timeout=0.5)],
    lambda client: client.pipeline([("control_ping", {})] * 3, timeout=0.5),
    lambda client: client.dump("thing_dump", _timeout=0.5) or [None]], ids=["call", "pipeline", "dump"])
def test_an_agent_that_was_held_up_itself_does_not_report_a_timeout(connect, ask):
    """VPP has answered in time, but the agent has not read it yet: a healthy VPP would be killed as hung."""
    def in_time(fake, request):
        time.sleep(0.1)
        fake.send("control_ping_reply", context=request.context, vpe_pid=1)

    _, client = connect(control_ping=in_time, thing_dump=lambda fake, request: None)
    near, far = socket.socketpair()
    with near, far:

        def hold_up() -> None:  # woken by what it reads: the hub then looks at its clock before its sockets
            hub.wait_readable(far.fileno())
            time.sleep(1.0)

        holding = hub.spawn(hold_up)
        hub.sleep(0)
        hub.spawn(near.send, b"x")
        assert not any(isinstance(answer, Exception) for answer in ask(client))
        holding.wait()


def test_pipelines_of_two_greenthreads_do_not_mix(connect):
    def answer(fake, request):
        fake.send("things_add_del_reply", context=request.context, retval=-request.things[0].number)

    _, client = connect(things_add_del=answer)

    def run(number):
        return client.pipeline([("things_add_del", {"things": [{**THING, "number": number}]})] * 200)

    for number, thread in [(number, hub.spawn(run, number)) for number in (7, 8)]:
        assert {result.retval for result in thread.wait()} == {-number}


# -- dumps and streams ----------------------------------------------------------------------------


def detail(fake, context, number, tag="a tag"):
    fake.send("thing_details", context=context, tag=tag,
              thing={"number": number, "fixed": bytes(4), "floating": bytes(16)})


def test_dump_ends_with_the_ping_behind_it(connect):
    _, client = connect(thing_dump=lambda fake, request: [detail(fake, request.context, n) for n in range(5)])
    assert [each.thing.number for each in client.dump("thing_dump")] == [0, 1, 2, 3, 4]
    assert client.dump("thing_dump")[0].tag == "a tag"


def test_a_tag_that_is_not_text_does_not_spoil_the_dump(connect):
    def answer(fake, request):
        message = fake.definitions.message("thing_details").pack({
            "_vl_msg_id": fake.numbers["thing_details"], "context": request.context, "tag": "x" * 15,
            "thing": {"number": 1, "fixed": bytes(4), "floating": bytes(16)}})
        message = message.replace(b"xx", b"\xff\xfe", 1)
        fake.raw(struct.pack(">QII", 0, len(message), 0) + message)
        detail(fake, request.context, 2, "good")

    _, client = connect(thing_dump=answer)
    tags = [each.tag for each in client.dump("thing_dump")]
    assert tags[1] == "good" and tags[0].endswith("xxx")


def test_cursor_stream_is_read_to_its_end(connect):
    def answer(fake, request):
        for number in range(request.cursor, request.cursor + 3):
            detail(fake, request.context, number)
        fake.send("thing_get_reply", context=request.context, cursor=request.cursor + 3,
                  retval=-165 if request.cursor < 6 else 0)

    fake, client = connect(thing_get=answer)
    assert [each.thing.number for each in client.get("thing_get")] == list(range(9))
    assert fake.seen.count("thing_get") == 3


def test_a_cursor_that_does_not_move_is_an_error_not_a_loop(connect):
    _, client = connect(thing_get=lambda fake, request: fake.send(
        "thing_get_reply", context=request.context, cursor=request.cursor, retval=-165))
    with pytest.raises(VppError, match="does not move"):
        client.get("thing_get")


def test_a_refused_stream(connect):
    _, client = connect(thing_get=lambda fake, request: fake.send(
        "thing_get_reply", context=request.context, retval=-6))
    with pytest.raises(VppError, match=r"thing_get .*NO_SUCH_ENTRY"):
        client.get("thing_get")


def test_a_long_dump_may_take_longer_than_the_deadline(connect):
    def answer(fake, request):
        for number in range(8):
            detail(fake, request.context, number)
            time.sleep(0.25)

    _, client = connect(timeout=1.5, thing_dump=answer)
    assert len(client.dump("thing_dump")) == 8


# -- events ---------------------------------------------------------------------------------------


def test_events_reach_their_subscribers_in_order_in_a_greenthread_of_their_own(connect):
    def answer(fake, request):
        for number in range(5):
            fake.send("thing_event", pid=1, number=number)
        fake.send("things_add_del_reply", context=request.context)

    _, client = connect(things_add_del=answer)
    got, pings = [], []

    def subscriber(event):
        got.append(event.number)
        if event.number == 1:
            raise RuntimeError("a faulty subscriber")
        pings.append(client.call("control_ping").retval)  # it may wait: the reader goes on

    client.subscribe("thing_event", subscriber)
    client.call("things_add_del", things=[THING])
    assert until(lambda: got == [0, 1, 2, 3, 4] and pings == [0] * 4)


def test_keepalive_is_answered(connect):
    def answer(fake, request):
        fake.send("memclnt_keepalive", context=4711)
        fake.send("things_add_del_reply", context=request.context)

    fake, client = connect(things_add_del=answer)
    client.call("things_add_del", things=[THING])
    assert until(lambda: "memclnt_keepalive_reply" in fake.seen)


def test_unknown_messages_are_left_alone(connect):
    def answer(fake, request):
        fake.raw(struct.pack(">QII", 0, 8, 0) + struct.pack(">HIH", 999, 1, 2))
        fake.send("things_add_del_reply", context=request.context)

    _, client = connect(things_add_del=answer)
    assert client.call("things_add_del", things=[THING]).retval == 0
