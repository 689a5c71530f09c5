# SPDX-License-Identifier: Apache-2.0
"""Tenants: one router's IPv4 address space each, told apart by a VLAN ID."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Network

from fip64agent.plan import allocate
from fip64agent.plan.base.bindings import open_ofport
from fip64agent.plan.base.routers import MTU_OF_ROUTER
from fip64agent.plan.base.uplinks import ALL_UPLINKS, UPLINKS
from fip64agent.plan.fip64.hosted import CLAIMED_ROUTERS, MEMBERS, Members
from fip64agent.plan.fip64.objects import Tenant
from fip64agent.plan.fip64.pools import POOLS, Binding, apart
from fip64agent.plan.inputs import INTERFACES, SETTINGS, Settings
from fip64agent.plan.nodes import Collected, Derived, Objects
from fip64agent.plan.numbers import number_space
from fip64agent.plan.problems import ERROR, Problem

_TENANT_IDS = Collected("ids of tenants", {MEMBERS: lambda router_id, members: (("", router_id),)})
VLANS = number_space("vlans", _TENANT_IDS, lambda ask: ask(SETTINGS, "").vlan_range, (SETTINGS,))
"""VLAN IDs of the tenants."""


def no_vlan(ask, router_id: str) -> Problem:
    """Say why a tenant has no VLAN ID. Asks VLANS.all."""
    numbers = ask(VLANS.all, "")
    return Problem(ERROR, f"no VLAN ID is free for router {router_id}: {len(numbers.given)} tenants "
                          f"have all from {numbers.first} to {numbers.last} on this host")


@dataclasses.dataclass(frozen=True, slots=True)
class Downlink:
    """A tenant's way to the translator.

    It has a veth and a MAC of its own, both named by the VLAN ID; or all tenants share the host's
    downlink, and the MAC that the translator has there.
    """

    vlan: int
    tag: int | None
    """802.1Q VLAN ID of its frames; None: they are untagged."""
    interface: str
    mac: str
    ofport: int | None
    pool: IPv4Network


def _downlink(ask, router_id: str, members: Members) -> Downlink | None:
    vlan = ask(VLANS.number, router_id)
    if vlan is None:
        return None
    settings: Settings = ask(SETTINGS, "")
    pool = ask(POOLS, router_id).pool
    shared = settings.capabilities.shared_downlink
    interface = allocate.DOWNLINK if shared else f"{allocate.DOWNLINK}-{vlan}"
    return Downlink(vlan, vlan if shared else None, interface,
                    allocate.DOWNLINK_MAC if shared else allocate.tenant_mac(vlan),
                    open_ofport(ask(INTERFACES, interface)), pool)


DOWNLINKS = Derived("downlinks of tenants", _downlink, each=MEMBERS, reads=(
    VLANS.number, SETTINGS, POOLS, INTERFACES))
"""By router id: Downlink of each tenant that has a VLAN ID."""


def _bindings(ask, router_id: str, members: Members) -> tuple[tuple[Binding, ...], tuple[str, ...]]:
    """Return the static bindings that a tenant with these members can have, and why not the others."""
    bindings = ask(POOLS, router_id).share.bindings
    if not bindings:
        return (), ()
    uplinks = {address.ip: port_id for port_id in ask(ALL_UPLINKS, "")
               for address in ask(UPLINKS, port_id).addresses}
    return apart(router_id, bindings, (floating for _, floating in members.maps), uplinks)


def _tenant(ask, router_id: str, _claims: int) -> tuple[Tenant | None, Problem | None]:
    """Return the tenant of a router with floating IPs. Its faults are told although it may work."""
    pool = ask(POOLS, router_id)
    if pool is None:
        return None, None
    members = ask(MEMBERS, router_id)
    downlink = ask(DOWNLINKS, router_id) if members is not None else None
    faults, tenant = pool.faults, None
    if downlink is not None:
        bindings, clashes = _bindings(ask, router_id, members)
        faults += clashes
        tenant = _build(ask, router_id, members, downlink, bindings)
    if faults:
        return tenant, Problem(ERROR, "; ".join(faults))
    return tenant, no_vlan(ask, router_id) if members is not None and downlink is None else None


def _build(ask, router_id: str, members: Members, downlink: Downlink,
           bindings: tuple[Binding, ...]) -> Tenant:
    settings: Settings = ask(SETTINGS, "")
    share = ask(POOLS, router_id).share
    address6 = ask(UPLINKS, min(members.uplinks)).addresses[0].ip
    limits = {} if not settings.capabilities.configurable else {
        "mtu": min(ask(UPLINKS, name).mtu for name in members.uplinks),
        "mtu4": ask(MTU_OF_ROUTER, router_id), "idle_timeout": settings.client_idle_timeout,
        "max_per_64": settings.clients_per_prefix, "lowest_ipv6_mtu": settings.lowest_ipv6_mtu,
        "zero_traffic_class": settings.zero_traffic_class,
        "drop_udp_zero_checksum": settings.drop_udp_zero_checksum}
    own = downlink.tag is None
    return Tenant(router_id, downlink.vlan, downlink.interface, mac=downlink.mac, pool=downlink.pool,
                  address6=address6, maps=members.maps, interface_ofport=downlink.ofport if own else None,
                  pool_first=share.first, pool_last=share.last, bindings=bindings, own_interface=own,
                  **limits)


TENANTS = Objects(Tenant.kind, _tenant, each=CLAIMED_ROUTERS, reads=(
    MEMBERS, DOWNLINKS, POOLS, UPLINKS, ALL_UPLINKS, MTU_OF_ROUTER, SETTINGS, VLANS.all))
