# SPDX-License-Identifier: Apache-2.0
"""The objects that floating IPs and their tenants need."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import ClassVar

from fip64agent.plan.problems import ObjectKey


@dataclasses.dataclass(frozen=True, slots=True)
class Tenant:
    """One router's IPv4 address space."""

    kind: ClassVar[str] = "tenant"
    router_id: str
    vlan: int
    """Its number on this host, an 802.1Q VLAN ID."""
    interface: str
    """OVS port that leads to this tenant's side of the translator: a veth of its own ("ovs-dl-<vlan>"),
    or Host.downlink."""
    mac: str
    """MAC of the translator towards this tenant."""
    pool: IPv4Network
    address6: IPv6Address
    """Source of ICMPv6 errors that the translator makes: the uplink's address."""
    maps: tuple[tuple[IPv4Address, IPv6Address], ...]
    """(fixed IPv4, floating IPv6) of all its mappings; sorted."""
    interface_ofport: int | None = None
    """OpenFlow port of `interface`; None until OVS has opened it."""
    pool_first: IPv4Address | None = None
    """First address of the part of `pool` that this host gives to clients; None: all of `pool`."""
    pool_last: IPv4Address | None = None
    """The last one."""
    bindings: tuple[tuple[IPv6Address, IPv4Address], ...] = ()
    """Static ones, (client, pool address), between pool_first and pool_last; sorted."""
    mtu: int = 1500
    """Towards IPv6 clients, in bytes: the smallest of its uplinks."""
    mtu4: int = 1500
    """Towards the VMs, in bytes: the smallest of the router's networks with IPv4 subnets."""
    idle_timeout: int = 7440
    """Seconds after which a silent client loses its pool address; 0: never."""
    max_per_64: int = 256
    """Clients of one IPv6 /64 at a time; 0: any number."""
    lowest_ipv6_mtu: int = 1280
    """Bytes: what a VM sends without DF becomes IPv6 packets no longer than this."""
    zero_traffic_class: bool = False
    """Traffic class and TOS become 0 instead of being copied."""
    drop_udp_zero_checksum: bool = False
    """UDP of the VMs without checksum is dropped instead of getting one."""
    own_interface: bool = False
    """`interface` is of this tenant alone, and untagged; else `vlan` tells the tenants apart there."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.router_id)


@dataclasses.dataclass(frozen=True, slots=True)
class Mapping64:
    """A FIP64 mapping: floating IPv6 -> fixed IPv4 in a tenant, and the ways to and from it."""

    kind: ClassVar[str] = "fip"
    fip_id: str
    floating_ip: IPv6Address
    fixed_ip: IPv4Address
    router_id: str
    port_id: str
    """The VM port."""
    uplink_id: str
    on_link: bool
    """The FIP is in the uplink's own network: its Neighbor Solicitations are answered here."""
    nd_netns: str
    nd_peer: str
    """Uplink.nd_peer: the link that has the FIP when it is on-link."""
    uplink_ofport: int
    """Uplink.active_ofport"""
    uplink_mac: str
    vlan: int
    """Tenant.vlan"""
    downlink_ofport: int | None
    """OpenFlow port towards the translator; None until OVS has opened it; no IPv4 flows until then."""
    downlink_vlan: int | None
    """802.1Q VLAN ID on the downlink; None: untagged."""
    downlink_mac: str
    pool: IPv4Network
    vm_ofport: int
    vm_mac: str
    gateway_mac: str
    """MAC of the tenant router's interface on the VM's subnet: source of what the VM gets."""
    table: int = 0
    """Uplink.table: where the floating address is reached, and its answers are routed."""
    redirect_ofport: int | None = None
    """OpenFlow port of the uplink's veth when this FIP is redirected by a flow of its own: on-link,
    and only external networks are redirected. Else None."""
    nd_ofport: int | None = None
    """OpenFlow port of the uplink's Neighbor Discovery link in the same case. Else None."""
    uplink_members: tuple[int, ...] = ()
    """OpenFlow ports of an uplink that is a bond, by number; else ()."""
    filtered_network: int | None = None
    """Number of the VM port's network, if the port has security groups: they see what is translated."""
    key: ObjectKey = dataclasses.field(init=False, compare=False, repr=False)
    """Made once: each flow and route of the mapping refers to it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", (self.kind, self.fip_id))

    @property
    def uplink_ofports(self) -> tuple[int, ...]:
        """OpenFlow ports that packets come in by."""
        return self.uplink_members or (self.uplink_ofport,)


@dataclasses.dataclass(frozen=True, slots=True)
class Gateway:
    """The tenant router's IPv4 address as one VM port sees it, and the flows of that port."""

    kind: ClassVar[str] = "gateway"
    port_id: str
    address: IPv4Address
    mac: str
    vm_ofport: int
    vm_mac: str
    answers: bool
    """The VM's ARP requests for `address` are answered here."""
    isolates: bool
    """It keeps the VM port from sending in others' names: one gateway of each port does, and none when
    the port's network is one that an uplink here serves."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.port_id, str(self.address))
