# SPDX-License-Identifier: Apache-2.0
"""What should be installed on this host: the immutable result of plan().

Every object is self-contained: a room derives its items (links, flows, translator
configuration) from one object alone, so an object that did not change needs no work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import ClassVar

from fip64agent.plan.editing import changed_keys
from fip64agent.plan.inputs import Allocations

ObjectKey = tuple[str, ...]
"""(kind, id...): ("host",), ("uplink", port id), ("tenant", router id), ("fip", fip id),
("port", VM port id, gateway address)."""

PENDING = "pending"
ERROR = "error"
ACTIVE = "active"


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Why an object of the topology is not (wholly) in the plan."""

    state: str
    """PENDING (waits for something that is expected to come) or ERROR (somebody must act)."""
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """What this host needs as soon as it has one uplink."""

    kind: ClassVar[str] = "host"
    downlink: str = ""
    """OVS end of the one veth to the translator, "ovs-dl"; "": each tenant has one of its own."""
    downlink_peer: str = ""
    """The translator's end of it."""
    downlink_mac: str = ""
    """MAC of the translator there."""
    downlink_ofport: int | None = None
    """OpenFlow port of `downlink`; None until OVS has opened it."""
    nd_netns: str = ""
    """The namespace of the far ends of all Neighbor Discovery links."""
    guarded: tuple[IPv6Network, ...] = ()
    """In whose name no VM may send: the prefixes that the uplinks here serve, and their next hops; sorted."""
    guarded_macs: tuple[str, ...] = ()
    """MACs of the uplinks here: likewise, and for the link-local addresses that follow from them; sorted."""

    @property
    def key(self) -> ObjectKey:
        return (self.kind,)


@dataclasses.dataclass(frozen=True, slots=True)
class Uplink:
    """A router port with IPv6 addresses that is bound here."""

    kind: ClassVar[str] = "uplink"
    port_id: str
    router_id: str
    network_id: str
    interface: str
    """Name of the OVS interface that carries iface-id=<port id>: the wire to the outside."""
    ofport: int
    veth: str
    """OVS end of our veth, "ovs-" + 8 characters."""
    veth_ofport: int | None
    """None until OVS has opened it; no flows until then."""
    peer: str
    """Translator's end, "vpp-" + the same characters."""
    mac: str
    """MAC of the translator's end: the router port's mac_address."""
    mtu: int
    addresses: tuple[IPv6Interface, ...]
    """With prefix lengths; sorted."""
    routes: tuple[tuple[IPv6Network, IPv6Address], ...]
    """(destination, next hop): subnet gateways, host routes, the router's extra routes; sorted."""
    table: int
    """Number of the routing table for what leaves by this uplink."""
    onlink: tuple[IPv6Network, ...]
    """Prefixes of the uplink's own network; sorted."""
    routed: tuple[IPv6Network, ...]
    """Prefixes of the other external networks that this uplink serves: source routing,
    redirect, and a blackhole for what is not assigned; sorted."""
    redirect: str
    nd_netns: str
    nd_veth: str
    """OVS end of the Neighbor Discovery link, "ovs-nd-" and the characters of `veth`. At its far end the
    kernel answers Neighbor Solicitations and MLD queries for the uplink and its on-link floating IPs."""
    nd_veth_ofport: int | None
    """None until OVS has opened it; no flows until then."""
    nd_peer: str
    """Far end, "nd-" and the same characters, inside `nd_netns`; its MAC is `mac`."""
    members: tuple[int, ...] = ()
    """OpenFlow ports of the interfaces of a bond, the active one first, then by number; () when
    `interface` is alone on its bridge port."""

    @property
    def ofports(self) -> tuple[int, ...]:
        """OpenFlow ports that its packets come in by, sorted."""
        return tuple(sorted(self.members)) or (self.ofport,)

    @property
    def active_ofport(self) -> int:
        """OpenFlow port that its packets leave by."""
        return self.members[0] if self.members else self.ofport

    @property
    def veths(self) -> tuple[str, str]:
        """Names of the two that are ports of ours on the bridge."""
        return self.veth, self.nd_veth

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.port_id)

    @property
    def next_hops(self) -> tuple[IPv6Address, ...]:
        """The gateways that its routes lead to; sorted."""
        return tuple(sorted({via for _, via in self.routes}))


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

    @property
    def uplink_ofports(self) -> tuple[int, ...]:
        """OpenFlow ports that packets come in by."""
        return self.uplink_members or (self.uplink_ofport,)

    @property
    def key(self) -> ObjectKey:
        return (self.kind, self.fip_id)


@dataclasses.dataclass(frozen=True, slots=True)
class Gateway:
    """The tenant router's IPv4 address as one VM port sees it, and the flows of that port."""

    kind: ClassVar[str] = "port"
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


PlanObject = Host | Uplink | Tenant | Mapping64 | Gateway


@dataclasses.dataclass(frozen=True, slots=True)
class Desired:
    """All that should be installed, and why the rest is not. `objects` is what the rooms work from."""

    host: Host | None
    uplinks: Mapping[str, Uplink]
    tenants: Mapping[str, Tenant]
    mappings: Mapping[str, Mapping64]
    """By floating IP id."""
    gateways: Mapping[ObjectKey, Gateway]
    problems: Mapping[tuple[str, str], Problem]
    """By (kind, id): ("fip", id), ("uplink", port id), ("tenant", router id)."""
    allocations: Allocations
    """Numbers given; feed them into the next plan()."""
    _index: object = dataclasses.field(default=None, compare=False, repr=False)
    """What replan() needs to be quick; nobody else's business."""

    def _by_kind(self) -> Iterator[Mapping]:
        yield {(): self.host} if self.host else {}
        yield self.uplinks
        yield self.tenants
        yield self.mappings
        yield self.gateways

    def of(self, kind: str) -> Mapping[str, PlanObject]:
        """Return the objects of a kind, by id (the rest of their keys; "" where there is but one)."""
        if kind == Host.kind:
            return {"": self.host} if self.host else {}
        if kind == Gateway.kind:
            return {" ".join(key[1:]): gateway for key, gateway in self.gateways.items()}
        return {Uplink.kind: self.uplinks, Tenant.kind: self.tenants, Mapping64.kind: self.mappings}[kind]

    def objects(self) -> Iterator[PlanObject]:
        """All objects; what others build on comes first."""
        for mapping in self._by_kind():
            yield from mapping.values()

    def find(self, key: ObjectKey) -> PlanObject | None:
        """Return the object with that key, if it is in the plan."""
        match key:
            case ("host",):
                return self.host
            case ("uplink", name):
                return self.uplinks.get(name)
            case ("tenant", name):
                return self.tenants.get(name)
            case ("fip", name):
                return self.mappings.get(name)
        return self.gateways.get(key)

    def changes(self, old: Desired | None) -> list[tuple[PlanObject | None, PlanObject | None]]:
        """Return (old object, new object) for each that differs; None where there is none."""
        if old is None:
            return [(None, new) for new in self.objects()]
        result: list[tuple[PlanObject | None, PlanObject | None]] = []
        for before, after in zip(old._by_kind(), self._by_kind(), strict=True):
            result.extend((before.get(name), after.get(name)) for name in changed_keys(before, after))
        return result


NOTHING = Desired(None, {}, {}, {}, {}, {}, Allocations())
