# SPDX-License-Identifier: Apache-2.0
"""The objects that VM ports need for their own IPv6: ports, their networks, addresses, routers.

Each has the numbers that stand for it in the registers of a packet on its way through the bridge's tables.
"""

from __future__ import annotations

import dataclasses
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from typing import ClassVar

from fip64agent.net.advertising import Advertising
from fip64agent.plan.problems import ObjectKey

FILTER, ZONE = "filter", "zone"
"""Kinds of what security groups need for a port, and for its network (plan/groups)."""


@dataclasses.dataclass(frozen=True, slots=True)
class AllServedPorts:
    """There as long as this host has served ports: what holds for all of them."""

    kind: ClassVar[str] = "all-ports"
    alone: bool = True
    """This host has no uplink, whose object `Host` holds for all of the bridge otherwise."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind,)


@dataclasses.dataclass(frozen=True, slots=True)
class ServedNetwork:
    """A network that served ports of this host are on."""

    kind: ClassVar[str] = "network"
    network_id: str
    number: int
    """Its number on this host: what the register of the network holds, and its conntrack zone."""
    ofports: tuple[int, ...]
    """OpenFlow ports of its served ports, sorted: where its multicast goes."""
    prefixes: tuple[IPv6Network, ...]
    """Of its IPv6 subnets, sorted."""
    mtu: int
    """Bytes."""
    vlan: int | None = None
    """The access VLAN that its served ports have on the bridge; None: they have none."""
    shared: tuple[IPv6Network, ...] = ()
    """Prefixes of more than one address that ports of it may use (allowed pairs), sorted: who has which
    address of them is not known."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.network_id)


@dataclasses.dataclass(frozen=True, slots=True)
class RouterInterface6:
    """A router's port with IPv6 on a served network: a gateway of the VMs there."""

    kind: ClassVar[str] = "interface"
    port_id: str
    router_id: str
    router: int
    """Number of the router."""
    network_id: str
    network: int
    mac: str
    link_local: IPv6Address
    """Made of its MAC (RFC 4291, appendix A), or the subnet's gateway_ip if that is a link-local address."""
    addresses: tuple[IPv6Interface, ...]
    """Global ones, with the prefix lengths of their subnets; sorted."""
    mtu: int
    advertising: Advertising | None
    """What it says in Router Advertisements; None: it sends none."""
    interval: int
    """Seconds between two of them that nobody asked for, at most."""
    nd_flags: bool
    """The datapath can make a Neighbor Advertisement of a Neighbor Solicitation."""

    @property
    def own(self) -> tuple[IPv6Address, ...]:
        """All its addresses, the link-local one last."""
        return (*(address.ip for address in self.addresses), self.link_local)

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.port_id)


@dataclasses.dataclass(frozen=True, slots=True)
class AllowedPair:
    """Addresses that a port may use beside its own (Neutron's allowed address pair)."""

    prefix: IPv6Network
    mac: str


@dataclasses.dataclass(frozen=True, slots=True)
class ServedPort:
    """A VM port that is bound on this host and has IPv6, so that the agent serves it."""

    kind: ClassVar[str] = "port"
    port_id: str
    network_id: str
    network: int
    """Number of its network."""
    ofport: int
    """OpenFlow port: its number in registers, too."""
    mac: str
    addresses: tuple[IPv6Address, ...]
    """Its fixed IPv6 addresses, sorted."""
    pairs: tuple[AllowedPair, ...]
    """Sorted."""
    secured: bool
    """Neutron's port_security_enabled, where [ports] port_security is on: only what its addresses and pairs
    allow may come from it."""
    filtered: bool
    """It has security groups, which IPv6 and IPv4 from it and to it pass."""
    gateways: tuple[RouterInterface6, ...] = ()
    """The routers on its network, by port id."""
    vlan: int | None = None
    """The access VLAN of its port on the bridge; None: it has none."""
    trunk: bool = False
    """Its port on the bridge was set up for frames of several VLANs."""
    ra_guard: bool = True
    """It must not send Router Advertisements and Redirects."""
    dhcpv6_guard: bool = True
    """It must not send messages of DHCPv6 servers."""

    @property
    def macs(self) -> tuple[str, ...]:
        """Its own MAC, then those of its allowed pairs, each once."""
        return tuple(dict.fromkeys((self.mac, *(pair.mac for pair in self.pairs))))

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.port_id)


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """A served port that may have an address."""

    ofport: int
    mac: str


@dataclasses.dataclass(frozen=True, slots=True)
class ServedAddress:
    """An IPv6 address of a network, and who has it here: several ports, if it is an allowed pair of them."""

    kind: ClassVar[str] = "address"
    network_id: str
    network: int
    address: IPv6Address
    holders: tuple[Holder, ...]
    """By OpenFlow port; a port whose own address it is comes before those that are only allowed to use it."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.network_id, str(self.address))


@dataclasses.dataclass(frozen=True, slots=True)
class ServedRouter:
    """A router with an interface on a network that served ports are on."""

    kind: ClassVar[str] = "router"
    router_id: str
    number: int
    """What the register of the router holds."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.router_id)


@dataclasses.dataclass(frozen=True, slots=True)
class Hop:
    """Where a route leads to, on a network with served ports."""

    network: int
    """Its number."""
    mac: str
    """Of the router there: the source of what it forwards."""
    largest: int | None
    """The network's MTU in bytes, if it is smaller than that of another network of the router; None: whatever
    comes fits."""
    holder: Holder | None = None
    """The next hop, a served port; None: the destination itself is on this network."""


@dataclasses.dataclass(frozen=True, slots=True)
class Route6:
    """An IPv6 route of a served router."""

    kind: ClassVar[str] = "route"
    router_id: str
    router: int
    destination: IPv6Network
    hop: Hop | None
    """None: nobody there can be reached from this host."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.router_id, str(self.destination))


@dataclasses.dataclass(frozen=True, slots=True)
class ExternalRoute6:
    """The way between a served router's networks and the outside, by an uplink of this host."""

    kind: ClassVar[str] = "external"
    router_id: str
    router: int
    uplink_id: str
    uplink_ofports: tuple[int, ...]
    """OpenFlow ports that packets come in by."""
    veth_ofport: int | None
    """OpenFlow port towards the translator, which has the uplink's routes; None until OVS has opened it."""
    mac: str
    """Of the uplink."""
    prefixes: tuple[IPv6Network, ...]
    """Of the router, sorted: what comes in for them is routed to the VMs."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.router_id)
