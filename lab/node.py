# SPDX-License-Identifier: Apache-2.0
"""A machine of a lab: a network namespace, and the traffic that starts or ends there."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lab import netns as namespaces
from lab.shell import inside, run
from lab.sweep import MARK

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True, slots=True)
class Ping:
    """Times in milliseconds; None when no answer came."""

    sent: int
    received: int
    lost: list[int]
    """Sequence numbers, from 0."""
    duplicates: int
    unreachable: str | None
    rtt_median: float | None
    rtt_max: float | None

    @property
    def ok(self) -> bool:
        """Whether each request was answered once."""
        return self.sent > 0 and not self.lost

    def __str__(self) -> str:
        text = f"{self.received}/{self.sent} answered"
        if self.received:
            text += f", rtt {self.rtt_median:.2f} ms"
        if self.unreachable:
            text += f" ({self.unreachable})"
        return text


class Node:
    """A namespace with tools. `directory` is for the output of its servers."""

    def __init__(self, name: str, netns: str, directory: Path) -> None:
        self.name = name
        self.netns = netns
        self.directory = directory
        self.address6: str | None = None
        self.address4: str | None = None
        self.port_id: str | None = None
        """Id of its port in the topology (VMs)."""
        self.mac: str | None = None
        self.interface = ""
        """Its wire's end in the host, as OVS names it."""
        self.tag: int | None = None
        self._server: subprocess.Popen | None = None
        self._started: list[subprocess.Popen] = []

    def __repr__(self) -> str:
        return f"<{self.name} in {self.netns}>"

    def run(self, *argv: str, **kwargs: Any) -> subprocess.CompletedProcess:
        """Run a command here; see shell.run()."""
        return run(*argv, netns=self.netns, **kwargs)

    def ip(self, *lines: str) -> None:
        """Run lines of ``ip -batch`` here. Raises: RuntimeError."""
        namespaces.ip(self.netns, *lines)

    # Traffic

    def start_traffic(self, *argv: Any, stdout=subprocess.PIPE, stderr=subprocess.PIPE) -> subprocess.Popen:
        """Start ``python -m lab.traffic ARGV`` here."""
        process = subprocess.Popen(
            inside(self.netns, [sys.executable, "-m", "lab.traffic", *map(str, argv)]), cwd=REPOSITORY,
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, text=True, start_new_session=True,
            env={**os.environ, MARK: str(self.directory)})
        self._started.append(process)
        return process

    @staticmethod
    def finish(process: subprocess.Popen, timeout: float = 60) -> dict[str, Any]:
        """Wait for a traffic tool; return what it found. Raises: RuntimeError naming what failed."""
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            errors = f"no end after {timeout:g} s; {errors}"
        lines = output.splitlines()
        result = json.loads(lines[-1]) if lines else {}
        if process.returncode or not result:
            tool = " ".join(process.args[process.args.index("lab.traffic") + 1:])
            raise RuntimeError(f"{tool}: {result.get('error') or errors.strip() or 'no result'}")
        return result

    def traffic(self, *argv: Any, timeout: float = 60) -> dict[str, Any]:
        """Run a tool of lab.traffic here; return what it found. Raises: RuntimeError."""
        return self.finish(self.start_traffic(*argv), timeout)

    def ping(self, destination: str, count: int = 10, interval: float = 0.01, size: int = 56,
             wait: float = 5.0) -> Ping:
        """Send `count` echo requests, one each `interval` s; wait up to `wait` s for the last answers."""
        return Ping(**self.traffic("ping", destination, "--count", count, "--interval", interval,
                                   "--size", size, "--wait", wait,
                                   timeout=count * interval + wait + 30))

    def start_ping(self, destination: str, interval: float = 0.01, wait: float = 5.0) -> RunningPing:
        """Ping until stop() is called on what this returns, and up to `wait` s for the last answers."""
        process = self.start_traffic("ping", destination, "--interval", interval, "--wait", wait)
        if "started" not in process.stdout.readline():
            self.finish(process)
        return RunningPing(process)

    def reaches(self, destination: str, seconds: float = 0) -> bool:
        """Say whether a ping is answered within `seconds` of trying; returns at the first answer."""
        result = self.traffic("ping", destination, "--first", "--interval", 0.02, "--wait", 0.5,
                              "--count", max(2, round(seconds / 0.02)), timeout=seconds + 30)
        return result["received"] > 0

    def http_get(self, destination: str, timeout: float = 10) -> dict[str, Any]:
        """{"status", "answer": {"vm", "you_are", "i_am"}, "seconds"}."""
        return self.traffic("http-get", destination, "--timeout", timeout)

    def transfer(self, destination: str, size: int = 1 << 20, way: str = "put",
                 timeout: float = 30) -> dict[str, Any]:
        """Send ("put") or fetch ("get") `size` bytes by TCP: {"equal", "sha256", "bits_per_second", ...}."""
        return self.traffic("transfer", destination, "--size", size, "--way", way, "--timeout", timeout,
                            timeout=timeout + 30)

    def udp(self, destination: str, size: int = 32768, count: int = 1, timeout: float = 3) -> dict[str, Any]:
        """Echo datagrams of `size` bytes: {"sent", "equal", "sha256"}."""
        return self.traffic("udp", destination, "--size", size, "--count", count, "--timeout", timeout,
                            timeout=count * timeout + 30)

    def lines(self, destination: str, names: tuple[str, ...] = ("one", "two"), count: int = 100,
              timeout: float = 10) -> list[dict[str, Any]]:
        """TCP clients side by side, `count` lines each: [{"sent", "equal", "port"}, ...]."""
        clients = [self.start_traffic("lines", destination, "--name", name, "--count", count,
                                      "--timeout", timeout) for name in names]
        return [self.finish(client) for client in clients]

    # Being a server

    @property
    def _output(self) -> Path:
        return self.directory / f"{self.name}.received"

    @property
    def _error_log(self) -> Path:
        return self.directory / f"{self.name}.err"

    def serve(self, bind: str = "0.0.0.0", wait: bool = True) -> None:
        """Start HTTP, TCP, UDP and line servers, and note what they and incoming pings look like."""
        with open(self._output, "w") as output, open(self._error_log, "w") as errors:
            self._server = self.start_traffic("serve", "--name", self.name, "--bind", bind,
                                              stdout=output, stderr=errors)
        if wait:
            self.wait_serving()

    def wait_serving(self, seconds: float = 10) -> None:
        """Wait until the servers listen. Raises: RuntimeError."""
        deadline = time.monotonic() + seconds
        while not self._output.read_text().endswith("}\n"):
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: its servers do not start: {self.stop_serving()}")
            time.sleep(0.01)

    def stop_serving(self) -> str:
        """End the servers; returns what they complained about."""
        if self._server is None:
            return ""
        self._server.kill()
        self._server.wait()
        self._server = None
        return self._error_log.read_text().strip()

    def received(self, what: str | None = None, peer: str | None = None) -> list[dict[str, Any]]:
        """Return what came to the servers here, {"what": what, "peer": address, ...} each.

        what: "http", "tcp", "udp", "lines" or "ping"; None: all. peer: only what came from that address.
        """
        with contextlib.suppress(FileNotFoundError):
            complete = self._output.read_text().rpartition("\n")[0]
            return [entry for entry in map(json.loads, complete.splitlines())
                    if "what" in entry and what in (None, entry["what"]) and peer in (None, entry["peer"])]
        return []

    def wait_received(self, what: str, count: int = 1, seconds: float = 10) -> list[dict[str, Any]]:
        """As received(), once there are `count` at least: a server may tell after the client has its answer.

        Raises: RuntimeError.
        """
        deadline = time.monotonic() + seconds
        while len(found := self.received(what)) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} saw {len(found)} {what} within {seconds:g} s, not {count}")
            time.sleep(0.01)
        return found

    def forget_received(self) -> None:
        """Start over: received() is empty, and the servers run anew."""
        self.stop_serving()
        self.serve()

    def close(self) -> None:
        """End every traffic process that was started here."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
                process.communicate(timeout=5)
        self._started.clear()
        self._server = None


class RunningPing:
    """A ping that runs until stop()."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def stop(self) -> Ping:
        """End it; return what it found."""
        self._process.send_signal(signal.SIGTERM)
        return Ping(**Node.finish(self._process))
