# SPDX-License-Identifier: Apache-2.0
"""plan() and replan() of 10,000 floating IPs, in this process."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from bench import scale
from bench.figures import Figure, WrongState, percentile
from fip64agent.plan.inputs import Inputs, Interface, Settings
from fip64agent.plan.planner import plan, replan
from fip64agent.topology.file.loader import load
from lab.topology import TopologyFile

FIPS = 10_000
TAYGA = Settings()


def inputs(fips: int = FIPS, settings: Settings = TAYGA) -> Inputs:
    """Return the topology of the benchmarks as its file says it; all interfaces open, the daemon's too."""
    with tempfile.TemporaryDirectory() as directory:
        file = TopologyFile(Path(directory, "topology.yaml"))
        file.data = scale.document(fips)
        file.write()
        topology = load(str(file.path))
    rows = [Interface(scale.UPLINK, 1, scale.uuid(5, 0xFFFE))]
    rows += [Interface(scale.interface(vm), 1000 + vm, scale.port_id(vm)) for vm in range(scale.VM_PORTS)]
    interfaces = {row.name: row for row in rows}
    desired = plan(Inputs(topology, interfaces, settings))
    own = [name for uplink in desired.uplinks.values() for name in uplink.veths]
    own += [tenant.interface for tenant in desired.tenants.values()]
    interfaces |= {name: Interface(name, 3000 + number) for number, name in enumerate(dict.fromkeys(own))}
    return Inputs(topology, interfaces, settings, desired.allocations)


def measure(quick: bool) -> Iterator[Figure]:
    before = inputs()
    full = []
    for _ in range(5 if quick else 50):
        begun = time.perf_counter()
        desired = plan(before)
        full.append(1000 * (time.perf_counter() - begun))
    if len(desired.mappings) != FIPS or desired.problems:
        raise WrongState(f"{len(desired.mappings)} mappings and {len(desired.problems)} problems in the plan")

    floatingips = dict(before.topology.floatingips)
    some = next(iter(floatingips.values()))
    incremental = []
    for number in range(100 if quick else 1000):
        values = scale.addition(FIPS, number)
        fip = dataclasses.replace(
            some, id=values["id"], floating_ip_address=type(some.floating_ip_address)(
                values["floating_ip_address"]), port_id=values["port_id"],
            fixed_ip_address=type(some.fixed_ip_address)(values["fixed_ip_address"]),
            router_id=scale.uuid(2, number % scale.TENANTS))
        floatingips[fip.id] = fip
        after = dataclasses.replace(before, topology=dataclasses.replace(
            before.topology, floatingips=MappingProxyType(dict(floatingips))))
        begun = time.perf_counter()
        desired = replan(desired, before, after)
        incremental.append(1000 * (time.perf_counter() - begun))
        before = after
    if desired != plan(before):
        raise WrongState("the incremental plan is not what plan() makes of the same inputs")
    for values, words, limit in ((full, "plan(), 10,000 FIPs", 300),
                                 (incremental, "replan() of one more", 5)):
        for share in (0.5, 0.99):
            yield Figure(f"{words}, p{share * 100:g}", percentile(values, share), "ms", limit, samples=values)
