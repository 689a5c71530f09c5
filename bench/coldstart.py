# SPDX-License-Identifier: Apache-2.0
"""From nothing to everything programmed, beside ``ovs-ofctl add-flows`` of the same flows.

Both on the same bridge, in turns. The daemon's links and translator only count; what the switch gets is
real, the 101 ports of the daemon on the bridge too, which ovs-ofctl does not have to make.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, median
from bench.host import BRIDGE, BenchHost

STAND_INS = ("links", "translator")


def _ofctl(host: BenchHost, path: Path, *options: str) -> float:
    """Return the seconds that ovs-ofctl needs for the flows in `path`; the switch has none of them before."""
    host.delete_flows()
    begun = time.monotonic()
    host.ovs.ofctl("add-flows", BRIDGE, str(path), *options)
    seconds = time.monotonic() - begun
    host.check_flows(host.fips)
    return seconds


def measure(quick: bool) -> Iterator[Figure]:
    for fips in (1000, 10_000):
        yield from _measure(fips, 2 if quick else 7)


def _measure(fips: int, rounds: int) -> Iterator[Figure]:
    values: dict[str, list[float]] = {name: [] for name in ("process", "known", "ports", "ofctl", "bundle")}
    with BenchHost(fips, STAND_INS) as host:
        path = host.directory / "flows"
        for _ in range(rounds):
            host.delete_ports()
            host.delete_flows()
            begun = host.start()
            done = host.wait_complete()["time"]
            known = next(line["time"] for line in host.trace() if line["event"] == "topology")
            values["process"].append(done - begun)
            values["known"].append(done - known)
            host.agent.stop()
            # The same once more, with the daemon's ports on the bridge already: a host that was rebooted.
            host.delete_flows()
            host.start()
            done = host.wait_complete()["time"]
            known = next(line["time"] for line in host.trace() if line["event"] == "topology")
            values["ports"].append(done - known)
            host.agent.stop()
            path.write_text("\n".join(host.flows()))
            values["ofctl"].append(_ofctl(host, path))
            values["bundle"].append(_ofctl(host, path, "--bundle"))
        flows = host.flow_count()
    peer, bundle = median(values["ofctl"]), median(values["bundle"])
    beside = f"ovs-ofctl add-flows: {peer:.2f} s, with --bundle: {bundle:.2f} s"
    what = f"cold start, {fips:,} FIPs, {flows:,} flows"
    for name, words in (("process", "from the process's start"), ("known", "from the topology's arrival"),
                        ("ports", "the same, our ports on the bridge already")):
        yield Figure(f"{what}, {words}", median(values[name]), "s", 2 * peer, peer=beside,
                     samples=values[name])
    yield Figure(f"ovs-ofctl add-flows, {flows:,} flows", peer, "s", samples=values["ofctl"])
    yield Figure(f"ovs-ofctl --bundle add-flows, {flows:,} flows", bundle, "s", samples=values["bundle"])
