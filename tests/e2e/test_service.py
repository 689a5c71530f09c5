# SPDX-License-Identifier: Apache-2.0
"""The daemon as systemd sees it: readiness, status, watchdog, reload, stop."""

import os
import signal
import socket
import subprocess
import time

import pytest

from lab.host import FIP_A


class Manager:
    """The receiving end of sd_notify(3)."""

    def __init__(self, path):
        self.path = str(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.heard = []

    def wait_for(self, beginning, seconds=10):
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                self.heard += self.sock.recv(4096).decode().splitlines()
            except TimeoutError:
                break
            if found := [line for line in self.heard if line.startswith(beginning)]:
                return found[-1]
        raise AssertionError(f"no {beginning} within {seconds} s; heard {self.heard[-20:]}")


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
    manager.sock.close()


def test_ready_alive_reload_stop(service):
    lab, manager, process = service
    manager.wait_for("READY=1")
    lab.wait_reachable(FIP_A, seconds=10)
    manager.wait_for("STATUS=2 FIPs, 1 uplinks, 0 failures")
    manager.heard.clear()
    for _ in range(4):  # it keeps beating
        manager.wait_for("WATCHDOG=1", 1)
        manager.heard.clear()
    process.send_signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1", 5)
    manager.wait_for("READY=1", 5)
    process.send_signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1", 5)
    assert process.wait(10) == 0
    assert lab.client.ping(FIP_A, count=5).ok
    assert not os.path.exists(lab.agent.socket)


def test_a_second_agent_is_refused_and_harms_nothing(service):
    lab, manager, process = service
    manager.wait_for("READY=1")
    lab.wait_reachable(FIP_A, seconds=10)
    second = subprocess.run(lab.agent.command(), capture_output=True, text=True, timeout=30)
    assert second.returncode == 5 and str(process.pid) in second.stderr
    assert lab.client.ping(FIP_A, count=5).ok and process.poll() is None
