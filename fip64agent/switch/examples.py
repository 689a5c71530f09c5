# SPDX-License-Identifier: Apache-2.0
"""Objects of the plan for the examples in the features' documentation.

Interface ``eth1`` is OpenFlow port 1, the veth to the translator is port 11, the Neighbor Discovery link is
port 14, the VM is port 21.
"""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from fip64agent.net.advertising import Advertising
from fip64agent.plan.desired import Gateway, Host, Mapping64, Tenant, Uplink
from fip64agent.plan.groups.objects import (
    Allowed,
    Arrival,
    Entry,
    FilteredNetwork,
    FilteredPort,
    Part,
    Product,
    RemoteAddress,
    RouterOnNetwork,
    RuleService,
    Service,
)
from fip64agent.plan.inputs import REDIRECT_EXTERNAL_NETWORKS
from fip64agent.plan.ports.objects import (
    AllServedPorts,
    ExternalRoute6,
    Holder,
    Hop,
    Route6,
    RouterInterface6,
    ServedAddress,
    ServedNetwork,
    ServedPort,
    ServedRouter,
)

HOST = Host(nd_netns="fip64-nd",
            guarded=(IPv6Network("2001:db8:f::/64"), IPv6Network("fe80::1/128")),
            guarded_macs=("fa:16:3e:00:00:01",))
UPLINK = Uplink(
    port_id="1b2c3d4e-0000-4000-8000-000000000001", router_id="edge", network_id="uplink-net",
    interface="eth1", ofport=1, veth="ovs-1b2c3d4e",
    veth_ofport=11, peer="vpp-1b2c3d4e", mac="fa:16:3e:00:00:01", mtu=1500,
    addresses=(IPv6Interface("2001:db8:100::1/64"),), routes=(), table=101,
    onlink=(IPv6Network("2001:db8:100::/64"),), routed=(IPv6Network("2001:db8:f::/64"),), redirect="all",
    nd_netns="fip64-nd", nd_veth="ovs-nd-1b2c3d4e", nd_veth_ofport=14, nd_peer="nd-1b2c3d4e")
TENANT = Tenant(
    router_id="tenant-a", vlan=7, own_interface=True, interface="ovs-dl-7", mac="fa:16:3e:00:07:01",
    pool=IPv4Network("100.64.0.0/16"), address6=IPv6Address("2001:db8:100::1"), maps=(), interface_ofport=12)
MAPPING = Mapping64(
    fip_id="5f000000-0000-4000-8000-000000000001", floating_ip=IPv6Address("2001:db8:100::a"),
    fixed_ip=IPv4Address("10.0.0.5"), router_id="tenant-a", port_id="vm-a", uplink_id=UPLINK.port_id,
    on_link=True, nd_netns="fip64-nd", nd_peer="nd-1b2c3d4e", uplink_ofport=1,
    uplink_mac="fa:16:3e:00:00:01", vlan=7, downlink_ofport=12, downlink_vlan=None,
    downlink_mac="fa:16:3e:00:07:01", pool=IPv4Network("100.64.0.0/16"), vm_ofport=21,
    vm_mac="fa:16:3e:00:00:05", gateway_mac="fa:16:3e:00:00:fe")
GATEWAY = Gateway("vm-a", IPv4Address("10.0.0.1"), "fa:16:3e:00:00:fe", 21, "fa:16:3e:00:00:05", answers=True,
                  isolates=True)

HOST_SHARED = dataclasses.replace(HOST, downlink="ovs-dl", downlink_ofport=13)
"""All tenants share one downlink."""
UPLINK_EXTERNAL = dataclasses.replace(UPLINK, redirect=REDIRECT_EXTERNAL_NETWORKS)
UPLINK_BOND = dataclasses.replace(UPLINK, members=(2, 1))
MAPPING_SHARED = dataclasses.replace(MAPPING, downlink_ofport=13, downlink_vlan=7, on_link=False)
MAPPING_ALONE = dataclasses.replace(MAPPING, redirect_ofport=11, nd_ofport=14)
"""On-link, where only external networks are redirected."""

ALL_PORTS = AllServedPorts()
MAPPING_FILTERED = dataclasses.replace(MAPPING, filtered_network=0x8001)

SERVED_NETWORK = ServedNetwork("net-a", 0x8001, (21, 22), (IPv6Network("2001:db8:1::/64"),), 1500)
SERVED_NETWORK_VLAN = dataclasses.replace(SERVED_NETWORK, vlan=7)
SERVED_PORT = ServedPort(
    "vm-a", "net-a", 0x8001, 21, "fa:16:3e:00:00:05", (IPv6Address("2001:db8:1::5"),), (), secured=True,
    filtered=True)
SERVED_PORT_UNSECURED = dataclasses.replace(SERVED_PORT, secured=False)
SERVED_PORT_ROUTER = dataclasses.replace(SERVED_PORT_UNSECURED, ra_guard=False, dhcpv6_guard=False)
"""The guards are not for it."""
SERVED_ADDRESS = ServedAddress("net-a", 0x8001, IPv6Address("2001:db8:1::5"),
                               (Holder(21, "fa:16:3e:00:00:05"),))
SERVED_ADDRESS_LINK_LOCAL = dataclasses.replace(SERVED_ADDRESS, address=IPv6Address("fe80::f816:3eff:fe00:5"))
ROUTER_INTERFACE = RouterInterface6(
    "router-a-net-a", "router-a", 3, "net-a", 0x8001, "fa:16:3e:00:00:fe", IPv6Address("fe80::1"),
    (IPv6Interface("2001:db8:1::1/64"),), 1500, Advertising("fa:16:3e:00:00:fe"), 600, nd_flags=False)
ROUTER_INTERFACE_USERSPACE = dataclasses.replace(ROUTER_INTERFACE, nd_flags=True)
SERVED_PORT_ROUTED = dataclasses.replace(SERVED_PORT, gateways=(ROUTER_INTERFACE,))
SERVED_ROUTER = ServedRouter("router-a", 3)
ROUTE = Route6("router-a", 3, IPv6Network("2001:db8:2::/64"), Hop(0x8002, "fa:16:3e:00:02:fe", 1400))
ROUTE_NOWHERE = dataclasses.replace(ROUTE, hop=None)

_PRODUCT = 0x5D1A7C03
FILTERED_NETWORK = FilteredNetwork("net-a", 0x8001, None, (RouterOnNetwork("fa:16:3e:00:00:fe", 3),), 50000)
FILTERED_PORT = FilteredPort("vm-a", 0x8001, 21, True, Allowed(), Allowed(everything=True), Allowed(),
                             Allowed(products=(Part(_PRODUCT, 1, 3),)),
                             (("fa:16:3e:00:00:05", IPv4Network("10.0.0.5/32")),))
STATELESS_PORT = FilteredPort("vm-b", 0x8001, 22, False, Allowed(), Allowed(), Allowed(), Allowed())
PRODUCT = Product("IPv6 services of web from prefix 2001:db8:c::/48", _PRODUCT, ingress=True)
REMOTE_ADDRESS = RemoteAddress(IPv6Network("2001:db8:c::/48"), (), (Part(_PRODUCT, 2, 3),))
RULE_SERVICE = RuleService(Service(6, 6, (8080, 0xFFFE)), (), (Part(_PRODUCT, 3, 3),))
ENTRY = Entry("tap-b", 3, 7, ())
ENTRY_TRUNK = Entry("eth2", 4, None, (7,))
ARRIVAL = Arrival(7, "fa:16:3e:00:00:05", 0x8001, 21)
EXTERNAL_ROUTE = ExternalRoute6("router-a", 3, UPLINK.port_id, (1,), 11, UPLINK.mac,
                                (IPv6Network("2001:db8:1::/64"),))
