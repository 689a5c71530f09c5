# SPDX-License-Identifier: Apache-2.0
"""Topologies for tests and benchmarks: one built by hand, one as big as asked, and random ones.

All have the shape of a real site: an edge router whose port on the uplink network is bound here
and which leads to the external networks; tenant routers with a gateway port there and an
interface on a subnet of VMs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType

from hypothesis import strategies as st

from fip64agent.plan.desired import Desired
from fip64agent.plan.inputs import DEFAULT_POOL, Allocations, Inputs, Interface, Settings
from fip64agent.topology.model import (
    KINDS,
    ROUTER_GATEWAY,
    ROUTER_INTERFACE,
    AddressGroup,
    AddressPair,
    DhcpOption,
    FixedIP,
    FloatingIP,
    Nat64Binding,
    Network,
    Port,
    Route,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Topology,
)
from fip64agent.topology.resources import Resources
from tests.fakes.translators import CAPABILITIES


def uuid(kind: int, number: int = 0) -> str:
    """Return an id that looks like Neutron's; ids of one kind sort by number."""
    return f"{kind:04x}{number & 0xffff:04x}-0000-4000-8000-{number:012x}"


def mac(kind: int, number: int = 0) -> str:
    return ":".join(f"{octet:02x}" for octet in (0xFA, 0x16, kind, *number.to_bytes(3, "big")))


def fixed(subnet_id: str, address: str) -> FixedIP:
    return FixedIP(subnet_id, ip_address(address))


def subnet(subnet_id: str, network_id: str, cidr: str, gateway: str | None = None,
           host_routes: Iterable[tuple[str, str]] = ()) -> Subnet:
    return Subnet(subnet_id, network_id, ip_network(cidr),
                  gateway_ip=ip_address(gateway) if gateway else None, host_routes=routes(*host_routes))


def routes(*pairs: tuple[str, str]) -> tuple[Route, ...]:
    return tuple(Route(ip_network(destination), ip_address(nexthop)) for destination, nexthop in pairs)


@dataclasses.dataclass
class Site:
    """A topology that can still be changed, and the interfaces of the bridge: what tests start from."""

    networks: dict[str, Network] = dataclasses.field(default_factory=dict)
    subnets: dict[str, Subnet] = dataclasses.field(default_factory=dict)
    routers: dict[str, Router] = dataclasses.field(default_factory=dict)
    address_groups: dict[str, AddressGroup] = dataclasses.field(default_factory=dict)
    security_groups: dict[str, SecurityGroup] = dataclasses.field(default_factory=dict)
    ports: dict[str, Port] = dataclasses.field(default_factory=dict)
    floatingips: dict[str, FloatingIP] = dataclasses.field(default_factory=dict)
    interfaces: dict[str, Interface] = dataclasses.field(default_factory=dict)
    settings: Settings = dataclasses.field(default_factory=Settings)

    def add(self, *items) -> Site:
        """Add or replace resources and interfaces."""
        kinds = {Network: self.networks, Subnet: self.subnets, Router: self.routers, Port: self.ports,
                 AddressGroup: self.address_groups, SecurityGroup: self.security_groups,
                 FloatingIP: self.floatingips}
        for item in items:
            if isinstance(item, Interface):
                self.interfaces[item.name] = item
            else:
                kinds[type(item)][item.id] = item
        return self

    def change(self, kind: str, item_id: str, **values) -> Site:
        """Change attributes of one resource or interface."""
        items = getattr(self, kind)
        items[item_id] = dataclasses.replace(items[item_id], **values)
        return self

    @property
    def topology(self) -> Topology:
        """As it stands here, sound or not."""
        return Topology.of(**{kind: getattr(self, kind).values() for kind in KINDS})

    @property
    def inputs(self) -> Inputs:
        """What a source makes of it: sound, with its faults told."""
        return sound_inputs(Inputs(self.topology, dict(self.interfaces), self.settings))


def sound(topology: Topology, default_pool: IPv4Network = DEFAULT_POOL) -> Topology:
    """Return what is in force of a topology made by hand, as every source of topologies does."""
    return Resources(default_pool).update({
        (kind, item_id): item for kind in KINDS for item_id, item in getattr(topology, kind).items()})


def sound_inputs(inputs: Inputs) -> Inputs:
    """Return the inputs with a sound topology."""
    return dataclasses.replace(inputs, topology=sound(inputs.topology, inputs.settings.nat64_pool))


def edge_site() -> Site:
    """An edge router with a bound uplink port, leading to the external network "ext"; no tenants."""
    return Site().add(
        Network("uplink-net", mtu=1500), Network("ext", external=True),
        subnet("uplink-v6", "uplink-net", "2001:db8:ffff::/64", "2001:db8:ffff::1"),
        subnet("ext-v6", "ext", "2001:db8:f::/64", "2001:db8:f::1"),
        Router("edge"),
        Port("uplink", "uplink-net", mac(1), device_owner=ROUTER_GATEWAY, device_id="edge",
             fixed_ips=(fixed("uplink-v6", "2001:db8:ffff::2"),)),
        Port("edge-ext", "ext", mac(1, 1), device_owner=ROUTER_INTERFACE, device_id="edge",
             fixed_ips=(fixed("ext-v6", "2001:db8:f::1"),)),
        Interface("eth-up", 1, "uplink"))


def add_tenant(site: Site, name: str, external: str = "ext", cidr: str = "10.0.0.0/24") -> Site:
    """Add a router connected to `external`, with the first address of `cidr` on a network of its own."""
    number = len(site.routers)
    return site.add(
        Network(f"{name}-net"), subnet(f"{name}-v4", f"{name}-net", cidr, str(ip_network(cidr)[1])),
        Router(name),
        Port(f"{name}-gw", external, mac(2, number), device_owner=ROUTER_GATEWAY, device_id=name),
        Port(f"{name}-if", f"{name}-net", mac(3, number), device_owner=ROUTER_INTERFACE, device_id=name,
             fixed_ips=(fixed(f"{name}-v4", str(ip_network(cidr)[1])),)))


def add_vm(site: Site, name: str, tenant: str, address: str, floating: str | None = None,
           external: str = "ext") -> Site:
    """Add a VM port bound to interface "tap-<name>", and with `floating` its floating IP "fip-<name>"."""
    number = len(site.ports)
    site.add(Port(name, f"{tenant}-net", mac(4, number), fixed_ips=(fixed(f"{tenant}-v4", address),)),
             Interface(f"tap-{name}", 100 + number, name))
    if floating:
        site.add(FloatingIP(f"fip-{name}", external, IPv6Address(floating), name))
    return site


def two_tenant_site() -> Site:
    """Two tenants "red" and "blue", one VM each with the same fixed IP, and a floating IP for each."""
    site = edge_site()
    for number, tenant in enumerate(("red", "blue")):
        add_tenant(site, tenant)
        add_vm(site, f"vm-{tenant}", tenant, "10.0.0.5", f"2001:db8:f::1{number}")
    return site


def big_topology(tenants: int, fips: int) -> tuple[Topology, dict[str, Interface]]:
    """Return a topology with so many tenants and floating IPs, and interfaces for all of its ports.

    All tenants use the same subnet, 10.0.0.0/16. Floating IP number i belongs to tenant i % tenants.
    """
    site = edge_site()
    v4, pool6 = IPv4Network("10.0.0.0/16"), IPv6Network("2001:db8:f::/64")
    for tenant in range(tenants):
        router, net, sub = uuid(2, tenant), uuid(3, tenant), uuid(4, tenant)
        site.add(Network(net), Subnet(sub, net, v4, gateway_ip=v4[1]), Router(router),
                 Port(uuid(5, tenant), "ext", mac(2, tenant), device_owner=ROUTER_GATEWAY, device_id=router),
                 Port(uuid(6, tenant), net, mac(3, tenant), device_owner=ROUTER_INTERFACE,
                      device_id=router, fixed_ips=(FixedIP(sub, v4[1]),)))
    for number in range(fips):
        tenant, port_id = number % tenants, uuid(7, number)
        site.add(Port(port_id, uuid(3, tenant), mac(4, number),
                      fixed_ips=(FixedIP(uuid(4, tenant), v4[2 + number // tenants]),)),
                 FloatingIP(uuid(8, number), "ext", pool6[0x10000 + number], port_id),
                 Interface(f"tap{number:x}", 1000 + number, port_id))
    return site.topology, site.interfaces


def own_interfaces(desired: Desired, first_ofport: int = 60000) -> dict[str, Interface]:
    """Return the interfaces that the bridge has once our veths of this plan are there and open."""
    names = {name for uplink in desired.uplinks.values() for name in uplink.veths}
    names |= {tenant.interface for tenant in desired.tenants.values()}
    return {name: Interface(name, first_ofport + number) for number, name in enumerate(sorted(names))}


# Random topologies. Ids come from small sets, so that collisions and changes of heart are frequent.

ROUTER_IDS = ("r0", "r1", "r2", "core", "not/a-name")
FIP_IDS = tuple(f"f{number}" for number in range(8))
VM_IDS = tuple(f"v{number}" for number in range(6))
UPLINK_IDS = (uuid(0xAAAA, 1), uuid(0xAAAA, 1)[:-1] + "2", "up")
"""The first two begin with the same 8 characters."""


@st.composite
def valid_sites(draw) -> Site:
    """A consistent site: up to three uplinks and tenants, two external networks, VMs, floating IPs."""
    site = Site().add(
        Network("uplink-net"), subnet("uplink-v6", "uplink-net", "2001:db8:ffff::/64", "2001:db8:ffff::1"),
        Network("ext", external=True), subnet("ext-v6", "ext", "2001:db8:f::/64", "2001:db8:f::1"),
        subnet("ext-v4", "ext", "203.0.113.0/24", "203.0.113.1"),
        Network("ext2", external=True), subnet("ext2-v6", "ext2", "2001:db8:e::/64", "2001:db8:e::1"),
        Router("edge"),
        Port("edge-ext", "ext", mac(1, 1), device_owner=ROUTER_INTERFACE, device_id="edge",
             fixed_ips=(fixed("ext-v6", "2001:db8:f::1"), fixed("ext-v4", "203.0.113.1"))),
        Port("edge-ext2", "ext2", mac(1, 2), device_owner=ROUTER_INTERFACE, device_id="edge",
             fixed_ips=(fixed("ext2-v6", "2001:db8:e::1"),)))
    for number, port_id in enumerate(UPLINK_IDS):
        network_id = draw(st.sampled_from(("uplink-net", "uplink-net", "ext")))
        prefix = "2001:db8:ffff" if network_id == "uplink-net" else "2001:db8:f"
        site.add(Port(port_id, network_id, mac(5, number), device_owner=ROUTER_GATEWAY, device_id="edge",
                      fixed_ips=(fixed(network_id.removesuffix("-net") + "-v6", f"{prefix}::a{number}"),)))
        if number == 0 or draw(st.booleans()):
            site.add(Interface(f"up{number}", 1 + number, port_id))
    tenants = draw(st.lists(st.sampled_from(ROUTER_IDS), min_size=1, max_size=3, unique=True))
    for tenant in tenants:
        add_tenant(site, tenant, draw(st.sampled_from(("ext", "ext2"))))
    for number, vm in enumerate(VM_IDS):
        tenant = draw(st.sampled_from(tenants))
        add_vm(site, vm, tenant, f"10.0.0.{10 + number}")
        if draw(st.integers(0, 4)) == 0:
            del site.interfaces[f"tap-{vm}"]
    for number, vm in enumerate(draw(st.lists(st.sampled_from(VM_IDS), unique=True))):
        router_id = site.ports[vm].network_id.removesuffix("-net")
        network_id = site.ports[f"{router_id}-gw"].network_id
        prefix = {"ext": "2001:db8:f", "ext2": "2001:db8:e"}[network_id]
        site.add(FloatingIP(FIP_IDS[number], network_id, IPv6Address(f"{prefix}::{0x100 + number:x}"), vm))
    if draw(st.booleans()):
        add_groups(site)
        for vm in VM_IDS:
            site.change("ports", vm, security_groups=draw(st.sampled_from(((), ("g0",), ("g1", "g0")))))
    return site


def add_groups(site: Site) -> Site:
    """Add two security groups that refer to each other, and an address group."""
    return site.add(
        AddressGroup("ag", "office", (ip_network("192.0.2.0/24"), ip_network("2001:db8:9::/64"))),
        SecurityGroup("g0", "web", rules=(
            SecurityGroupRule("1", "ingress", "IPv6", 6, 80, 443, remote_group_id="g1"),
            SecurityGroupRule("2", "ingress", "IPv4", 1, 8, 0, remote_address_group_id="ag"),
            SecurityGroupRule("3", "egress", "IPv6"))),
        SecurityGroup("g1", stateful=False, rules=(
            SecurityGroupRule("1", "egress", "IPv4", 17, 53, 53, ip_network("10.0.0.0/24")),
            SecurityGroupRule("2", "ingress", "IPv6", 58, 128, remote_group_id="g0"))))


def _maybe(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | values


ADDRESSES6 = st.sampled_from([IPv6Address(f"2001:db8:f::{low}") for low in ("1", "a0", "100", "101", "102")]
                             + [IPv6Address("2001:db8:e::100"), IPv6Address("2001:db8:ffff::a0"),
                                IPv6Address("fe80::1"), IPv6Address("::")])
ADDRESSES4 = st.sampled_from([IPv4Address(f"10.0.0.{low}") for low in (1, 10, 11, 12, 99)]
                             + [IPv4Address("100.64.0.9"), IPv4Address("169.254.0.9")])
NETWORK_IDS = st.sampled_from(("uplink-net", "ext", "ext2", "r0-net", "r1-net", "nowhere"))
SUBNET_IDS = st.sampled_from(("uplink-v6", "ext-v6", "ext2-v6", "ext-v4", "r0-v4", "r1-v4", "r2-v4", "nosub"))
ANY_ROUTER = st.sampled_from((*ROUTER_IDS, "edge", "nobody", ""))
ANY_PORT = st.sampled_from((*VM_IDS, *UPLINK_IDS, "r0-if", "r1-gw", "edge-ext", "noport"))
CIDRS = st.sampled_from([ip_network(cidr) for cidr in (
    "2001:db8:f::/64", "2001:db8:e::/64", "2001:db8:ffff::/64", "10.0.0.0/24", "10.0.0.0/8", "100.64.0.0/24",
    "::/0", "10.0.0.10/32", "fe80::/64", "169.254.0.0/16")])
ROUTES = st.lists(st.builds(Route, CIDRS, ADDRESSES4 | ADDRESSES6), max_size=3).map(tuple)
FIXED_IPS = st.lists(st.builds(FixedIP, SUBNET_IDS, ADDRESSES4 | ADDRESSES6), max_size=3).map(tuple)

BINDINGS = st.lists(st.builds(
    Nat64Binding, st.sampled_from([IPv6Address(client) for client in (
        "2001:db8:9::1", "2001:db8:9::2", "2001:db8:f::100", "2001:db8:ffff::a0", "64:ff9b::1", "ff02::1")]),
    st.sampled_from([IPv4Address(address) for address in (
        "100.64.0.1", "100.64.0.9", "100.64.0.10", "192.0.2.9", "10.0.0.0")])), max_size=3).map(tuple)
GROUP_IDS = st.sampled_from(("g0", "g1", "g2"))
MODES = st.sampled_from((None, None, None, "slaac", "dhcpv6-stateful", "dhcpv6-stateless"))
RULES = st.lists(st.builds(
    SecurityGroupRule, st.sampled_from(("1", "2", "3")), st.sampled_from(("ingress", "egress")),
    st.sampled_from(("IPv4", "IPv6")), st.sampled_from((None, None, 1, 6, 17, 58, 47)),
    st.sampled_from((None, None, None, 0, 22, 128)), st.sampled_from((None, None, None, 0, 80)),
    _maybe(st.sampled_from([ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")])),
    st.none() | st.none() | GROUP_IDS, st.none() | st.none() | st.sampled_from(("ag", "noag"))),
    max_size=2).map(tuple)
PAIRS = st.lists(st.builds(AddressPair, CIDRS, _maybe(st.just(mac(9, 7)))), max_size=2).map(tuple)
RESOURCES = {
    "networks": st.builds(Network, NETWORK_IDS, external=st.booleans(), mtu=st.sampled_from((1280, 1500))),
    "subnets": st.builds(Subnet, SUBNET_IDS, NETWORK_IDS, CIDRS, gateway_ip=_maybe(ADDRESSES4 | ADDRESSES6),
                         host_routes=ROUTES, ipv6_ra_mode=MODES, ipv6_address_mode=MODES,
                         enable_dhcp=st.sampled_from((True, True, True, False)),
                         dns_nameservers=st.lists(ADDRESSES4 | ADDRESSES6, max_size=1).map(tuple)),
    "routers": st.builds(Router, ANY_ROUTER, nat64_pool=_maybe(st.sampled_from(
        (IPv4Network("10.0.0.0/24"), IPv4Network("192.0.2.0/24")))), routes=ROUTES,
                         nat64_bindings=BINDINGS),
    "address_groups": st.builds(AddressGroup, st.just("ag"), addresses=st.lists(
        CIDRS, max_size=2, unique=True).map(tuple)),
    "security_groups": st.builds(SecurityGroup, GROUP_IDS, stateful=st.booleans(), rules=RULES),
    "ports": st.builds(Port, ANY_PORT, NETWORK_IDS, st.sampled_from((mac(9, 1), mac(9, 2))),
                       device_owner=st.sampled_from(("", "", ROUTER_GATEWAY, ROUTER_INTERFACE)),
                       device_id=ANY_ROUTER, fixed_ips=FIXED_IPS, allowed_address_pairs=PAIRS,
                       port_security_enabled=st.booleans(), security_groups=st.sampled_from((
                           (), (), (), ("g0",), ("g1", "g2"), ("nogroup",))),
                       extra_dhcp_opts=st.sampled_from(((), (DhcpOption("bootfile-name", "x", 6),))),
                       dns_name=st.sampled_from(("", "vm"))),
    "floatingips": st.builds(FloatingIP, st.sampled_from(FIP_IDS), NETWORK_IDS, ADDRESSES6, _maybe(ANY_PORT),
                             _maybe(ADDRESSES4), _maybe(ANY_ROUTER)),
}
"""Any resource of a kind; its references may lead nowhere, its addresses may be anybody's."""

LINK_NAMES = st.sampled_from((*(f"tap-{vm}" for vm in VM_IDS), "tap-x", "up0", "up1", "ovs-aaaa0001",
                              "ovs-dl", "ovs-dl-1", "ovs-dl-2", "ovs-dl-3"))
INTERFACES = st.builds(Interface, LINK_NAMES, st.sampled_from((None, -1, 7, 8)), _maybe(ANY_PORT),
                       _maybe(st.just("could not open network device")))
SETTINGS = st.builds(Settings, capabilities=st.sampled_from(tuple(CAPABILITIES.values())),
                     answer_arp=st.booleans(),
                     vlan_range=st.sampled_from(((1, 4094), (1, 2), (1, 3), (3, 2))),
                     pool_slice=st.sampled_from(((1, 1), (1, 1), (2, 2), (3, 256))))


def _by_id(items: list) -> list:
    return list({item.id: item for item in items}.values())


any_topologies = st.builds(Topology.of, **{
    kind: st.lists(resource, max_size=12).map(_by_id) for kind, resource in RESOURCES.items()})
any_interfaces = st.lists(INTERFACES, max_size=10).map(lambda rows: {row.name: row for row in rows})
any_inputs = st.builds(Inputs, any_topologies, any_interfaces, SETTINGS)


# Edits: what happens to a host at run time. Mostly what an incremental plan can follow.

_NEAR_FIPS = st.builds(
    FloatingIP, st.sampled_from(FIP_IDS), st.sampled_from(("ext", "ext", "ext2")),
    st.sampled_from([IPv6Address(f"2001:db8:{net}::{low:x}")
                     for net in "ffe" for low in range(0x100, 0x105)]),
    st.sampled_from((*VM_IDS, *VM_IDS, "later")), st.none() | st.just(IPv4Address("10.0.0.10")),
    st.none() | st.sampled_from(ROUTER_IDS))
_VM_PORTS = st.builds(
    lambda vm, router, macs, low: Port(vm, f"{router}-net", macs,
                                       fixed_ips=(fixed(f"{router}-v4", f"10.0.0.{low}"),)),
    st.sampled_from((*VM_IDS, "later")), st.sampled_from(ROUTER_IDS),
    st.sampled_from((mac(9, 1), mac(9, 2))), st.integers(10, 14))
_VM_INTERFACES = st.builds(
    Interface, st.sampled_from([f"tap-{vm}" for vm in VM_IDS] + ["tap-later"]),
    st.sampled_from((7, 8, 9, None)),
    st.sampled_from((*VM_IDS, "later", None)), st.none() | st.just("no such device"))

NUMBERS = st.builds(
    lambda vlans, tables: Allocations({"vlans": vlans, "tables": tables}),
    st.dictionaries(st.sampled_from(ROUTER_IDS), st.integers(0, 4)),
    st.dictionaries(st.sampled_from(UPLINK_IDS), st.integers(999, 1002)))
"""Numbers in force, some out of range, some that two have."""

edits = st.one_of(
    st.tuples(st.just("floatingips"), _NEAR_FIPS | RESOURCES["floatingips"] | st.sampled_from(FIP_IDS)),
    st.tuples(st.just("floatingips"), _NEAR_FIPS | st.sampled_from(FIP_IDS)),
    st.tuples(st.just("ports"), _VM_PORTS | st.sampled_from(VM_IDS)),
    st.tuples(st.just("interfaces"), _VM_INTERFACES | INTERFACES | LINK_NAMES),
    st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), RESOURCES[kind])),
    st.tuples(st.just("networks"), NETWORK_IDS),
    st.tuples(st.just("subnets"), SUBNET_IDS),
    st.tuples(st.just("routers"), ANY_ROUTER),
    st.tuples(st.just("security_groups"), GROUP_IDS),
    st.tuples(st.just("address_groups"), st.just("ag")),
    st.tuples(st.just("ports"), ANY_PORT),
    st.tuples(st.just("settings"), SETTINGS),
    st.tuples(st.just("numbers"), NUMBERS),
    st.tuples(st.just("opened"), st.integers(100, 102)),
    st.tuples(st.just("nothing"), st.none()))
"""(what, new resource or id of the one to remove). "numbers": those in force. "opened": OVS opens the
veths of the plan in force."""


def edited(inputs: Inputs, in_force: Desired, *several: tuple) -> Inputs:
    """Return new inputs with the edits made, sound or not. What is not edited stays the same objects."""
    interfaces, kinds = inputs.interfaces, {kind: getattr(inputs.topology, kind) for kind in KINDS}
    settings, allocations = inputs.settings, inputs.allocations
    for what, item in several:
        if what == "interfaces":
            interfaces = _put(interfaces, item, "name")
        elif what == "opened":
            interfaces = {**interfaces, **own_interfaces(in_force, item)}
        elif what == "settings":
            settings = item
        elif what == "numbers":
            allocations = item
        elif what in kinds:
            kinds[what] = _put(kinds[what], item, "id")
    return Inputs(Topology(**kinds), interfaces, settings, allocations)


def _put(items, item, key: str):
    if isinstance(item, str):
        return MappingProxyType({name: other for name, other in items.items() if name != item})
    return MappingProxyType({**items, getattr(item, key): item})
