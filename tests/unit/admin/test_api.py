# SPDX-License-Identifier: Apache-2.0
"""The admin API over a real unix socket: answers, errors, and the socket itself."""

import concurrent.futures
import contextlib
import http
import json
import os
import socket
import stat
import subprocess
import sys
import time

import pytest

from fip64agent import hub
from fip64agent.admin.api import AdminServer
from fip64agent.admin.client import Client, RequestRefused, is_listening
from fip64agent.exceptions import AlreadyRunning, ConfigError, PermissionDenied
from tests.unit.admin.conftest import serving

LISTEN = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()"


def raw(path: str, request: bytes) -> bytes:
    """Send bytes as they are and return all of the answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(path)
        sock.sendall(request)
        answer = b""
        while data := sock.recv(65536):
            answer += data
    return answer


def refused(running, *parts, **query) -> tuple[int, str]:
    with pytest.raises(RequestRefused) as caught:
        running.get(*parts, **query)
    return caught.value.status, str(caught.value)


def test_status(running):
    answer = running.get("status")
    assert answer["state"] == "active" and answer["settled"] is True and answer["problems"] == []
    assert answer["objects"]["fip"] == {"active": 2, "pending": 0, "error": 0, "down": 0}
    assert answer["host"] == "node-1" and answer["pid"] == os.getpid()


def test_a_floating_ip_by_id_by_address_and_by_another_spelling(running):
    by_id = running.get("fips", "fip-vm-red")
    assert by_id["floating_ip_address"] == "2001:db8:f::10" and by_id["vm_interface"] == "tap-vm-red"
    assert running.get("fips", "2001:db8:f::10") == running.get("fips", "2001:DB8:F:0::10") == by_id


def test_lists(running):
    assert [row["id"] for row in running.get("fips")] == ["fip-vm-blue", "fip-vm-red"]
    assert [row["port_id"] for row in running.get("uplinks")] == ["uplink"]
    kinds = [row["kind"] for row in running.get("plan")["objects"]]
    assert kinds == ["host", "uplink", "tenant", "tenant", "fip", "fip", "gateway", "gateway"]


def test_diff_tells_what_the_next_pass_would_do(running):
    assert running.get("diff") == {"changes": []}
    running.agent.rooms["switch"].installed.pop("switch of fip fip-vm-red")
    (change,) = running.get("diff")["changes"]
    assert change == {"room": "switch", "action": "create", "object": "fip fip-vm-red",
                      "what": "switch of fip fip-vm-red"}


def test_a_component_that_is_down_is_503_and_named(running):
    running.agent.rooms["switch"].down = "ovs-vswitchd does not answer"
    assert refused(running, "diff") == (503, "switch: ovs-vswitchd does not answer")
    assert refused(running, "flows") == (503, "ovs-vswitchd does not answer")


@pytest.mark.parametrize(("parts", "query", "status", "words"), [
    (("nothing",), {}, 404, "there is /status"),
    (("status", "more"), {}, 404, "/status has nothing below it"),
    (("fips", "2001:db8::99"), {}, 404, "2001:db8::99"),
    (("fips", "nobody"), {}, 404, "no floating IP has the id or the address nobody"),
    (("fips", "a", "b"), {}, 404, "nothing below"),
    (("fips", ""), {}, 404, "no floating IP has the id or the address ''"),
    (("fips", "/"), {}, 404, "nothing below"),
    (("fips", "zürich"), {}, 404, "the address zürich;"),
    (("fips", "z\udcff"), {}, 404, "the address z\ufffd;"),
    (("clients",), {"router": "z\udcff"}, 404, "no router has the id or the name z\ufffd"),
    (("status",), {"fip": "x"}, 400, "unknown parameter 'fip'; known: none"),
    (("clients",), {"client": "10.0.0.1"}, 400, "neither an IPv6 address nor a prefix"),
    (("clients",), {"router": "green"}, 404, "no router has the id or the name green"),
    (("flows",), {"feature": "magic"}, 400, "there is default, redirect"),
    (("flows",), {"table": "99"}, 400, "classifier (0)"),
    (("trace",), {}, 400, "'fip' is missing"),
    (("trace",), {"fip": "nobody"}, 404, "nobody"),
    (("trace",), {"fip": "fip-vm-red", "live": "0"}, 400, "seconds from 1 to 30"),
    (("trace",), {"fip": "fip-vm-red", "live": "ten"}, 400, "seconds from 1 to 30"),
    (("trace",), {"fip": "fip-vm-red", "client": "192.0.2.1"}, 400, "'192.0.2.1' is not an IPv6 address"),
    (("trace",), {"fip": "fip-vm-red", "client": "ff02::1"}, 400, "not an address that a client can have"),
])
def test_bad_requests(running, parts, query, status, words):
    got, message = refused(running, *parts, **query)
    assert got == status and words in message
    assert running.get("status")["state"] == "active"


@pytest.mark.parametrize(("request_", "status"), [
    (b"\x00\xff\r\n\r\n", b"400"),
    (b"GET /status HTTP/1.0\r\n" + b"X: y\r\n" * 150 + b"\r\n", b"431"),
    (b"GET /status HTTP/nine\r\n\r\n", b"400")], ids=["garbage", "headers", "version"])
def test_what_is_no_http_is_refused_without_a_traceback(running, capfd, request_, status):
    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(running.socket)
            sock.sendall(request_)
            return sock.makefile("rb").read()

    assert status in hub.offload(ask)
    assert running.get("status")["state"] == "active"
    assert capfd.readouterr().err == ""


def test_many_ask_while_the_agent_is_busy(running):
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers_ = [pool.submit(Client(running.socket, timeout=30).get, "status") for _ in range(40)]
        time.sleep(0.3)  # the hub's thread has other things to do: more wait than the socket's queue holds
        hub.offload(concurrent.futures.wait, answers_, 30)
        assert [answer.result(0)["state"] for answer in answers_] == ["active"] * 40


def test_a_parameter_given_twice_is_refused(running):
    answer = hub.offload(raw, running.socket, b"GET /trace?fip=a&fip=b HTTP/1.0\r\n\r\n")
    assert b" 400 " in answer.splitlines()[0] and b"given twice" in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_nothing_can_be_changed_here(running, method):
    answer = hub.offload(raw, running.socket, f"{method} /status HTTP/1.0\r\n\r\n".encode())
    head = answer.partition(b"\r\n\r\n")[0]
    assert b" 405 " in head.splitlines()[0] and b"Allow: GET" in head


@pytest.mark.parametrize("garbage", [b"\x00\xff\n\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                                     b"GET /" + b"a" * 70000 + b" HTTP/1.0\r\n\r\n",
                                     b"GET /%ff%00/.. HTTP/1.0\r\n\r\n"])
def test_garbage_ends_nothing(running, garbage):
    with contextlib.suppress(ConnectionResetError):
        hub.offload(raw, running.socket, garbage)
    assert running.get("status")["state"] == "active"


def test_a_fault_of_ours_is_500_and_logged_and_ends_nothing(running, caplog):
    running.agent.rooms["switch"].dump = lambda: [{"cookie": "what"}]
    status, message = refused(running, "flows")
    assert status == 500 and "internal error: ValueError" in message
    assert "GET /flows failed" in caplog.text and "Traceback" in caplog.text
    assert running.get("status")["state"] == "active"


def test_a_silent_connection_holds_up_nobody(running):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(running.socket)
        assert running.get("status")["state"] == "active"


# -- the socket -----------------------------------------------------------------------------


def test_the_socket_is_for_root_only_and_goes_with_the_agent(agent):
    path = agent.conf.admin.socket
    server = AdminServer(agent, path)
    server.start()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert is_listening(path)
    server.stop()
    server.stop()
    assert not os.path.exists(path) and not is_listening(path)


def test_a_taken_socket_names_the_socket_and_the_process(running):
    with pytest.raises(AlreadyRunning) as caught:
        AdminServer(running.agent, running.socket).start()
    assert running.socket in str(caught.value) and f"process {os.getpid()}" in str(caught.value)
    assert running.get("status")["state"] == "active"


def test_a_socket_that_an_agent_left_behind_is_replaced(agent):
    path = agent.conf.admin.socket
    subprocess.run([sys.executable, "-c", LISTEN, path], check=True)
    assert os.path.exists(path)
    with serving(agent):
        assert hub.offload(Client(path).get, "status")["state"] == "active"


def test_a_listening_socket_inherited_by_a_child_of_a_dead_agent_is_stale(agent):
    """The child never accepts; who listened is gone."""
    path = agent.conf.admin.socket
    code = LISTEN + ("; import subprocess; nowhere = subprocess.DEVNULL; print(subprocess.Popen("
                     "['sleep', '60'], pass_fds=[s.fileno()], stdout=nowhere, stderr=nowhere).pid)")
    done = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True)
    child = int(done.stdout)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)  # somebody would answer, so it seems
        with serving(agent):
            assert hub.offload(Client(path).get, "status")["state"] == "active"
    finally:
        os.kill(child, 9)


def test_a_file_that_is_no_socket_is_left_alone(agent, short_tmp):
    path = short_tmp / "admin.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is not a socket"):
        AdminServer(agent, str(path)).start()
    assert path.read_text() == "precious"


def test_a_path_too_long_for_a_socket(agent):
    with pytest.raises(ConfigError, match="longer than 107 bytes"):
        AdminServer(agent, "/run/" + "x" * 120).start()


def test_a_place_where_no_socket_can_be(agent, short_tmp):
    (short_tmp / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/admin\.sock: "):
        AdminServer(agent, str(short_tmp / "file" / "admin.sock")).start()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written(agent, short_tmp):
    os.chmod(short_tmp, 0o500)
    with pytest.raises(PermissionDenied, match=r"admin\.sock: "):
        AdminServer(agent, agent.conf.admin.socket).start()


def test_the_run_directory_is_made(agent, short_tmp):
    server = AdminServer(agent, str(short_tmp / "run" / "fip64agent" / "admin.sock"))
    server.start()
    try:
        assert is_listening(server.path)
    finally:
        server.stop()


def test_stop_leaves_another_agent_s_socket_alone(agent):
    path = agent.conf.admin.socket
    first = AdminServer(agent, path)
    first.start()
    os.unlink(path)
    with serving(agent):
        first.stop()  # its file is gone, the other's is not
        assert hub.offload(Client(path).get, "status")["state"] == "active"


def test_answers_are_json_with_their_type_and_length(running):
    answer = hub.offload(raw, running.socket, b"GET /nothing HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert http.HTTPStatus.NOT_FOUND.phrase.encode() in head
    assert b"Content-Type: application/json" in head and f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body).keys() == {"error"}
