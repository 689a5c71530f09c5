# SPDX-License-Identifier: Apache-2.0
"""Which addresses of a tenant's NAT64 pool this host gives to clients, and which clients have a fixed one."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from fip64agent.net.special import reserved
from fip64agent.plan.inputs import Settings
from fip64agent.topology.model import Nat64Binding

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
        fault = _unusable(address, pool, first, translator.kept_addresses)
        if not fault and (kind := reserved(client)):
            fault = f"it is {kind}, which no client elsewhere has"
        if not fault and first <= address <= last:  # else another host has it
            if client in own:
                fault = f"it has pool address {own[client]} already"
            elif address in own.values():
                fault = f"pool address {address} belongs to another client already"
            else:
                own[client] = address
        if fault:
            faults.append(left_out(router_id, client, fault))
    return Share(first, last, tuple(sorted(own.items())), tuple(faults))


def left_out(router_id: str, client: IPv6Address, why: str) -> str:
    """Return that, and why, a client's static binding cannot be had."""
    return f"router {router_id}: the static binding of client {client} is left out: {why}"


def apart(router_id: str, bindings: Collection[Binding], floating: Iterable[IPv6Address],
          uplinks: Mapping[int, str]) -> tuple[tuple[Binding, ...], tuple[str, ...]]:
    """Return those of a tenant's bindings whose clients are no addresses of ours, and why the others are not.

    `floating`: the tenant's floating addresses here; `uplinks`: this host's, by address as a number.
    """
    if not bindings:
        return (), ()
    taken = {IPv6Address(own): f"it is the address of uplink {port_id}" for own, port_id in uplinks.items()}
    taken.update(dict.fromkeys(floating, "it is a floating address of this router"))
    faults = tuple(left_out(router_id, client, taken[client]) for client, _ in bindings if client in taken)
    return tuple(binding for binding in bindings if binding[0] not in taken), faults


def _unusable(address: IPv4Address, pool: IPv4Network, first: IPv4Address, kept: int) -> str:
    if address not in pool:
        return f"pool address {address} is not in its NAT64 pool {pool}"
    if address in (pool[0], pool[-1]):
        return f"pool address {address} is the first or last of its NAT64 pool {pool}, which no client gets"
    if first <= address < first + kept:
        return f"pool address {address} is one that the translator keeps for itself on this host"
    return ""
