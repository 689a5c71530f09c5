# SPDX-License-Identifier: Apache-2.0
"""The daemon as systemd sees it: readiness, status, watchdog, reload, stop."""

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lab.host import FIP_A


class Manager:
    """The receiving end of sd_notify(3). It listens all the time, as systemd does: its queue is short."""

    def __init__(self, path):
        self.path = str(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.heard = []
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        while data := self.sock.recv(4096):
            self.heard += data.decode().splitlines()

    def wait_for(self, beginning, seconds=20):
        deadline = time.monotonic() + seconds
        while not any(line.startswith(beginning) for line in self.heard):
            assert time.monotonic() < deadline, f"no {beginning} within {seconds} s; heard {self.heard[-20:]}"
            time.sleep(0.01)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self.path)
        self.thread.join()
        self.sock.close()


@pytest.fixture
def service(make_lab):
    lab = make_lab()
    lab.agent.write_config()
    manager = Manager(lab.directory / "notify.sock")
    with open(lab.agent.log_file, "ab") as log:
        process = subprocess.Popen(
            lab.agent.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, "NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "600000"})
    lab.agent.process = process
    yield lab, manager, process
    if process.poll() is None:
        process.kill()
        process.wait()
    manager.close()


def test_ready_alive_reload_stop(service):
    lab, manager, process = service
    manager.wait_for("READY=1")
    lab.wait_reachable(FIP_A, seconds=10)
    manager.wait_for("STATUS=1 uplink, 2 tenants, 2 floating IPs, 0 ports, 0 failures")
    manager.heard.clear()
    for _ in range(4):  # it keeps beating
        manager.wait_for("WATCHDOG=1")
        manager.heard.clear()
    process.send_signal(signal.SIGHUP)  # READY=1 from here on is not the first
    manager.wait_for("RELOADING=1")
    manager.wait_for("READY=1")
    process.send_signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    assert process.wait(30) == 0
    assert lab.client.ping(FIP_A, count=5).ok
    assert not os.path.exists(lab.agent.socket)


def catches_sighup(pid):
    (caught,) = (line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                 if line.startswith("SigCgt:"))
    return int(caught, 16) & 1 << signal.SIGHUP - 1


def test_sighup_at_any_moment_of_the_start(service):
    """It neither ends the agent nor has the manager believe that it is ready."""
    lab, manager, process = service
    deadline = time.monotonic() + 20
    while not catches_sighup(process.pid):  # Python itself takes a moment
        assert process.poll() is None and time.monotonic() < deadline
    while "READY=1" not in manager.heard and time.monotonic() < deadline and process.poll() is None:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    manager.wait_for("STATUS=reloaded")
    first, second = (manager.heard.index(line) for line in ("READY=1", "RELOADING=1"))
    assert first < second and manager.heard[first + 1].startswith("STATUS=waiting")
    lab.wait_reachable(FIP_A, seconds=10)


def test_a_second_agent_is_refused_and_harms_nothing(service):
    lab, manager, process = service
    manager.wait_for("READY=1")
    lab.wait_reachable(FIP_A, seconds=10)
    second = subprocess.run(lab.agent.command(), capture_output=True, text=True, timeout=30)
    assert second.returncode == 5 and str(process.pid) in second.stderr
    assert lab.client.ping(FIP_A, count=5).ok and process.poll() is None
