# SPDX-License-Identifier: Apache-2.0
"""From nothing to everything programmed, beside ``ovs-ofctl add-flows`` of the same flows.

The daemon's links and translator only count; what the switch gets is real, the 102 ports of the daemon
on the bridge too, which ovs-ofctl does not have to make.

ovs-ofctl runs in turns with the daemon on the same bridge: what is wanted is twice its quickest round
there. It waits for the switch after each flow, and a switch with 1,000 ports is slow to answer; so it is
shown beside what it does at its best, on an Open vSwitch that has nothing else to do.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from bench.host import BRIDGE, OURS, BenchHost
from bench.measurement import Measurement, WrongState, median
from lab import netns as namespaces
from lab.openvswitch import PrivateOvs

STAND_INS = ("links", "translator")


def _count(ovs: PrivateOvs) -> int:
    return int(ovs.ofctl("dump-aggregate", BRIDGE, OURS).stdout.rpartition("flow_count=")[2].split()[0])


def _ofctl(ovs: PrivateOvs, path: Path, count: int, *options: str) -> float:
    """Return the seconds that ovs-ofctl needs for the `count` flows in `path`, none of which is there."""
    ovs.ofctl("del-flows", BRIDGE, OURS)
    begun = time.monotonic()
    ovs.ofctl("add-flows", BRIDGE, str(path), *options)
    seconds = time.monotonic() - begun
    if (found := _count(ovs)) != count:
        raise WrongState(f"ovs-ofctl made {found} flows of {count}")
    return seconds


@contextlib.contextmanager
def _empty(host: BenchHost) -> Iterator[PrivateOvs]:
    """An Open vSwitch with one bridge and no ports, in a namespace of its own that goes with `host`."""
    netns = f"{host.prefix}empty"
    namespaces.add(netns)
    with PrivateOvs(host.directory / "empty", netns) as ovs:
        ovs.add_bridge(BRIDGE)
        yield ovs


def measure(quick: bool) -> Iterator[Measurement]:
    for fips in (1000, 10_000):
        yield from _measure(fips, 2 if quick else 5)


def _start(host: BenchHost) -> tuple[float, float]:
    """Run the daemon until all is programmed; return seconds from its start, and from the topology."""
    begun = host.start()
    done = host.wait_complete()["time"]
    known = next(line["time"] for line in host.trace() if line["event"] == "topology")
    host.agent.stop()
    return done - begun, done - known


def _measure(fips: int, rounds: int) -> Iterator[Measurement]:
    names = ("process", "known", "process, ports", "known, ports",
             "best", "best bundle", "same", "same bundle")
    values: dict[str, list[float]] = {name: [] for name in names}
    with BenchHost(fips, STAND_INS) as host, _empty(host) as empty:
        path = host.directory / "flows"
        for _ in range(rounds):
            for words in ("", ", ports"):  # a host it never ran on; then one that was rebooted
                host.delete_flows()
                if not words:
                    host.delete_ports()
                process, known = _start(host)
                values[f"process{words}"].append(process)
                values[f"known{words}"].append(known)
            path.write_text("\n".join(host.flows()))
            flows = host.flow_count()
            for name, ovs in (("best", empty), ("same", host.ovs)):
                values[name].append(_ofctl(ovs, path, flows))
                values[f"{name} bundle"].append(_ofctl(ovs, path, flows, "--bundle"))
    peer = min(values["same"])
    beside = f"ovs-ofctl add-flows: {peer:.2f} s; on an empty switch {min(values['best']):.2f} s"
    what = f"cold start, {fips:,} FIPs, {flows:,} flows"
    for name, words in (("known, ports", "topology known, our ports on the bridge"),
                        ("known", "topology known, our 102 ports to be made"),
                        ("process, ports", "process started, our ports on the bridge"),
                        ("process", "process started, our 102 ports to be made")):
        yield Measurement(f"{what}: {words}", median(values[name]), "s", 2 * peer, peer=beside,
                          samples=values[name])
    for name, words in (("best", "add-flows, empty switch"),
                        ("best bundle", "--bundle add-flows, empty switch"),
                        ("same", "add-flows, same bridge"),
                        ("same bundle", "--bundle add-flows, same bridge")):
        yield Measurement(f"ovs-ofctl {words}, {flows:,} flows", median(values[name]), "s",
                          samples=values[name])
