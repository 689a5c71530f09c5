# SPDX-License-Identifier: Apache-2.0
"""The client of VPP's API against a real VPP. The fip64 plugin is not needed but where a test says so."""

import contextlib
import gc
import itertools
import os
import re
import signal
import socket
import threading
import time
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fip64agent import hub
from fip64agent.translator.vpp.api import compatibility, messages
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import (
    VppError,
    VppGone,
    VppIncompatible,
    VppTimeout,
    VppUnavailable,
)
from lab.vpp import Vpp
from tests.fakes.vpp import require_vpp

STOCK = ("af_packet_plugin.so", "ping_plugin.so")
NONE = 0xFFFFFFFF


@pytest.fixture(scope="module")
def vpp(tmp_path_factory):
    """One VPP without the fip64 plugin for all tests that leave it alive."""
    require_vpp(plugin=False)
    with Vpp(Path(f"/tmp/f64c-{os.getpid()}"), plugins=STOCK) as one:
        yield one
    for left in sorted(one.directory.iterdir()):
        left.unlink()
    one.directory.rmdir()


@pytest.fixture
def mortal(short_tmp):
    """A VPP that a test may kill."""
    require_vpp(plugin=False)
    with Vpp(short_tmp / "v", plugins=STOCK) as one:
        yield one


@pytest.fixture
def client(vpp):
    one = VppClient(str(vpp.api_socket), check=False)
    one.connect()
    yield one
    one.close()


def table(number, name="a table", is_add=True, is_ip6=True):
    return "ip_table_add_del", {"is_add": is_add,
                                "table": {"table_id": number, "is_ip6": is_ip6, "name": name}}


def route(prefix, is_add=True, number=0, **path):
    af = f"ip{prefix.version}"
    return "ip_route_add_del", {"is_add": is_add, "is_multipath": False, "route": {
        "table_id": number, "stats_index": 0, "prefix": prefix, "paths": [{
            "sw_if_index": NONE, "table_id": 0, "rpf_id": NONE, "weight": 1, "preference": 0,
            "type": "FIB_API_PATH_TYPE_DROP", "flags": 0, "n_labels": 0,
            "proto": f"FIB_API_PATH_NH_PROTO_{af.upper()}",
            "nh": {"address": None, "via_label": 0, "obj_id": 0, "classify_table_index": 0}, **path}]}}


def tables(client):
    return {detail.table.table_id: detail.table.name for detail in client.dump("ip_table_dump")
            if detail.table.is_ip6 and detail.table.table_id}


# -- talking --------------------------------------------------------------------------------------


def test_it_knows_whom_it_talks_to(vpp, client):
    assert client.pid == vpp.pid
    assert client.version in vpp.cli("show version")


def test_a_thousand_requests_in_a_pipeline(client):
    begun = time.monotonic()
    results = client.pipeline([table(number, f"t{number}") for number in range(1, 1001)])
    assert [result.retval for result in results] == [0] * 1000
    assert time.monotonic() - begun < 5
    assert tables(client) == {number: f"t{number}" for number in range(1, 1001)}
    assert not any(isinstance(result, Exception)
                   for result in client.pipeline([table(number, is_add=False) for number in range(1, 1001)]))
    assert tables(client) == {}


def test_a_refusal_names_object_and_reason(client):
    with pytest.raises(VppError) as caught:
        client.call("sw_interface_set_flags", sw_if_index=9999, flags=["IF_STATUS_API_FLAG_ADMIN_UP"])
    for words in ("sw_interface_set_flags", "sw_if_index=9999", "INVALID_SW_IF_INDEX (-2)"):
        assert words in str(caught.value)


def test_routes_go_there_and_come_back(client):
    client.call(table(7)[0], **table(7)[1])
    prefixes = {IPv6Network(f"2001:db8:{number:x}::/48") for number in range(100)}
    for result in client.pipeline([route(prefix, number=7) for prefix in prefixes]):
        assert result.retval == 0
    found = {detail.route.prefix for detail in client.dump(
        "ip_route_v2_dump", src=0, table={"table_id": 7, "is_ip6": True, "name": ""})}
    assert prefixes <= found
    client.call("ip_table_flush", table={"table_id": 7, "is_ip6": True, "name": ""})
    client.call(*[table(7, is_add=False)[0]], **table(7, is_add=False)[1])


def test_events_of_interfaces(client):
    got = []
    client.subscribe("sw_interface_event", got.append)
    client.call("want_interface_events", enable_disable=1, pid=os.getpid())
    index = client.call("create_loopback", mac_address="02:fe:00:00:00:01").sw_if_index
    client.call("sw_interface_set_flags", sw_if_index=index, flags=["IF_STATUS_API_FLAG_ADMIN_UP"])
    client.call("delete_loopback", sw_if_index=index)
    deadline = time.monotonic() + 2
    while not any(event.deleted for event in got) and time.monotonic() < deadline:
        hub.sleep(0.01)
    assert {event.sw_if_index for event in got} == {index} and got[-1].deleted


def test_a_cursor_stream(client):
    assert isinstance(client.get("ip_path_mtu_get"), list)


def test_close_leaves_no_client_in_vpp(vpp):
    one = VppClient(str(vpp.api_socket), name="short-lived", check=False)
    one.connect()
    assert "short-lived" in vpp.cli("show api clients")
    one.close()
    hub.sleep(0.2)
    assert "short-lived" not in vpp.cli("show api clients")


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_clients_that_were_killed_do_not_keep_vpp_busy(short_tmp):
    require_vpp(plugin=False)
    with Vpp(short_tmp / "v", plugins=STOCK, poll_sleep=0) as vpp:
        for _ in range(3):
            killed = VppClient(str(vpp.api_socket), check=False)
            killed.connect()
            killed._transport.close()  # without the good-bye of close(), as the kernel does it
        hub.sleep(0.2)
        one = VppClient(str(vpp.api_socket), check=False)
        one.connect()
        try:
            before, begun = cpu_seconds(vpp.pid), time.monotonic()
            hub.sleep(2)
            assert cpu_seconds(vpp.pid) - before < 0.2 * (time.monotonic() - begun)
            named = one.call("cli_inband", cmd="show api clients").reply.splitlines()
            assert sum("fip64agent" in line for line in named) == 1
        finally:
            one.close()


def test_a_foreign_tag_that_is_not_ascii_does_not_spoil_the_dump(vpp, client):
    # VPP's own command line lets it through.
    index = client.call("create_loopback", mac_address="02:fe:00:00:00:02").sw_if_index
    vpp.cli(f"set interface tag loop0 t{chr(0xe9)}g")
    try:
        found = {detail.sw_if_index: detail.tag for detail in client.dump(
            "sw_interface_dump", name_filter_valid=False)}
        assert index in found
    finally:
        client.call("delete_loopback", sw_if_index=index)


# -- what would kill VPP --------------------------------------------------------------------------


def test_malformed_routes_do_not_reach_vpp(vpp, client):
    good = IPv6Network("2001:db8::/32")
    bad = [route(good, proto="FIB_API_PATH_NH_PROTO_MPLS"), route(good, proto="FIB_API_PATH_NH_PROTO_IP4"),
           route(good, type="FIB_API_PATH_TYPE_UDP_ENCAP"), route(good, type="FIB_API_PATH_TYPE_DVR"),
           route(good, type="FIB_API_PATH_TYPE_BIER_IMP"), route(good, type=77),
           route(good, type="FIB_API_PATH_TYPE_LOCAL", sw_if_index=9999), route(good, n_labels=200),
           route(good, nh={"address": {"ip4": "10.0.0.1"}, "via_label": 0, "obj_id": 0,
                           "classify_table_index": 0})]
    assert [type(result) for result in client.pipeline(bad)] == [ValueError] * len(bad)
    assert vpp.running and client.call("control_ping").retval == 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["NORMAL", "DROP", "ICMP_UNREACH", "ICMP_PROHIBIT"]),
       st.sampled_from([NONE, 0, 1, 9999]), st.sampled_from([0, 7, NONE]), st.integers(0, 255),
       st.booleans(), st.integers(0, 128), st.integers(0, (1 << 128) - 1), st.integers(0, 7))
def test_what_passes_the_check_does_not_kill_vpp(vpp, client, kind, interface, number, weight, is_add,
                                                 length, via, flags):
    if length <= 32 and via & 1:
        prefix, hop = IPv4Network((via >> 96, length), strict=False), None
    else:
        prefix, hop = IPv6Network((via, length), strict=False), {"ip6": IPv6Address(via)}
    request = route(prefix, is_add, number, type=f"FIB_API_PATH_TYPE_{kind}", sw_if_index=interface,
                    weight=weight, flags=flags,
                    nh={"address": hop, "via_label": 0, "obj_id": 0, "classify_table_index": 0})
    result, = client.pipeline([request])
    assert not isinstance(result, (VppGone, VppTimeout)), request
    if is_add and not isinstance(result, Exception):
        client.pipeline([(request[0], {**request[1], "is_add": False})])


# -- a VPP that dies or hangs ---------------------------------------------------------------------


def test_killed_in_the_middle_of_a_pipeline(mortal):
    client = VppClient(str(mortal.api_socket), check=False)
    client.connect()
    lost = []
    client.on_lost = lost.append
    requests = [route(IPv6Network((number << 64, 64))) for number in range(20000)]
    killer = threading.Timer(0.05, os.kill, (mortal.pid, signal.SIGKILL))
    killer.start()
    begun = time.monotonic()
    results = client.pipeline(requests)
    took = time.monotonic() - begun
    killer.join()
    assert took < 3, "nobody waits for a dead VPP"
    kinds = [isinstance(result, VppGone) for result in results]
    assert len(results) == 20000 and None not in results
    first = kinds.index(True)
    assert all(kinds[first:]) and not any(isinstance(result, Exception) for result in results[:first])
    hub.sleep(0.01)
    assert len(lost) == 1 and not client.connected
    with pytest.raises(VppUnavailable, match="Connection refused"):
        client.connect()


def test_stopped_and_continued(mortal):
    client = VppClient(str(mortal.api_socket), timeout=0.5, check=False)
    client.connect()
    os.kill(mortal.pid, signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(VppTimeout, match="control_ping"):
        client.call("control_ping")
    results = client.pipeline([table(number) for number in range(1, 50)])
    assert {type(result) for result in results} == {VppTimeout}
    assert time.monotonic() - begun < 2
    with pytest.raises(VppUnavailable, match="no handshake"):
        VppClient(str(mortal.api_socket), timeout=0.5, check=False).connect()
    os.kill(mortal.pid, signal.SIGCONT)
    assert client.call("control_ping", _timeout=5).retval == 0
    client.close()


def test_another_vpp_with_other_message_numbers_comes_in_its_place(short_tmp):
    require_vpp(plugin=False)
    directory = short_tmp / "v"
    path = str(directory / "api.sock")
    client = VppClient(path, check=False)
    with Vpp(directory, plugins=(*STOCK, "nat_plugin.so", "map_plugin.so")):
        client.connect()
        before = client.call("control_ping").vpe_pid
        client.call(table(3)[0], **table(3)[1])
    with Vpp(directory, plugins=("ping_plugin.so",)):
        with pytest.raises(VppGone):
            client.call("control_ping")
        client.connect()
        assert client.call("control_ping").vpe_pid != before
        assert tables(client) == {}
        client.call(table(4)[0], **table(4)[1])
        assert tables(client) == {4: "a table"}
        client.close()


@pytest.fixture
def no_collector():
    """After a thousand tests there is much to look through, at a stretch."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_the_processor_is_left_to_others_meanwhile(client, no_collector):
    """A long pipeline does not hold up other greenthreads."""
    ticks, done = [], []

    def ticker():
        while not done:
            ticks.append(time.process_time())  # of CPU: the machine may be busy with others
            hub.sleep(0.01)

    thread = hub.spawn(ticker)
    client.pipeline([("control_ping", {})] * 20000)
    done.append(True)
    thread.wait()
    gaps = [after - before for before, after in itertools.pairwise(ticks)]
    assert max(gaps) < 0.25, "what is used up at a stretch"


# -- a VPP that speaks other messages -------------------------------------------------------------


def test_without_the_plugin_it_says_so_and_where_it_was_looked_for(vpp):
    with pytest.raises(VppIncompatible) as caught:
        VppClient(str(vpp.api_socket)).connect()
    said = str(caught.value)
    assert f"at {vpp.api_socket} runs without the fip64 plugin: VPP looks for plugins in " in said
    assert str(vpp.installed.own_plugins) in said
    assert "speaks another" not in said and "does not know" not in said, "this VPP's own messages are known"


class Liar:
    """A socket between the client and VPP that replaces bytes in what VPP says."""

    def __init__(self, path, behind, old, new):
        assert len(old) == len(new)
        self.old, self.new, self.behind = old, new, behind
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        front, _ = self.listener.accept()
        with front, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as back, contextlib.suppress(OSError):
            back.connect(self.behind)
            threading.Thread(target=self.ask, args=(front, back), daemon=True).start()
            while (header := self.exactly(back, 16)) is not None:
                message = self.exactly(back, int.from_bytes(header[8:12], "big"))
                front.sendall(header + message.replace(self.old, self.new))

    @staticmethod
    def ask(front, back):
        with contextlib.suppress(OSError):
            while data := front.recv(1 << 16):
                back.sendall(data)
            back.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def exactly(sock, size):
        data = b""
        while len(data) < size:
            if not (piece := sock.recv(size - len(data))):
                return None
            data += piece
        return data


def test_an_unexpected_crc_of_the_plugin_is_named(short_tmp):
    require_vpp()
    with Vpp(short_tmp / "v") as one:
        crc = messages.FIP64["fip64_mapping_add_del"]
        path = str(short_tmp / "liar.sock")
        Liar(path, str(one.api_socket), f"fip64_mapping_add_del_{crc}".encode(),
             b"fip64_mapping_add_del_deadbeef")
        with pytest.raises(VppIncompatible) as caught:
            VppClient(path).connect()
        assert (f"at {path} speaks fip64_mapping_add_del 0xdeadbeef, this agent expects 0x{crc}: "
                "install the plugin of the same version") in str(caught.value)


def test_a_message_that_vpp_lacks_is_named(vpp, short_tmp):
    path = str(short_tmp / "liar.sock")
    Liar(path, str(vpp.api_socket), b"ip_route_add_del_b8", b"ip_route_add_xxx_b8")
    client = VppClient(path)
    with pytest.raises(VppIncompatible, match="does not know ip_route_add_del"):
        client.connect()


def test_this_vpp_has_all_the_messages(vpp, client):
    require_vpp(plugin=False)
    found = compatibility.faults(client._definitions, {
        f"{name}_{client._definitions.crc(name)}": number for name, number in client._numbers.items()})
    assert found == ["runs without the fip64 plugin"]


def test_it_is_not_vpp(short_tmp):
    path = str(short_tmp / "web.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()

    def serve():
        sock, _ = listener.accept()
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)

    threading.Thread(target=serve, daemon=True).start()
    words = re.escape(f"VPP's API socket {path}") + ".*not VPP's API protocol"
    with pytest.raises(VppUnavailable, match=words):
        VppClient(path, timeout=2).connect()
