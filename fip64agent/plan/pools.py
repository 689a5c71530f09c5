# SPDX-License-Identifier: Apache-2.0
"""Which addresses of a tenant's NAT64 pool this host gives to clients, and which clients have a fixed one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, summarize_address_range

from fip64agent.plan.inputs import Settings
from fip64agent.topology.model import Nat64Binding

LARGEST = 1 << 22
"""Addresses: no tenant of the translator vpp has more of them on one host, a /10."""


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """What this host has of a pool: `first` to `last`, both included, and the bindings in there."""

    first: IPv4Address
    last: IPv4Address
    bindings: tuple[tuple[IPv6Address, IPv4Address], ...] = ()
    fault: str = ""
    """Why a binding cannot be had; the others can."""


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
    """Return slice `number` (from 1) of `count`, which is a power of two, as the prefix that tayga needs.

    None when it would be smaller than a /30: tayga keeps two addresses of it for itself.
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
    if settings.translator == "tayga":
        prefix = prefix_of(pool, number, count)
        limits = (prefix[0], prefix[-1]) if prefix is not None else None
    else:
        limits = slice_of(pool, number, count)
    if limits is None:
        return (f"NAT64 pool {pool} of router {router_id} is too small to be cut into {count}: slice "
                f"{number} of it is empty")
    first, last = limits
    size = int(last) - int(first) + 1
    if settings.translator != "tayga" and size > LARGEST:
        return (f"NAT64 pool {pool} of router {router_id} is too large: this host would have {size} "
                f"addresses of it, {LARGEST} (a /10) are possible")
    own, faults = [], []
    for binding in bindings:
        address = binding.pool_address
        if fault := _unusable(address, pool, first if settings.translator == "tayga" else None):
            faults.append(f"router {router_id}: the static binding of client {binding.ipv6_address} is left "
                          f"out: {fault}")
        elif first <= address <= last:  # else another host has it
            own.append((binding.ipv6_address, address))
    return Share(first, last, tuple(sorted(own)), faults[0] if faults else "")


def _unusable(address: IPv4Address, pool: IPv4Network, taygas: IPv4Address | None) -> str:
    if address not in pool:
        return f"pool address {address} is not in its NAT64 pool {pool}"
    if address in (pool[0], pool[-1]):
        return f"pool address {address} is the first or last of its NAT64 pool {pool}, which no client gets"
    if taygas is not None and address in (taygas, taygas + 1):
        return f"pool address {address} is one that tayga keeps for itself on this host"
    return ""


def as_prefix(first: IPv4Address, last: IPv4Address) -> IPv4Network:
    """Return a share of tayga's, which is a prefix by its making, as one."""
    prefix, = summarize_address_range(first, last)
    return prefix
