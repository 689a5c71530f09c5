# SPDX-License-Identifier: Apache-2.0
"""One floating IP more among 10,000, until the switch has confirmed its flows."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench import scale
from bench.coldstart import STAND_INS
from bench.host import BRIDGE, BenchHost
from bench.measurement import Measurement, WrongState, percentile

FIPS = 10_000


def measure(quick: bool) -> Iterator[Measurement]:
    count, written = (50, 3) if quick else (500, 30)
    for stand_ins, words in ((STAND_INS, "links and translator counted"),
                             ((), "all real, tayga restarted each time")):
        if not stand_ins:
            count, written = (10, 2) if quick else (200, 10)
        with BenchHost(FIPS, stand_ins) as host:
            known = known_to_installed(host, count)
            by_file = [1000 * seconds for seconds in written_to_installed(host, count, written)]
        for share, limit in ((0.5, 50), (0.99, 100)):
            yield Measurement(f"FIP added, topology known to installed, p{share * 100:g}, {words}",
                              percentile(known, share), "ms", limit, samples=known)
        for share in (0.5, 0.99):
            yield Measurement(f"FIP added, file written to installed, p{share * 100:g}, {words}",
                              percentile(by_file, share), "ms", samples=by_file)


def known_to_installed(host: BenchHost, count: int) -> list[float]:
    """Return milliseconds of `count` additions that the daemon makes itself."""
    host.start(additions=count)
    host.wait_complete()
    host.wait("all additions", lambda line: line["event"] == "additions done", 60 + 5 * count)
    added = [line for line in host.trace() if line["event"] == "added"]
    host.check_flows(host.fips + count)
    flows = host.ovs.ofctl("dump-flows", BRIDGE, "--no-stats").stdout
    for number in range(count):
        fip = scale.addition(host.fips, number)
        port = 1000 + number
        if f"in_port={scale.interface(number)}" not in flows and f"in_port={port}," not in flows:
            raise WrongState(f"no flow for {fip['floating_ip_address']}")
    if len(added) != count:
        raise WrongState(f"{len(added)} additions were noted instead of {count}")
    return [1000 * line["seconds"] for line in added]


def written_to_installed(host: BenchHost, before: int, count: int) -> list[float]:
    """Return seconds from rename(2) of the topology file to the end of the pass that installed it.

    The daemon's own `before` additions are written first, as what is in force.
    """
    fips = host.topology.data["floatingips"]
    fips += [scale.addition(host.fips, number) for number in range(before)]
    host.topology.write()
    time.sleep(5)
    result = []
    for number in range(before, before + count):
        fips.append(scale.addition(host.fips, number))
        host.topology.write()
        written = host.topology.path.stat().st_ctime_ns / 1e9 - time.time() + time.monotonic()
        wanted = len(fips)
        done = host.wait("the addition to the file", lambda line, wanted=wanted: (
            line["event"] == "pass" and line["fips"] == wanted and line["settled"]), 60)
        result.append(done["time"] - written)
        time.sleep(0.2)
    host.check_flows(len(fips))
    return result
