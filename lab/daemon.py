# SPDX-License-Identifier: Apache-2.0
"""The daemon as a process of a lab: its configuration, start, end, log and admin socket."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fip64agent.admin.client import UnixConnection
from lab.shell import inside, run
from lab.sweep import MARK

WAIT_FACTOR = float(os.environ.get("FIP64_LAB_WAIT_FACTOR", 1))
"""How many times longer than on a real machine things may take: software emulation is slow."""


def program(name: str) -> str:
    """Return the path of an installed program of ours. Raises: RuntimeError."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise RuntimeError(f"{name} is not installed: pip install -e . in the repository first")
    return found


class _Readiness:
    """The receiving end of sd_notify(3): knows when the daemon said READY=1."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self.ready = threading.Event()
        self.status = ""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        threading.Thread(target=self._read, name="sd_notify", daemon=True).start()

    def _read(self) -> None:
        # Read on for ever: a full queue would block the daemon.
        while data := self._sock.recv(4096):
            for line in data.decode(errors="replace").splitlines():
                if line == "READY=1":
                    self.ready.set()
                elif line.startswith("STATUS="):
                    self.status = line[7:]

    def close(self) -> None:
        # An empty datagram ends the reader; closing a socket would not wake it.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", str(self.path))
        self.path.unlink(missing_ok=True)


class Daemon:
    """fip64-agent, run in the host's namespace with everything it owns under `directory`.

    `config` is {group: {option: value}}; change it before start().
    """

    def __init__(self, directory: Path, netns: str | None, config: dict[str, dict[str, Any]]) -> None:
        self.directory = directory
        self.netns = netns
        self.config = config
        self.config_file = directory / "fip64agent.conf"
        self.log_file = directory / "agent.log"
        self.process: subprocess.Popen | None = None
        self._readiness: _Readiness | None = None

    @property
    def socket(self) -> str:
        """Path of its admin socket."""
        return self.config["admin"]["socket"]

    @property
    def pid(self) -> int:
        """Its process id."""
        if self.process is None:
            raise RuntimeError("the agent was not started")
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there and has not ended."""
        return self.process is not None and self.process.poll() is None

    def write_config(self) -> None:
        """Write its configuration file anew from `config`."""
        lines = []
        for group, options in self.config.items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in options.items()), ""]
        self.config_file.write_text("\n".join(lines))

    def command(self, name: str = "fip64-agent") -> list[str]:
        """The command line, to be run by hand or by start()."""
        return inside(self.netns, [program(name), "--config-file", str(self.config_file)])

    def start(self, wait: float = 30) -> None:
        """Start it, and wait up to `wait` s until it said that it is ready (0: do not wait).

        `wait` as `seconds` of wait_for().
        """
        if self.running:
            raise RuntimeError(f"the agent runs already, pid {self.pid}")
        self.write_config()
        self._close_readiness()
        self._readiness = _Readiness(self.directory / "notify")
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": str(self._readiness.path), "PYTHONUNBUFFERED": "1",
                     MARK: str(self.directory)})
        if wait:
            self.wait_ready(wait)

    def wait_ready(self, seconds: float = 30) -> None:
        """Raises: RuntimeError with the end of the log when it ended or said nothing in time."""
        seconds *= WAIT_FACTOR
        deadline = time.monotonic() + seconds
        while not self._readiness.ready.wait(0.02):
            if self.process.poll() is not None:
                raise RuntimeError(f"fip64-agent ended at once, exit status {self.process.returncode}:\n"
                                   f"{self.log_tail(20)}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"fip64-agent was not ready after {seconds:g} s:\n{self.log_tail(20)}")

    def _close_readiness(self) -> None:
        if self._readiness is not None:
            self._readiness.close()
            self._readiness = None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def stop(self, seconds: float = 15) -> int | None:
        """SIGTERM, and SIGKILL when it does not end in time; returns the exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self._close_readiness()
        return self.process.returncode

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.wait()

    def restart(self, wait: float = 30) -> None:
        """Stop it and start it again; `wait`: as for start()."""
        self.stop()
        self.start(wait)

    def log(self) -> str:
        """Return all that it has logged."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def log_tail(self, lines: int = 60) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log().splitlines()[-lines:])

    def ctl(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run fip64ctl against this daemon: ``ctl("fip", "list", "-f", "json")``."""
        return run(program("fip64ctl"), "--socket", self.socket, *argv, check=check)

    def ctl_json(self, *argv: str) -> Any:
        """Run a command of fip64ctl; return its JSON output, decoded."""
        return json.loads(self.ctl(*argv, "-f", "json").stdout)

    def get(self, path: str, timeout: float = 10) -> Any:
        """HTTP GET over the admin socket; returns the decoded JSON. Raises: OSError, RuntimeError."""
        connection = UnixConnection(self.socket, timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except http.client.HTTPException as error:
            raise RuntimeError(f"GET {path}: {type(error).__name__} {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"GET {path}: HTTP {response.status}: {body[:500].decode(errors='replace')}")
        return json.loads(body)


def wait_for(condition: Callable[[], Any], seconds: float, what: str, interval: float = 0.05) -> Any:
    """Return the first true value of `condition`. Raises: RuntimeError naming `what` after `seconds`.

    The limit is `seconds` times WAIT_FACTOR.
    A RuntimeError, OSError or ValueError of the condition counts as "not yet"; the error names the last one.
    """
    seconds *= WAIT_FACTOR
    deadline = time.monotonic() + seconds
    while True:
        reason = ""
        try:
            if value := condition():
                return value
        except (RuntimeError, OSError, ValueError) as error:
            reason = f": {error}"
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:g} s: {what}{reason}")
        time.sleep(interval)
