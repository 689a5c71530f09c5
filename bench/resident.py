# SPDX-License-Identifier: Apache-2.0
"""What the daemon costs while nothing happens, and when it is started again: 10,000 floating IPs.

Once with links and translator counted, once with all real: 102 network namespaces, 100 tayga processes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from bench.coldstart import STAND_INS
from bench.host import BRIDGE, OURS, BenchHost, cpu_seconds, memory
from bench.measurement import Measurement, WrongState
from lab import netns as namespaces
from lab import sweep
from lab.shell import run

FIPS = 10_000
MIB = 1 << 20
AUDIT = 90
"""Seconds between audits: the first 60 are measured without one."""


def measure(quick: bool) -> Iterator[Measurement]:
    for stand_ins, words in ((STAND_INS, "links and translator counted"), ((), "all real")):
        with BenchHost(FIPS, stand_ins) as host:
            yield from _measure(host, words, quick)


def _measure(host: BenchHost, words: str, quick: bool) -> Iterator[Measurement]:
    host.agent.config["reconcile"] = {"audit_interval": AUDIT}
    begun = host.start()
    done = host.wait_complete()
    if not host.stand_ins:
        yield Measurement(f"first start, {words}, 10,000 FIPs", done["time"] - begun, "s")
    time.sleep(5)
    now, peak = memory(host.agent.pid)
    yield Measurement(f"resident memory, {words}", now / MIB, "MiB", 200)
    yield Measurement(f"resident memory, peak, {words}", peak / MIB, "MiB", 200)
    yield _idle(host, f"idle CPU, {words}", 20 if quick else 60)
    if not quick:
        # One audit in it, in which all that is installed is read back and compared.
        yield _idle(host, f"idle CPU with an audit each {AUDIT} s (default: 300), {words}", AUDIT)
    if not host.stand_ins:
        yield from _restart(host)


def _idle(host: BenchHost, name: str, seconds: int) -> Measurement:
    before, start = cpu_seconds(host.agent.pid), time.monotonic()
    time.sleep(seconds)
    used = cpu_seconds(host.agent.pid) - before
    return Measurement(name, 100 * used / (time.monotonic() - start), "%", 1)


def _installed(host: BenchHost) -> set[str]:
    """All flows, all links by index, all routes of floating IPs, all translators by pid."""
    found = set(host.flows())
    for name in namespaces.names():
        if name.startswith(host.prefix):
            links = run("ip", "-oneline", "link", netns=name).stdout.splitlines()
            found |= {f"{name} {' '.join(line.split()[:2])}" for line in links}
    core = f"{sweep.netns_prefix(host.prefix)}core"
    found |= set(run("ip", "-6", "route", "show", "table", "100", netns=core).stdout.splitlines())
    return found | {f"process {pid}" for pid in sweep.processes(host.directory) if pid != host.agent.pid}


def _count_young_flows(host: BenchHost, seconds: float) -> int:
    """Return the number of flows that were written within the last `seconds`."""
    dump = host.ovs.ofctl("dump-flows", BRIDGE, OURS).stdout
    ages = [float(age) for age in re.findall(r"duration=([0-9.]+)s", dump)]
    if len(ages) != host.flow_count():
        raise WrongState(f"{len(ages)} ages of {host.flow_count()} flows")
    return sum(age < seconds for age in ages)


def _restart(host: BenchHost) -> Iterator[Measurement]:
    """End the daemon without warning and start it again: nothing may change."""
    before = _installed(host)
    killed = time.monotonic()
    host.agent.kill()
    begun = host.start()
    done = host.wait_complete()
    known = next(line["time"] for line in host.trace() if line["event"] == "topology")
    changes = len(before ^ _installed(host)) + _count_young_flows(host, time.monotonic() - killed)
    if changes:
        raise WrongState(f"the restart made {changes} changes instead of none")
    yield Measurement("restart, all installed, until settled, from the process's start", done["time"] - begun,
                      "s")
    yield Measurement("the same from the topology's arrival", done["time"] - known, "s")
    yield Measurement("changes that the restart made", changes, "changes", 0)
    now, peak = memory(host.agent.pid)
    yield Measurement("resident memory after the restart", now / MIB, "MiB", 200)
    yield Measurement("resident memory after the restart, peak", peak / MIB, "MiB", 200)
