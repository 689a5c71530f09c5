# SPDX-License-Identifier: Apache-2.0
"""plan() and replan() of 10,000 floating IPs, in this process."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench import scale
from bench.measurement import Measurement, WrongState, percentile
from fip64agent.plan.inputs import Inputs, Interface, Settings
from fip64agent.plan.planner import plan, replan
from fip64agent.topology.file.loader import load
from fip64agent.topology.model import KINDS, ROUTER_GATEWAY, ROUTER_INTERFACE, Route
from fip64agent.topology.resources import Resources
from fip64agent.translator.tayga.driver import DRIVER
from lab.topology import TopologyFile

FIPS = 10_000
TAYGA = Settings(capabilities=DRIVER.capabilities)


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


Change = tuple[str, str, Any]
"""(attribute of Topology, or "interfaces"; id or name; what is there from now on, None for nothing)"""


def resources(start: Inputs) -> Resources:
    """Return what a source's sink holds of the topology."""
    found = Resources(start.settings.nat64_pool)
    found.update({(kind, name): item for kind in KINDS
                  for name, item in getattr(start.topology, kind).items()})
    return found


def changed(before: Inputs, held: Resources, change: Change) -> Inputs:
    """Return the inputs with one change made, as a source or OVSDB makes it: all else is the same objects.

    What becomes faulty by a change of the topology is not in force either.
    """
    what, name, value = change
    if what != "interfaces":
        return dataclasses.replace(before, topology=held.update({(what, name): value}))
    rows = dict(before.interfaces)
    if value is None:
        del rows[name]
    else:
        rows[name] = value
    return dataclasses.replace(before, interfaces=MappingProxyType(rows))


def _modified(what: str, items: Iterable[Any], **values: Callable[[Any], Any]) -> Iterator[Change]:
    """Yield changes of one resource after the other: what `values` make of each, and back again."""
    for item in items:
        name = item.name if what == "interfaces" else item.id
        yield what, name, dataclasses.replace(item, **{key: make(item) for key, make in values.items()})
        yield what, name, item


def _removed(what: str, items: Iterable[Any]) -> Iterator[Change]:
    """Yield changes: one resource after the other goes, and comes again."""
    for item in items:
        name = item.name if what == "interfaces" else item.id
        yield what, name, None
        yield what, name, item


def changes(start: Inputs) -> Iterator[tuple[str, Iterator[Change]]]:
    """Yield (of what, changes of single resources) for each kind of resource that only some depend on."""
    topology = start.topology
    ports, routers = topology.ports.values(), topology.routers.values()
    tenants = [port.device_id for port in ports if port.device_owner == ROUTER_INTERFACE
               and any(fixed.ip_address.version == 4 for fixed in port.fixed_ips)]
    inside = [port for port in ports if port.device_owner == ROUTER_INTERFACE and port.device_id in tenants]
    gateways = [port for port in ports if port.device_owner == ROUTER_GATEWAY and port.device_id in tenants]
    networks = {port.network_id for port in inside}
    vm_ports = [port for port in ports if not port.is_router_port]
    vms = [row for row in start.interfaces.values() if row.iface_id in {port.id for port in vm_ports}]
    elsewhere = Route(IPv4Network("198.51.100.0/24"), IPv4Address("10.0.0.9"))
    yield "floating IP", _removed("floatingips", topology.floatingips.values())
    yield "network", _modified("networks", (network for network in topology.networks.values()
                                             if network.id in networks), mtu=lambda network: 1400)
    yield "subnet", _modified("subnets", (subnet for subnet in topology.subnets.values()
                                           if subnet.network_id in networks),
                               host_routes=lambda subnet: (elsewhere,))
    yield "route of a router", _modified("routers", (router for router in routers if router.id in tenants),
                                          routes=lambda router: (elsewhere,))
    yield "router: another pool", _modified(
        "routers", (router for router in routers if router.id in tenants),
        nat64_pool=lambda router: IPv4Network("192.0.2.0/24"))
    yield "VM port", _modified("ports", vm_ports, mac_address=lambda port: "fa:16:3e:ff:ff:fe")
    yield "VM port goes", _removed("ports", vm_ports)
    yield "router port inside", _modified("ports", inside, mac_address=lambda port: "fa:16:3e:ff:ff:fe")
    yield "router port inside goes", _removed("ports", inside)
    yield "router port outside goes", _removed("ports", gateways)
    yield "VM's interface goes", _removed("interfaces", vms)
    yield "VM's interface", _modified("interfaces", vms, ofport=lambda row: row.ofport + 10_000)


def replanned(start: Inputs, some: Iterator[Change], most: int) -> list[float]:
    """Return the milliseconds that each of so many changes takes. Raises: WrongState."""
    before = start
    desired = plan(before)
    held = resources(start)
    spent = []
    for change in itertools.islice(some, most):
        after = changed(before, held, change)
        begun = time.perf_counter()
        desired = replan(desired, before, after)
        spent.append(1000 * (time.perf_counter() - begun))
        before = after
    if desired != plan(before):
        raise WrongState("the incremental plan is not what plan() makes of the same inputs")
    return spent


def records() -> float:
    """Return how many MiB the engine takes beside the plan that it has made."""
    start = inputs()
    plan(start)
    gc.collect()
    tracemalloc.start()
    desired = plan(start)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    desired = dataclasses.replace(desired, made_by=None)
    gc.collect()
    engine = before - tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return engine / 2**20


def measure(quick: bool) -> Iterator[Measurement]:
    start = inputs()
    full = []
    for _ in range(5 if quick else 50):
        begun = time.perf_counter()
        desired = plan(start)
        full.append(1000 * (time.perf_counter() - begun))
    if len(desired.mappings) != FIPS or desired.problems:
        raise WrongState(f"{len(desired.mappings)} mappings and {len(desired.problems)} problems in the plan")
    for share in (0.5, 0.99):
        yield Measurement(f"plan(), 10,000 FIPs, p{share * 100:g}", percentile(full, share), "ms", 300,
                          samples=full)
    added = list(itertools.islice(_additions(start), 100 if quick else 1000))
    for what, some in (("one more", iter(added)), *changes(start)):
        spent = replanned(start, some, 100 if quick else 1000)
        for share, limit in ((0.5, 5), (0.99, 15)):
            yield Measurement(f"replan() of {what}, p{share * 100:g}", percentile(spent, share), "ms", limit,
                              samples=spent)
    yield Measurement("records of the plan's engine", records(), "MiB", 8)


def _additions(start: Inputs) -> Iterator[Change]:
    """Yield floating IPs that are not there yet."""
    some = next(iter(start.topology.floatingips.values()))
    for number in itertools.count():
        values = scale.addition(FIPS, number)
        yield "floatingips", values["id"], dataclasses.replace(
            some, id=values["id"], floating_ip_address=type(some.floating_ip_address)(
                values["floating_ip_address"]), port_id=values["port_id"],
            fixed_ip_address=type(some.fixed_ip_address)(values["fixed_ip_address"]),
            router_id=scale.uuid(2, number % scale.TENANTS))
