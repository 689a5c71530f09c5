# SPDX-License-Identifier: Apache-2.0
"""sd_notify(3), with a manager that does not listen."""

import socket
import subprocess
import sys

TALK = """
from fip64agent.systemd import Systemd
systemd = Systemd()
systemd.ready("2 FIPs")
for number in range(2000):
    systemd.status(f"{number} FIPs")
"""


def test_a_manager_that_does_not_listen_holds_up_nobody(short_tmp, monkeypatch):
    path = str(short_tmp / "notify.sock")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        subprocess.run([sys.executable, "-c", TALK], check=True, timeout=60)
        assert manager.recv(4096) == b"READY=1\nSTATUS=2 FIPs"
