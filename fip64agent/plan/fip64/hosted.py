# SPDX-License-Identifier: Apache-2.0
"""Which floating IPs this host serves."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, insort
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from fip64agent.plan.base.bindings import BINDINGS, bound_twice, is_open, waiting_for
from fip64agent.plan.base.objects import Uplink
from fip64agent.plan.base.routers import NETWORKS_OF_ROUTER
from fip64agent.plan.base.uplinks import SERVING, UPLINKS
from fip64agent.plan.fip64.claims import CLAIMS, RIVALS, Claim, rival_keys
from fip64agent.plan.fip64.pools import POOLS
from fip64agent.plan.inputs import Interface
from fip64agent.plan.nodes import Collected, Derived
from fip64agent.plan.problems import ERROR, PENDING, Problem

Map = tuple[IPv4Address, IPv6Address]
"""(fixed IPv4, floating IPv6)"""


@dataclasses.dataclass(frozen=True, slots=True)
class Hosted:
    """A claim that this host can fulfil: all that may be missing is a number for the tenant."""

    claim: Claim
    uplink: Uplink
    interface: Interface
    """Of the VM port."""
    notice: Problem | None
    """What somebody should look at although the mapping works."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Connection:
    """What a router's floating IPs have in common."""

    pool_fault: str
    networks: frozenset[str]
    """Ids of the networks that the router has a port on."""


def _connection(ask, router_id: str) -> _Connection | None:
    pool = ask(POOLS, router_id)
    return None if pool is None else _Connection(pool.fault, ask(NETWORKS_OF_ROUTER, router_id))


_CONNECTIONS = Derived("connections of a router", _connection, (POOLS, NETWORKS_OF_ROUTER))


def _hosted(ask, fip_id: str, claim: Claim | Problem) -> Hosted | Problem:
    """Decide whether this host can fulfil a claim.

    Of several floating IPs that claim the same, the lowest id has it, bound here or not, so that
    all hosts agree. Faults that somebody must repair are told before what is being waited for.
    """
    if isinstance(claim, Problem):
        return claim
    address_key, fixed_key = rival_keys(claim)
    first = ask.own(RIVALS, address_key)[0]
    if first != fip_id:
        return Problem(ERROR, f"floating address {claim.floating_ip} belongs to floating IP {first} already")
    first = ask.own(RIVALS, fixed_key)[0]
    if first != fip_id:
        return Problem(ERROR, f"fixed IP {claim.fixed_ip} of router {claim.router_id} has floating IP "
                              f"{first} already")
    holders = [port_id for port_id in claim.elsewhere if ask(UPLINKS, port_id) is not None]
    if holders:
        return Problem(ERROR, f"floating address {claim.floating_ip} is the address of uplink {holders[-1]}")
    connection = ask(_CONNECTIONS, claim.router_id)
    if connection.pool_fault:
        return Problem(ERROR, connection.pool_fault)
    uplink = ask(SERVING, claim.network_id)
    if (uplink is not None and uplink.router_id != claim.router_id
            and claim.network_id not in connection.networks):
        return Problem(ERROR, f"router {claim.router_id} is not connected to the floating network "
                              f"{claim.network_id}")
    bindings = ask(BINDINGS, claim.port_id)
    if not bindings:
        return Problem(PENDING, f"port {claim.port_id} is not bound on this host")
    if not is_open(bindings[0]):
        return waiting_for(claim.port_id, bindings[0])
    if uplink is None:
        return Problem(PENDING, f"no uplink on this host serves the floating network {claim.network_id}")
    return Hosted(claim, uplink, bindings[0], bound_twice(claim.port_id, bindings))


HOSTED = Derived("floating IPs of this host", _hosted, each=CLAIMS, members_of=(RIVALS,), reads=(
    UPLINKS, _CONNECTIONS, SERVING, BINDINGS))
"""By floating IP id: Hosted, or why it is not."""


# What a tenant collects of its floating IPs

@dataclasses.dataclass(frozen=True, slots=True)
class Members:
    """The floating IPs of a tenant on this host."""

    maps: tuple[Map, ...]
    """Sorted."""
    uplinks: Mapping[str, int]
    """By port id of the uplinks that they use: how many do."""


def _member(fip_id: str, hosted: Hosted | Problem) -> tuple[tuple[str, tuple[Map, str]], ...]:
    if isinstance(hosted, Problem):
        return ()
    claim = hosted.claim
    return (claim.router_id, ((claim.fixed_ip, claim.floating_ip), hosted.uplink.port_id)),


def _order(pair: Map) -> tuple[int, int]:
    return int(pair[0]), int(pair[1])  # comparing integers is much faster than comparing addresses


def _members(members: Members | None, gone: list[tuple[Map, str]],
             come: list[tuple[Map, str]]) -> Members | None:
    maps = list(members.maps) if members else []
    uplinks = dict(members.uplinks) if members else {}
    for pair, uplink_id in gone:
        del maps[bisect_left(maps, _order(pair), key=_order)]
        uplinks[uplink_id] -= 1
    for _, uplink_id in come:
        uplinks[uplink_id] = uplinks.get(uplink_id, 0) + 1
    if len(come) > 8:
        maps = sorted([*maps, *(pair for pair, _ in come)], key=_order)
    else:
        for pair, _ in come:
            insort(maps, pair, key=_order)
    if not maps:
        return None
    return Members(tuple(maps), {name: number for name, number in uplinks.items() if number})


MEMBERS = Collected("members of a tenant", {HOSTED: _member}, _members, empty=None)
"""By router id: Members."""
