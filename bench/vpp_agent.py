# SPDX-License-Identifier: Apache-2.0
"""The daemon with VPP, all real: one floating IP more among 10,000, and a VPP that is killed with 1,000."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from bench.host import BenchHost, cpu_seconds, memory
from bench.measurement import Measurement, WrongState, median, percentile
from bench.onefip import FIPS, known_to_installed
from bench.vpp_wire import mapping_count
from fip64agent.translator.vpp import process

KILLED = 1000
MIB = 1 << 20
_TIMEOUT = 60
"""Seconds."""


def measure(quick: bool) -> Iterator[Measurement]:
    yield from _one_more(50 if quick else 500, quick)
    yield from _killed(2 if quick else 7)


def _vpp(host: BenchHost) -> int:
    """Return the pid of the daemon's VPP."""
    found = process.running(str(host.vpp_run_path))
    if len(found) != 1:
        raise WrongState(f"{len(found)} VPPs run instead of one; the daemon's log:\n"
                         f"{host.agent.log_tail(15)}")
    return found[0].pid


def _check(host: BenchHost, fips: int) -> None:
    if (count := mapping_count(str(host.vpp_run_path / "api.sock"))) != fips:
        raise WrongState(f"VPP has {count} mappings instead of {fips}")


def _one_more(count: int, quick: bool) -> Iterator[Measurement]:
    with BenchHost(FIPS, translator="vpp") as host:
        known = known_to_installed(host, count)
        _check(host, FIPS + count)
        for share, limit in ((0.5, 50), (0.99, 100)):
            yield Measurement(f"FIP added, topology known to installed, p{share * 100:g}, all real, vpp",
                              percentile(known, share), "ms", limit, samples=known)
        done = next(line for line in host.trace() if line.get("complete"))
        begun = next(line["begun"] for line in host.trace() if line["event"] == "started")
        yield Measurement(f"first start, all real, vpp, {FIPS:,} FIPs", done["time"] - begun, "s")
        yield Measurement("resident memory of the daemon, vpp", memory(host.agent.pid)[0] / MIB, "MiB", 200)
        time.sleep(5)
        for pid, words in ((host.agent.pid, "the daemon, vpp"), (_vpp(host), "VPP, no traffic")):
            before, start = cpu_seconds(pid), time.monotonic()
            time.sleep(10 if quick else 60)
            yield Measurement(f"idle CPU of {words}",
                              100 * (cpu_seconds(pid) - before) / (time.monotonic() - start), "%")


def _killed(rounds: int) -> Iterator[Measurement]:
    with BenchHost(KILLED, translator="vpp") as host:
        host.start()
        host.wait_complete()
        seconds = []
        for _ in range(rounds):
            time.sleep(2)
            seconds.append(_kill(host))
            _check(host, KILLED)
            # A restart that soon after another one would wait: STEADY seconds make it the first again.
            host.agent.stop()
            host.start()
            host.wait_complete()
        yield Measurement(f"VPP killed (SIGKILL) until all {KILLED:,} FIPs are installed again",
                          median(seconds), "s", 5, samples=seconds)
        yield Measurement(f"the same, slowest of {rounds}", max(seconds), "s", 5)


def _kill(host: BenchHost) -> float:
    """Kill VPP; return the seconds until another one has all mappings."""
    pid, socket = _vpp(host), str(host.vpp_run_path / "api.sock")
    begun = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while time.monotonic() < begun + _TIMEOUT:
        time.sleep(0.02)
        try:
            count = mapping_count(socket)
        except (OSError, KeyError):  # not there yet
            continue
        if count == KILLED:
            installed = time.monotonic()
            host.wait("all settled again", lambda line, since=installed: (
                line["event"] == "pass" and line["time"] > since and line["settled"]), _TIMEOUT)
            return installed - begun
    raise WrongState(f"VPP does not have {KILLED} mappings {_TIMEOUT} s after a kill; the daemon's log:\n"
                     f"{host.agent.log_tail(15)}")
