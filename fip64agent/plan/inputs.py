# SPDX-License-Identifier: Apache-2.0
"""What plan() decides from: the topology, OVS's interfaces, settings, allocations in force."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType

from fip64agent.plan.nodes import Input
from fip64agent.topology.model import Topology

DEFAULT_POOL = IPv4Network("100.64.0.0/16")
REDIRECT_ALL = "all"
REDIRECT_EXTERNAL_NETWORKS = "external-networks"
GUARD_ALL, GUARD_SECURED = "all", "secured"
"""Whom a guard of [ports] is for: all served ports; those whose port_security_enabled is true."""


@dataclasses.dataclass(frozen=True, slots=True)
class Interface:
    """A row of OVSDB's Interface table on our bridge."""

    name: str
    ofport: int | None = None
    """OpenFlow port number; None until OVS has opened the device."""
    iface_id: str | None = None
    """``external_ids:iface-id``: the id of the port that is bound here."""
    error: str | None = None
    """Why OVS could not open the device."""
    bond: str = ""
    """Name of the bond that it is a member of; "" when it is alone on its bridge port."""
    active: bool = False
    """The member that the bond's frames leave by now."""
    tag: int | None = None
    """The access VLAN of its bridge port, in which NORMAL carries its frames; None: the port has none.
    Neutron gives 4095 to a port that it has not set up yet."""
    trunk: bool = False
    """Its bridge port was set up for frames of several VLANs: by vlan_mode, or by a list of VLANs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Datapath:
    """What the bridge's datapath can do, as Open vSwitch has answered (switch/connection/datapath.py)."""

    kind: str
    """Bridge.datapath_type of OVSDB: "system" is the kernel's, "netdev" is in userspace."""
    nd_flags: bool = False
    """Flows can set the flags of a Neighbor Advertisement and the type of an option: turn a Neighbor
    Solicitation into its answer. The kernel's datapath cannot."""
    packet_size: bool = False
    """Flows can compare the size of a packet with an MTU (check_pkt_larger, since Open vSwitch 2.12). The
    kernel does it since 5.2; for an older one Open vSwitch does it itself, packet by packet."""
    conntrack: bool = False
    """Flows can send packets through conntrack, match its answer, and mark connections."""
    meters: bool = False
    """The rate of packets to the agent can be limited."""


@dataclasses.dataclass(frozen=True, slots=True)
class Capabilities:
    """What plan() must know of the translator, whichever it is. Its driver says so."""

    shared_downlink: bool = False
    """One link leads to it for all tenants, with an 802.1Q VLAN for each; else each tenant has a link of
    its own, untagged."""
    pools_are_prefixes: bool = False
    """It takes a part of a NAT64 pool only as a prefix, so a pool can be cut into a power of two only."""
    kept_addresses: int = 0
    """How many addresses, from the first of a part of a pool, it keeps for itself."""
    largest_pool: int | None = None
    """Addresses that a tenant can have on one host, a power of two; None: any number."""
    configurable: bool = False
    """It takes MTUs, timeouts and limits of a tenant from the plan; else it has its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class PortServices:
    """What the agent does for VM ports: the switches of [ports]."""

    enabled: bool = True
    """Ports are served at all."""
    security_groups: bool = True
    port_security: bool = True
    ra_guard: str = GUARD_ALL
    dhcpv6_guard: str = GUARD_ALL
    """GUARD_ALL, GUARD_SECURED, or "none"."""
    conntrack_limit: int = 50000
    """Connections of a network with filtered ports, at most; 0: any number."""
    router_advertisements: bool = True
    router_lifetime: int = 1800
    """Seconds, of all that a Router Advertisement says of the router: 0: it is no default router."""
    router_preference: str = "medium"
    """RFC 4191: "high", "medium" or "low"."""
    max_advertisement_interval: int = 600
    """Seconds between two unsolicited advertisements to a port, at most (RFC 4861, section 6.2.1)."""
    prefix_valid_lifetime: int = 2592000
    prefix_preferred_lifetime: int = 604800
    """Seconds (RFC 4861, section 6.2.1)."""
    reachable_time: int = 0
    retransmit_timer: int = 0
    """Milliseconds; 0: not specified."""
    nat64_prefix: IPv6Network | None = None
    """Advertised as PREF64 (RFC 8781); None: nothing is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The part of the configuration that plan() depends on."""

    capabilities: Capabilities = Capabilities()
    redirect: str = REDIRECT_ALL
    answer_arp: bool = True
    nat64_pool: IPv4Network = DEFAULT_POOL
    netns_prefix: str = "fip64-"
    """Of network namespaces: ``<prefix>nd``, and those that the translator's driver wants."""
    vlan_range: tuple[int, int] = (1, 4094)
    """First and last 802.1Q VLAN ID that tenants may get on this host."""
    pool_slice: tuple[int, int] = (1, 1)
    """(i, n): of each NAT64 pool, cut into n, this host gives the i-th part to clients."""
    client_idle_timeout: int = 7440
    """Seconds; 0: a client keeps its address until another one needs it."""
    clients_per_prefix: int = 256
    """Clients of one IPv6 /64 that a tenant serves at a time; 0: any number."""
    lowest_ipv6_mtu: int = 1280
    """Bytes: what a VM sends without DF becomes IPv6 packets no longer than this (RFC 7915, section 4)."""
    zero_traffic_class: bool = False
    """Traffic class and TOS become 0 instead of being copied (RFC 7915, sections 4.1 and 5.1)."""
    drop_udp_zero_checksum: bool = False
    """UDP without checksum is dropped instead of getting one (RFC 7915, section 4.5)."""
    ports: PortServices = PortServices()


_NONE: Mapping = MappingProxyType({})


@dataclasses.dataclass(frozen=True, slots=True)
class Allocations:
    """Numbers in force, read back from what is installed: nobody loses the one it has."""

    numbers: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=lambda: _NONE)
    """By number space, then owner: "vlans" (a tenant's router id -> VLAN ID), "tables" (an uplink's port
    id -> routing table id)."""

    def of(self, space: str) -> Mapping[str, int]:
        """Return the numbers of a space by owner."""
        return self.numbers.get(space, _NONE)

    @property
    def vlans(self) -> Mapping[str, int]:
        """Tenant's router id -> VLAN ID."""
        return self.of("vlans")

    @property
    def tables(self) -> Mapping[str, int]:
        """Uplink's port id -> routing table id."""
        return self.of("tables")

    def __or__(self, other: Allocations) -> Allocations:
        """Return the numbers of both; `other` has the last word."""
        return Allocations({space: MappingProxyType({**self.of(space), **other.of(space)})
                            for space in self.numbers.keys() | other.numbers.keys()})


@dataclasses.dataclass(frozen=True, slots=True)
class Inputs:
    topology: Topology
    interfaces: Mapping[str, Interface]
    """By interface name: all on our bridge, our own veths too."""
    settings: Settings = Settings()
    allocations: Allocations = Allocations()
    datapath: Datapath | None = None
    """None: it is not known yet."""


def _of_topology(kind: str) -> Input:
    return Input(kind, lambda inputs: getattr(inputs.topology, kind),
                 lambda inputs: inputs.topology.differences.get(kind))


NETWORKS = _of_topology("networks")
SUBNETS = _of_topology("subnets")
ROUTERS = _of_topology("routers")
ADDRESS_GROUPS = _of_topology("address_groups")
SECURITY_GROUPS = _of_topology("security_groups")
PORTS = _of_topology("ports")
FLOATINGIPS = _of_topology("floatingips")
INTERFACES = Input("interfaces", lambda inputs: inputs.interfaces)
DATAPATH = Input("datapath", lambda inputs: {"": inputs.datapath} if inputs.datapath else {})
"""One, or none while it is not known: what needs it is not planned then."""
SETTINGS = Input("settings", lambda inputs: {"": inputs.settings})
IN_FORCE = Input("numbers in force", lambda inputs: inputs.allocations.numbers)
"""By number space."""
