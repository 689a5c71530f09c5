# SPDX-License-Identifier: Apache-2.0
"""Which addresses of a tenant's NAT64 pool this host gives to clients, and which clients have a fixed one."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from fip64agent.plan.base.routers import GATEWAY_PORTS, INTERFACES_ON_SUBNET, SUBNETS_OF_ROUTER, overlaps
from fip64agent.plan.inputs import PORTS, ROUTERS, SETTINGS, SUBNETS, Settings
from fip64agent.plan.nodes import Derived
from fip64agent.topology.model import Nat64Binding, Router

Binding = tuple[IPv6Address, IPv4Address]
"""(client, pool address)"""


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """What this host has of a pool: `first` to `last`, both included, and the bindings in there."""

    first: IPv4Address
    last: IPv4Address
    bindings: tuple[Binding, ...] = ()
    faults: tuple[str, ...] = ()
    """Why some bindings cannot be had; the others can."""


def slice_of(pool: IPv4Network, number: int, count: int) -> tuple[IPv4Address, IPv4Address] | None:
    """Return the first and the last address of slice `number` (from 1) of `count`; None when it is empty.

    What is cut is the pool without its network and broadcast addresses. The slices differ by one address at
    most in size, and none overlaps another.
    """
    start, size = int(pool.network_address) + 1, pool.num_addresses - 2
    first = start + size * (number - 1) // count
    last = start + size * number // count - 1
    return (IPv4Address(first), IPv4Address(last)) if first <= last else None


def prefix_of(pool: IPv4Network, number: int, count: int) -> IPv4Network | None:
    """Return slice `number` (from 1) of `count`, which is a power of two, as a prefix.

    None when it would be smaller than a /30: of that a translator may keep two addresses for itself.
    """
    bits = count.bit_length() - 1
    if pool.prefixlen + bits > 30:
        return None
    return IPv4Network((int(pool.network_address) + (number - 1) * (pool.num_addresses >> bits),
                        pool.prefixlen + bits))


def share(router_id: str, pool: IPv4Network, bindings: Iterable[Nat64Binding],
          settings: Settings) -> Share | str:
    """Return this host's share of a router's pool, or why it cannot have one."""
    number, count = settings.pool_slice
    translator = settings.capabilities
    if translator.pools_are_prefixes:
        prefix = prefix_of(pool, number, count)
        limits = (prefix[0], prefix[-1]) if prefix is not None else None
    else:
        limits = slice_of(pool, number, count)
    if limits is None:
        return (f"NAT64 pool {pool} of router {router_id} is too small to be cut into {count}: slice "
                f"{number} of it is empty")
    first, last = limits
    size = int(last) - int(first) + 1
    largest = translator.largest_pool
    if largest is not None and size > largest:
        return (f"NAT64 pool {pool} of router {router_id} is too large: this host would have {size} "
                f"addresses of it, {largest} (a /{33 - largest.bit_length()}) are possible")
    own: dict[IPv6Address, IPv4Address] = {}
    faults = []
    for binding in bindings:
        client, address = binding.ipv6_address, binding.pool_address
        if first <= address < first + translator.kept_addresses:
            faults.append(left_out(router_id, client, f"pool address {address} is one that the translator "
                                                      "keeps for itself on this host"))
        elif first <= address <= last:  # else another host has it
            own[client] = address
    return Share(first, last, tuple(sorted(own.items())), tuple(faults))


def left_out(router_id: str, client: IPv6Address, why: str) -> str:
    """Return that, and why, a client's static binding cannot be had."""
    return f"router {router_id}: the static binding of client {client} is left out: {why}"


def apart(router_id: str, bindings: Collection[Binding], floating: Iterable[IPv6Address],
          uplinks: Mapping[IPv6Address, str]) -> tuple[tuple[Binding, ...], tuple[str, ...]]:
    """Return those of a tenant's bindings whose clients are no addresses of ours, and why the others are not.

    `floating`: the tenant's floating addresses here; `uplinks`: this host's, by address.
    """
    taken = {own: f"it is the address of uplink {port_id}" for own, port_id in uplinks.items()}
    taken.update(dict.fromkeys(floating, "it is a floating address of this router"))
    faults = tuple(left_out(router_id, client, taken[client]) for client, _ in bindings if client in taken)
    return tuple(binding for binding in bindings if binding[0] not in taken), faults


# A router's pool, with all that is wrong with it

@dataclasses.dataclass(frozen=True, slots=True)
class Pool:
    """A router's NAT64 pool on this host."""

    pool: IPv4Network
    share: Share | None
    """None when it has none; `fault` says why."""
    fault: str
    """Why it cannot be used; "" when it can."""
    notices: tuple[str, ...]
    """What it takes from others although it can be used."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What somebody should mend."""
        return (self.fault,) if self.fault else self.notices + self.share.faults


def _pool(ask, router_id: str) -> Pool | None:
    router: Router | None = ask(ROUTERS, router_id)
    if router is None:
        return None
    settings: Settings = ask(SETTINGS, "")
    pool = router.nat64_pool or settings.nat64_pool
    found = share(router_id, pool, router.nat64_bindings, settings)
    own, fault = (found, "") if isinstance(found, Share) else (None, found)
    return Pool(pool, own, fault, _notices(ask, router, pool))


def _notices(ask, router: Router, pool: IPv4Network) -> tuple[str, ...]:
    """Find what else leads to addresses of the pool: the default one is shared address space (RFC 6598).

    VMs with floating IPs do not reach it any more, as what they send to the pool is translated. A default
    route leads elsewhere only where nothing more specific does.
    """
    notices = []

    def note(what: str, suffers: str) -> None:
        notices.append(f"NAT64 pool {pool} of router {router.id} overlaps {what}: {suffers}; give the router "
                       "another nat64_pool")

    for route in sorted(router.routes, key=str):
        if overlaps(pool, route.destination):
            note(f"its route to {route.destination} (next hop {route.nexthop})",
                 "VMs with floating IPs do not reach what is there")
    for port_id in ask(GATEWAY_PORTS, router.id):
        for fixed in ask(PORTS, port_id).fixed_ips:
            subnet = ask(SUBNETS, fixed.subnet_id)
            if subnet is not None and overlaps(pool, subnet.cidr):
                note(f"subnet {subnet.id} ({subnet.cidr}) of its gateway port {port_id}",
                     "VMs with floating IPs do not reach what is there")
    for subnet_id in ask(SUBNETS_OF_ROUTER, router.id):
        routes = ask(SUBNETS, subnet_id).host_routes
        own = {str(each.address) for each in ask(INTERFACES_ON_SUBNET, subnet_id).values()} if routes else ()
        for route in sorted(routes, key=str):
            if str(route.nexthop) not in own and overlaps(pool, route.destination):
                note(f"host route {route.destination} (next hop {route.nexthop}) of its subnet {subnet_id}",
                     f"VMs there send their answers to clients to {route.nexthop}")
    return tuple(notices)


POOLS = Derived("NAT64 pools", _pool, (
    ROUTERS, SETTINGS, SUBNETS_OF_ROUTER, SUBNETS, GATEWAY_PORTS, PORTS, INTERFACES_ON_SUBNET))
"""By id of a router that exists: Pool."""
