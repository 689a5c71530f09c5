# SPDX-License-Identifier: Apache-2.0
"""Tenants: one router's IPv4 address space each, told apart by a VLAN ID."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from fip64agent.plan import allocate
from fip64agent.plan.bindings import open_ofport
from fip64agent.plan.desired import Host, Tenant
from fip64agent.plan.inputs import Interface, Settings
from fip64agent.plan.pools import Binding, Share
from fip64agent.plan.uplinks import Uplinks

Map = tuple[IPv4Address, IPv6Address]
"""(fixed IPv4, floating IPv6)"""


def host(settings: Settings, interfaces: Mapping[str, Interface], uplinks: Uplinks) -> Host:
    """Return what a host with at least one uplink has once, whatever its tenants."""
    nd_netns = allocate.nd_netns(settings.netns_prefix)
    guarded, macs = uplinks.guarded()
    if not settings.capabilities.shared_downlink:
        return Host(nd_netns=nd_netns, guarded=guarded, guarded_macs=macs)
    return Host(allocate.DOWNLINK, allocate.DOWNLINK_PEER, allocate.DOWNLINK_MAC,
                open_ofport(interfaces.get(allocate.DOWNLINK)), nd_netns, guarded, macs)


def tenant(router_id: str, vlan: int, pool: IPv4Network, share: Share, address6: IPv6Address, mtu: int,
           mtu4: int, maps: tuple[Map, ...], bindings: tuple[Binding, ...], settings: Settings,
           interfaces: Mapping[str, Interface]) -> Tenant:
    """Return the tenant with this VLAN ID.

    It has a veth and a MAC of its own, both named by the VLAN ID; or all tenants share the host's
    downlink, and the MAC that the translator has there.
    """
    shared = settings.capabilities.shared_downlink
    interface = allocate.DOWNLINK if shared else f"{allocate.DOWNLINK}-{vlan}"
    limits = {} if not settings.capabilities.configurable else {
        "mtu": mtu, "mtu4": mtu4, "idle_timeout": settings.client_idle_timeout,
        "max_per_64": settings.clients_per_prefix, "lowest_ipv6_mtu": settings.lowest_ipv6_mtu,
        "zero_traffic_class": settings.zero_traffic_class,
        "drop_udp_zero_checksum": settings.drop_udp_zero_checksum}
    return Tenant(router_id, vlan, interface,
                  mac=allocate.DOWNLINK_MAC if shared else allocate.tenant_mac(vlan), pool=pool,
                  address6=address6, maps=maps,
                  interface_ofport=None if shared else open_ofport(interfaces.get(interface)),
                  pool_first=share.first, pool_last=share.last, bindings=bindings,
                  own_interface=not shared, **limits)


def _order(pair: Map) -> tuple[int, int]:
    return int(pair[0]), int(pair[1])  # comparing integers is much faster than comparing addresses


def sorted_maps(pairs: Iterable[Map]) -> tuple[Map, ...]:
    return tuple(sorted(pairs, key=_order))


def edited_maps(maps: tuple[Map, ...], gone: Iterable[Map], come: Iterable[Map]) -> tuple[Map, ...]:
    """Return `maps` (sorted) without `gone`, which it holds, and with `come`."""
    edited = list(maps)
    for pair in gone:
        del edited[bisect_left(edited, _order(pair), key=_order)]
    for pair in come:
        insort(edited, pair, key=_order)
    return tuple(edited)
