# SPDX-License-Identifier: Apache-2.0
"""Every attribute a topology document may have, and what it becomes in the model.

The schema, the objects of the model and the reference come from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NotRequired

from pydantic import ConfigDict
from typing_extensions import TypedDict

from fip64agent.topology import model, values
from fip64agent.topology.values import Kind


@dataclasses.dataclass(frozen=True, slots=True)
class Attribute:
    name: str
    kind: Kind
    meaning: str
    required: bool = False
    default: str = "none"
    """What leaving it out, or null, means: words for the reference. The value is the model's default."""
    field: str | None = ""
    """The field of the model that it becomes; "": the one with its name, None: none."""
    other_name: str = ""
    """What it may be called, too."""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, self.other_name) if self.other_name else (self.name,)


@dataclasses.dataclass(frozen=True, slots=True)
class Resource:
    """A resource, or a mapping inside of one."""

    name: str
    meaning: str
    model: type
    """Class of the model's object."""
    attributes: tuple[Attribute, ...]
    ignored: dict[str, Kind] = dataclasses.field(default_factory=dict)
    """Neutron's attributes that are accepted, checked for their type and not used."""

    def annotation(self) -> Any:
        """Return the TypedDict that pydantic checks an item against."""
        fields: dict[str, Any] = {
            name: attribute.kind.annotation if attribute.required
            else NotRequired[attribute.kind.annotation | None]
            for attribute in self.attributes for name in attribute.names}
        fields.update((name, NotRequired[kind.annotation | None]) for name, kind in self.ignored.items())
        typed = TypedDict(self.name, fields)  # type: ignore[operator]
        typed.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
        return typed

    def build(self, item: Mapping[str, Any]) -> Any:
        """Return the model's object for a mapping that was checked against annotation()."""
        values = {}
        for attribute in self.attributes:
            value, make = item.get(attribute.name), attribute.kind.build
            if value is None and attribute.other_name:
                value = item.get(attribute.other_name)
            if value is not None and attribute.field is not None:
                values[attribute.field or attribute.name] = value if make is None else make(value)
        return self.model(**values)

    def inner(self, name: str) -> Resource:
        """Return what the items of an attribute are, which has a list of mappings."""
        return next(attribute.kind.inner for attribute in self.attributes if name in attribute.names)


def list_of(resource: Resource) -> Kind:
    """Return the kind of a list of mappings, each of them such a resource."""
    return Kind(f"list of {resource.name}", list[resource.annotation()],
                lambda items: tuple(map(resource.build, items)), resource)


def _list_of_values(kind: Kind, label: str) -> Kind:
    """Return the kind of a list of single values, of which each counts once."""
    return Kind(f"list of {label}", list[kind.annotation], lambda items: tuple(dict.fromkeys(items)))


def _all(kind: Kind, *names: str) -> dict[str, Kind]:
    return dict.fromkeys(names, kind)


_IGNORED_EVERYWHERE = {
    **_all(values.TEXT, "created_at", "description", "project_id", "status", "tenant_id", "updated_at"),
    **_all(values.BOOLEAN, "admin_state_up"),
    **_all(values.INTEGER, "revision_number"),
    **_all(values.STRINGS, "tags"),
    **_all(values.ANYTHING, "location"),
}

ROUTE = Resource("Route", "A route.", model.Route, (
    Attribute("destination", values.CIDR, "Where it leads to.", required=True),
    Attribute("nexthop", values.ADDRESS, "The next hop, of the same IP version.", required=True),
))

NAT64_BINDING = Resource("Nat64Binding", "A client whose NAT64 pool address never changes: so a VM can call "
                         "it. On the hosts whose slice of the pool ([fip64] nat64_pool_slice) has that "
                         "address.", model.Nat64Binding, (
    Attribute("ipv6_address", values.CLIENT, "The client; only one binding of a router may have it.",
              required=True),
    Attribute("pool_address", values.IPV4, "An address of the NAT64 pool, but its first and last one; only "
              "one binding of a router may have it.", required=True),
))

FIXED_IP = Resource("FixedIP", "An address of a port.", model.FixedIP, (
    Attribute("subnet_id", values.ID, "A subnet of the port's network.", required=True),
    Attribute("ip_address", values.ADDRESS, "An address in that subnet; only one port may have it.",
              required=True),
))

ADDRESS_PAIR = Resource("AddressPair", "Addresses that a port may use beside its own, and with which MAC "
                        "address.", model.AddressPair, (
    Attribute("ip_address", values.ADDRESS_OR_PREFIX, "The address, or all addresses of a prefix.",
              required=True),
    Attribute("mac_address", values.MAC, "The MAC address.", default="the port's"),
))

DHCP_OPTION = Resource("DhcpOption", "An option that the VM of a port gets by DHCP.", model.DhcpOption, (
    Attribute("opt_name", values.TEXT, "Its name, as dnsmasq calls it.", required=True),
    Attribute("opt_value", values.TEXT, "Its value.", required=True),
    Attribute("ip_version", values.IP_VERSION, "4: by DHCP, 6: by DHCPv6.", default="4"),
))

SECURITY_GROUP_RULE = Resource("SecurityGroupRule", "Traffic that a security group lets through. At most one "
                               "of the three remote attributes may be given; without any, a rule is for all "
                               "addresses.", model.SecurityGroupRule, (
    Attribute("id", values.ID, "Identifies the rule within its group.", required=True),
    Attribute("direction", values.DIRECTION, "ingress: to the VM; egress: from it.", required=True),
    Attribute("ethertype", values.ETHERTYPE, "The IP version.", default="IPv4"),
    Attribute("protocol", values.PROTOCOL, "An IP protocol: its number, any, or "
              f"{', '.join(values.PROTOCOLS)}. icmp in a rule for IPv6 is ICMPv6.", default="any"),
    Attribute("port_range_min", values.PORT_NUMBER, "The first destination port; of ICMP and ICMPv6 the "
              "type, 0 to 255.", default="any"),
    Attribute("port_range_max", values.PORT_NUMBER, "The last destination port; of ICMP and ICMPv6 the "
              "code, 0 to 255.", default="any"),
    Attribute("remote_ip_prefix", values.REMOTE_PREFIX, "Addresses of the other side, of the ethertype's IP "
              "version.", default="any"),
    Attribute("remote_group_id", values.ID, "A security group: the addresses of its ports.", default="any"),
    Attribute("remote_address_group_id", values.ID, "An address group: its addresses.", default="any"),
), _IGNORED_EVERYWHERE | _all(values.BOOLEAN, "belongs_to_default_sg")
    | _all(values.INTEGER, "standard_attr_id") | _all(values.TEXT, "normalized_cidr", "security_group_id"))

NETWORK = Resource("Network", "A layer 2 network.", model.Network, (
    Attribute("id", values.ID, "Identifies the network.", required=True),
    Attribute("name", values.TEXT, "Name for people.", default="empty"),
    Attribute("router:external", values.BOOLEAN, "Floating IPs may come from this network.",
              default="false", field="external"),
    Attribute("mtu", values.MTU, f"MTU in bytes, {values.MIN_MTU} to {values.MAX_MTU}.", default="1500"),
    Attribute("dns_domain", values.DNS_NAME, "DNS domain of its hosts. One with keywords of Neutron "
              "(<project_id>, <user_name>) counts as none."),
), _IGNORED_EVERYWHERE | _all(values.BOOLEAN, "is_default", "is_vlan_transparent", "port_security_enabled",
                              "pvlan", "qinq", "shared", "vlan_transparent", "vlan_qinq", "is_vlan_qinq")
    | _all(values.TEXT, "ipv4_address_scope", "ipv6_address_scope", "provider:network_type",
           "provider:physical_network", "qos_policy_id")
    | _all(values.INTEGER, "provider:segmentation_id")
    | _all(values.STRINGS, "availability_zone_hints", "availability_zones", "subnets")
    | _all(values.ANYTHING, "segments"))

SUBNET = Resource("Subnet", "A prefix on a network. Subnets of one network do not overlap, nor do those "
                            "that one router has ports on.", model.Subnet, (
    Attribute("id", values.ID, "Identifies the subnet.", required=True),
    Attribute("network_id", values.ID, "Its network.", required=True),
    Attribute("cidr", values.CIDR, "Its prefix, IPv4 or IPv6.", required=True),
    Attribute("name", values.TEXT, "Name for people.", default="empty"),
    Attribute("gateway_ip", values.ADDRESS, "Its gateway: an address in the prefix, or an IPv6 link-local "
                                            "one.", default="no gateway"),
    Attribute("host_routes", list_of(ROUTE), "More routes for its hosts.", default="none"),
    Attribute("ip_version", values.IP_VERSION, "Must agree with cidr.", default="that of cidr", field=None),
    Attribute("dns_nameservers", _list_of_values(values.ADDRESS, "IP addresses"),
              "DNS resolvers for its hosts, of the subnet's IP version."),
    Attribute("enable_dhcp", values.BOOLEAN, "Whether its hosts get addresses by DHCP or by an IPv6 mode; "
              "without it, there can be no IPv6 mode.", default="true"),
    Attribute("ipv6_ra_mode", values.IPV6_MODE, "What routers of the topology advertise: slaac, "
              "dhcpv6-stateful or dhcpv6-stateless. See the table above.", default="no advertisements"),
    Attribute("ipv6_address_mode", values.IPV6_MODE, "By what hosts get their IPv6 addresses: slaac, "
              "dhcpv6-stateful or dhcpv6-stateless. See the table above.", default="not known"),
), _IGNORED_EVERYWHERE | _all(values.BOOLEAN, "dns_publish_fixed_ip", "router:external")
    | _all(values.TEXT, "segment_id", "subnetpool_id") | _all(values.STRINGS, "service_types")
    | _all(values.ANYTHING, "allocation_pools", "prefix_length", "prefixlen", "use_default_subnet_pool",
           "use_default_subnetpool"))

ROUTER = Resource("Router", "A router, and with it a tenant: one IPv4 address space.", model.Router, (
    Attribute("id", values.ID, "Identifies the router.", required=True),
    Attribute("name", values.TEXT, "Name for people.", default="empty"),
    Attribute("nat64_pool", values.POOL, "IPv4 range, /30 or larger, that stands in for IPv6 clients in this "
              "tenant, one address for each. Must not overlap the IPv4 subnets the router has interfaces on. "
              "Not one of Neutron's attributes.", default="[fip64] nat64_pool"),
    Attribute("routes", list_of(ROUTE), "Extra routes.", default="none"),
    Attribute("nat64_bindings", list_of(NAT64_BINDING), "Clients with a NAT64 pool address of their own. "
              "Not one of Neutron's attributes.", default="none"),
), _IGNORED_EVERYWHERE | _all(values.BOOLEAN, "distributed", "enable_default_route_bfd",
                              "enable_default_route_ecmp", "enable_ndp_proxy", "enable_snat", "ha")
    | _all(values.INTEGER, "evpn_vni") | _all(values.TEXT, "flavor_id")
    | _all(values.STRINGS, "availability_zone_hints", "availability_zones")
    | _all(values.ANYTHING, "external_gateway_info", "external_gateways", "interfaces_info"))

ADDRESS_GROUP = Resource("AddressGroup", "Addresses that rules of security groups refer to.",
                         model.AddressGroup, (
    Attribute("id", values.ID, "Identifies the address group.", required=True),
    Attribute("name", values.TEXT, "Name for people.", default="empty"),
    Attribute("addresses", _list_of_values(values.REMOTE_PREFIX, "IP addresses and prefixes"),
              "The addresses, IPv4 and IPv6."),
), _IGNORED_EVERYWHERE | _all(values.BOOLEAN, "is_shared", "shared"))

SECURITY_GROUP = Resource("SecurityGroup", "What ports that have this group let through; what no rule of a "
                          "port's groups lets through is dropped.", model.SecurityGroup, (
    Attribute("id", values.ID, "Identifies the security group.", required=True),
    Attribute("name", values.TEXT, "Name for people.", default="empty"),
    Attribute("stateful", values.BOOLEAN, "Whether answers to what a rule lets through need no rule.",
              default="true"),
    Attribute("rules", list_of(SECURITY_GROUP_RULE), "Its rules. May be called security_group_rules, too.",
              other_name="security_group_rules"),
), _IGNORED_EVERYWHERE | _all(values.BOOLEAN, "is_shared", "shared")
    | _all(values.INTEGER, "standard_attr_id"))

PORT = Resource("Port", "A port on a network: a VM's, or a router's when device_owner is "
                        "network:router_interface (tenant side) or network:router_gateway "
                        "(external side). A router port with an IPv6 address that is bound on a host is "
                        "an uplink there.", model.Port, (
    Attribute("id", values.ID, "Identifies the port; OVS Interfaces carry it in external_ids:iface-id.",
              required=True),
    Attribute("network_id", values.ID, "Its network.", required=True),
    Attribute("mac_address", values.MAC, "Its MAC address, unique in its network.", required=True),
    Attribute("name", values.TEXT, "Name for people.", default="empty"),
    Attribute("device_owner", values.TEXT, "What the port belongs to.", default="empty"),
    Attribute("device_id", values.TEXT, "Whose port it is; of a router port, the router's id.",
              default="empty"),
    Attribute("fixed_ips", list_of(FIXED_IP), "Its addresses.", default="none"),
    Attribute("allowed_address_pairs", list_of(ADDRESS_PAIR), "Addresses that it may use beside its own."),
    Attribute("port_security_enabled", values.BOOLEAN, "Whether it is held to its own addresses, and its "
              "security groups apply.", default="true"),
    Attribute("security_groups", _list_of_values(values.ID, "ids"), "Ids of its security groups. While there "
              "is no security group at all, they have no effect. May be called security_group_ids, too.",
              other_name="security_group_ids"),
    Attribute("extra_dhcp_opts", list_of(DHCP_OPTION), "DHCP options for it."),
    Attribute("dns_name", values.DNS_NAME, "Its name in the DNS."),
), _IGNORED_EVERYWHERE
    | _all(values.BOOLEAN, "propagate_uplink_status", "trusted", "uplink_status_propagation")
    | _all(values.TEXT, "binding:host_id", "binding:vif_type", "binding:vnic_type", "binding_host_id",
           "binding_vif_type", "binding_vnic_type", "data_plane_status", "device_profile", "dns_domain",
           "hardware_offload_type", "ip_allocation", "numa_affinity_policy",
           "qos_network_policy_id", "qos_policy_id")
    | _all(values.ANYTHING, "binding:profile", "binding:vif_details", "binding_profile",
           "binding_vif_details", "dns_assignment", "hints", "pvlan_community", "pvlan_type",
           "resource_request", "trunk_details"))

FLOATINGIP = Resource("FloatingIP", "A floating IPv6 address, and the IPv4 address of a VM port "
                                    "that it leads to.", model.FloatingIP, (
    Attribute("id", values.ID, "Identifies the floating IP.", required=True),
    Attribute("floating_network_id", values.ID, "The external network it comes from.", required=True),
    Attribute("floating_ip_address", values.FLOATING, "The address: in an IPv6 subnet of that network, "
              "used only once.", required=True),
    Attribute("port_id", values.ID, "The VM's port.", default="not associated"),
    Attribute("fixed_ip_address", values.IPV4, "An IPv4 address of the port.",
              default="the port's only IPv4 address"),
    Attribute("router_id", values.ID, "The tenant: a router with an interface on the fixed address's subnet.",
              default="the only such router"),
), _IGNORED_EVERYWHERE
    | _all(values.TEXT, "dns_domain", "dns_name", "name", "qos_network_policy_id", "qos_policy_id",
           "subnet_id")
    | _all(values.ANYTHING, "port_details", "port_forwardings"))

SECTIONS: dict[str, Resource] = {
    "networks": NETWORK, "subnets": SUBNET, "routers": ROUTER, "address_groups": ADDRESS_GROUP,
    "security_groups": SECURITY_GROUP, "ports": PORT, "floatingips": FLOATINGIP}
"""In the order of model.KINDS."""
OTHER_NAMES = {(section, attribute.name): attribute.other_name for section, resource in SECTIONS.items()
               for attribute in resource.attributes if attribute.other_name}
"""(section, attribute) -> what the attribute may be called, too."""
