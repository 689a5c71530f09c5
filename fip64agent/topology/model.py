# SPDX-License-Identifier: Apache-2.0
"""What the topology source says: Neutron's resources, under Neutron's attribute names.

All objects are frozen; addresses are `ipaddress` objects; MACs are lower-case
``aa:bb:cc:dd:ee:ff``. A `Topology` is a consistent whole: its references resolve. What was left out
of it, and what is in it in an older form, is in its faults.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Any, NamedTuple

from fip64agent.topology.words import Path, path_text

ROUTER_INTERFACE = "network:router_interface"
ROUTER_GATEWAY = "network:router_gateway"
ROUTER_OWNERS = frozenset({ROUTER_INTERFACE, ROUTER_GATEWAY})
FLOATING_IP_OWNER = "network:floatingip"
"""device_owner of the port that Neutron makes for each floating IP, with the floating address."""
SLAAC = "slaac"
DHCPV6_STATEFUL = "dhcpv6-stateful"
DHCPV6_STATELESS = "dhcpv6-stateless"
IPV6_MODES = (SLAAC, DHCPV6_STATEFUL, DHCPV6_STATELESS)
INGRESS = "ingress"
EGRESS = "egress"
DIRECTIONS = (INGRESS, EGRESS)
IPV4 = "IPv4"
IPV6 = "IPv6"
ETHERTYPES = (IPV4, IPV6)


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    id: str
    name: str = ""
    external: bool = False
    """Neutron's ``router:external``: floating IPs come from here."""
    mtu: int = 1500
    dns_domain: str = ""
    """In lower case, without a dot at its end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    destination: IPv4Network | IPv6Network
    nexthop: IPv4Address | IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Subnet:
    id: str
    network_id: str
    cidr: IPv4Network | IPv6Network
    name: str = ""
    gateway_ip: IPv4Address | IPv6Address | None = None
    host_routes: tuple[Route, ...] = ()
    dns_nameservers: tuple[IPv4Address | IPv6Address, ...] = ()
    enable_dhcp: bool = True
    ipv6_ra_mode: str | None = None
    """One of IPV6_MODES: what our router advertises; None: another router may advertise, ours does not."""
    ipv6_address_mode: str | None = None
    """One of IPV6_MODES: by what hosts get their addresses; None: nobody knows."""

    @property
    def ip_version(self) -> int:
        return self.cidr.version


@dataclasses.dataclass(frozen=True, slots=True)
class Nat64Binding:
    """An IPv6 client that always has the same address of the NAT64 pool, so that VMs can call it."""

    ipv6_address: IPv6Address
    pool_address: IPv4Address


@dataclasses.dataclass(frozen=True, slots=True)
class Router:
    id: str
    name: str = ""
    nat64_pool: IPv4Network | None = None
    """IPv4 range that stands in for IPv6 clients in this tenant; None takes [fip64] nat64_pool."""
    routes: tuple[Route, ...] = ()
    """Neutron's extra routes."""
    nat64_bindings: tuple[Nat64Binding, ...] = ()
    """Not one of Neutron's attributes."""


@dataclasses.dataclass(frozen=True, slots=True)
class FixedIP:
    subnet_id: str
    ip_address: IPv4Address | IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class AddressPair:
    """What a port may use as if it were its own (Neutron's allowed address pair)."""

    ip_address: IPv4Network | IPv6Network
    """A single address is a prefix of 32 or 128 bits."""
    mac_address: str | None = None
    """None: the port's. A port in force has none without."""


@dataclasses.dataclass(frozen=True, slots=True)
class DhcpOption:
    opt_name: str
    opt_value: str
    ip_version: int = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Port:
    id: str
    network_id: str
    mac_address: str
    name: str = ""
    device_owner: str = ""
    device_id: str = ""
    """For a router port: the router's id."""
    fixed_ips: tuple[FixedIP, ...] = ()
    allowed_address_pairs: tuple[AddressPair, ...] = ()
    port_security_enabled: bool = True
    security_groups: tuple[str, ...] = ()
    """Their ids. They are in force too, unless the source has no security group at all: then this has no
    effect."""
    extra_dhcp_opts: tuple[DhcpOption, ...] = ()
    dns_name: str = ""
    """In lower case, without a dot at its end."""

    @property
    def is_router_port(self) -> bool:
        return self.device_owner in ROUTER_OWNERS

    @property
    def has_ipv6(self) -> bool:
        return any(fixed.ip_address.version == 6 for fixed in self.fixed_ips)


@dataclasses.dataclass(frozen=True, slots=True)
class FloatingIP:
    id: str
    floating_network_id: str
    floating_ip_address: IPv6Address
    port_id: str | None = None
    """The VM port; None while the floating IP is not associated."""
    fixed_ip_address: IPv4Address | None = None
    """None with a port: the port's only IPv4 address."""
    router_id: str | None = None
    """The tenant; None with a port: the only router with an interface on the fixed IP's subnet."""


@dataclasses.dataclass(frozen=True, slots=True)
class AddressGroup:
    id: str
    name: str = ""
    addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    """A single address is a prefix of 32 or 128 bits."""


@dataclasses.dataclass(frozen=True, slots=True)
class SecurityGroupRule:
    """Traffic that a security group lets through."""

    id: str
    """Only one rule of a group has it."""
    direction: str
    """INGRESS: to the VM; EGRESS: from it."""
    ethertype: str = IPV4
    """IPV4 or IPV6."""
    protocol: int | None = None
    """IP protocol number; None: any. In a rule in force it is 58 for ICMPv6, whatever the source calls it."""
    port_range_min: int | None = None
    """First destination port; of ICMP and ICMPv6 the type. None: any."""
    port_range_max: int | None = None
    """Last destination port; of ICMP and ICMPv6 the code. None: any."""
    remote_ip_prefix: IPv4Network | IPv6Network | None = None
    """At most one of the three remote attributes is given: whom the traffic comes from or goes to."""
    remote_group_id: str | None = None
    """The ports that have this security group. The source has it, but it need not be in force."""
    remote_address_group_id: str | None = None

    @property
    def ip_version(self) -> int:
        return 6 if self.ethertype == IPV6 else 4


@dataclasses.dataclass(frozen=True, slots=True)
class SecurityGroup:
    id: str
    name: str = ""
    stateful: bool = True
    """Whether answers to what a rule lets through need no rule."""
    rules: tuple[SecurityGroupRule, ...] = ()


Resource = Network | Subnet | Router | AddressGroup | SecurityGroup | Port | FloatingIP
Key = tuple[str, str]
"""(kind, id)"""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a resource."""

    path: Path
    """Of the attribute; () for the resource as a whole."""
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """Why a resource, as the source has it, is not in force."""

    findings: tuple[Finding, ...] = ()
    """What is wrong with the resource itself; empty when only something that it needs is faulty."""
    needs: Key | None = None
    """The faulty resource that it needs."""
    last_good_in_force: bool = False
    """Whether the form that it had when it was right last is in the topology."""
    form: Resource | None = dataclasses.field(default=None, compare=False)
    """What the source says; None when that cannot be read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a resource of which the source has no valid form."""

    findings: tuple[Finding, ...]
    mentions: frozenset[str] = frozenset()
    """The ids that it has in it: of what it may belong to."""


class Difference(NamedTuple):
    """In what resources of a kind differ from those of an earlier topology."""

    before: Mapping[str, Resource]
    after: Mapping[str, Resource]
    keys: Collection[str]
    """Ids of all that are different, and maybe others."""


_NONE: Mapping = MappingProxyType({})


def _kind(noun: str) -> Any:
    """Return a field of Topology with the resources of one kind.

    noun: what one of them is called in a sentence.
    """
    return dataclasses.field(default_factory=lambda: _NONE, metadata={"noun": noun})


@dataclasses.dataclass(frozen=True, slots=True)
class Topology:
    """One consistent view of all resources, each kind by id.

    A kind is a field here, the class of its resources above, and its section in attributes.SECTIONS. What
    makes it depend on others is in rules.py (what is right), claims.py (what only one resource can have)
    and dependents.py (what has to be decided on anew).
    """

    networks: Mapping[str, Network] = _kind("network")
    subnets: Mapping[str, Subnet] = _kind("subnet")
    routers: Mapping[str, Router] = _kind("router")
    address_groups: Mapping[str, AddressGroup] = _kind("address group")
    security_groups: Mapping[str, SecurityGroup] = _kind("security group")
    ports: Mapping[str, Port] = _kind("port")
    floatingips: Mapping[str, FloatingIP] = _kind("floating IP")
    """A floating IP with a port has fixed_ip_address and router_id, given or as they follow."""
    faults: Mapping[Key, Fault] = dataclasses.field(default_factory=lambda: _NONE)
    """Of the resources that are not, or not in their newest form, in the topology."""
    differences: Mapping[str, Difference] = dataclasses.field(
        default_factory=lambda: _NONE, compare=False, repr=False)
    """By kind: what is known of how it differs from what it was before its last change, to spare comparing
    thousands of resources."""

    def get(self, kind: str, item_id: str) -> Resource | None:
        """Return a resource in force."""
        return getattr(self, kind).get(item_id)

    def known(self, kind: str, item_id: str) -> Resource | None:
        """Return a resource in force, or else as the source has it."""
        found = self.get(kind, item_id)
        fault = self.faults.get((kind, item_id)) if found is None else None
        return fault.form if fault is not None else found

    def at_fault(self, key: Key) -> Key:
        """Return the resource that a faulty one is faulty because of: itself, or one that it needs."""
        while (fault := self.faults.get(key)) is not None and not fault.findings and fault.needs is not None:
            key = fault.needs
        return key

    def reason(self, key: Key) -> str:
        """Say why a resource is faulty, down to the one that is at fault itself; "" when it is not."""
        text = ""
        while (fault := self.faults.get(key)) is not None:
            if fault.findings:
                return text + "; ".join(f"{path_text(finding.path)}: {finding.reason}" if finding.path
                                        else finding.reason for finding in fault.findings)
            if fault.needs is None:
                break
            kind, item_id = key = fault.needs
            text += f"needs {NOUNS[kind]} {item_id}, which is faulty: "
        return text.removesuffix(": ")

    @classmethod
    def of(cls, **kinds: Iterable[Resource]) -> Topology:
        """Build one from plain iterables of resources, by kind."""
        return cls(**{kind: MappingProxyType({item.id: item for item in items})
                      for kind, items in kinds.items()})


NOUNS: Mapping[str, str] = {field.name: field.metadata["noun"] for field in dataclasses.fields(Topology)
                            if "noun" in field.metadata}
"""What one resource of a kind is called in a sentence."""
KINDS = tuple(NOUNS)
"""The kinds of resources, as sections of the topology file and fields of Topology are called. Each refers
to kinds before it only, but for what floating IPs and routers need of ports, and for the security groups
that the rules of others name."""
