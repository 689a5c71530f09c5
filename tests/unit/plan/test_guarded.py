# SPDX-License-Identifier: Apache-2.0
"""Who speaks for which addresses: what VM ports are kept from sending as."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network

from fip64agent.plan.planner import plan, replan
from fip64agent.topology.model import ROUTER_INTERFACE, FloatingIP, Port
from tests.fakes.topologies import add_tenant, add_vm, edge_site, fixed, mac, subnet, two_tenant_site


def test_what_the_uplinks_serve_and_their_next_hops():
    site = two_tenant_site()
    uplink = plan(site.inputs).uplinks["uplink"]
    host = plan(site.inputs).host
    assert set(host.guarded) == {*uplink.onlink, *uplink.routed}
    assert host.guarded_macs == (mac(1),) == (uplink.mac,)


def test_a_link_local_next_hop():
    site = two_tenant_site().change("subnets", "uplink-v6", gateway_ip=IPv6Address("fe80::1"))
    assert IPv6Network("fe80::1/128") in plan(site.inputs).host.guarded


def two_addresses():
    """A port with addresses in two subnets, each with a gateway and a floating IP of its own."""
    site = add_vm(add_tenant(edge_site(), "red"), "vm-red", "red", "10.0.0.5", "2001:db8:f::10")
    site.add(subnet("red-v4b", "red-net", "10.1.0.0/24"))
    site.change("ports", "red-if", fixed_ips=(fixed("red-v4", "10.0.0.1"), fixed("red-v4b", "10.1.0.1")))
    site.change("ports", "vm-red", fixed_ips=(fixed("red-v4", "10.0.0.5"), fixed("red-v4b", "10.1.0.5")))
    site.change("floatingips", "fip-vm-red", fixed_ip_address=IPv4Address("10.0.0.5"))
    return site.add(FloatingIP("a-fip", "ext", IPv6Address("2001:db8:f::9"), "vm-red",
                               IPv4Address("10.1.0.5")))


def isolating(desired):
    return [key for key, gateway in desired.gateways.items() if gateway.isolates]


def test_a_vm_port_is_isolated_once_whatever_goes_first():
    site = two_addresses()
    before = site.inputs
    desired = plan(before)
    assert len(desired.gateways) == 2 and len(isolating(desired)) == 1
    for fip_id in ("a-fip", "fip-vm-red"):
        site = two_addresses()
        del site.floatingips[fip_id]
        found = replan(desired, before, site.inputs)
        assert found == plan(site.inputs)
        assert len(found.gateways) == len(isolating(found)) == 1


def test_a_vm_on_a_network_that_an_uplink_serves_may_use_its_addresses():
    site = two_tenant_site()
    assert len(isolating(plan(site.inputs))) == 2
    site.add(subnet("ext-v4", "ext", "10.8.0.0/24"), Port(
        "red-ext", "ext", mac(9), device_owner=ROUTER_INTERFACE, device_id="red",
        fixed_ips=(fixed("ext-v4", "10.8.0.1"),)))
    site.change("ports", "vm-red", network_id="ext", fixed_ips=(fixed("ext-v4", "10.8.0.5"),))
    desired = plan(site.inputs)
    assert desired.mappings.keys() == {"fip-vm-red", "fip-vm-blue"}
    assert [key[1] for key in isolating(desired)] == ["vm-blue"]


def test_a_network_with_ipv6_of_an_uplinks_prefix_may_use_it():
    site = two_tenant_site()
    site.add(subnet("red-v6", "red-net", "2001:db8:f:0:1::/80"))
    assert [key[1] for key in isolating(plan(site.inputs))] == ["vm-blue"]


def test_everything_is_nobodys():
    """It would take all IPv6 from the VMs."""
    site = two_tenant_site().change("ports", "edge-ext", fixed_ips=())
    site.change("subnets", "ext-v6", cidr=IPv6Network("::/0"))
    assert IPv6Network("::/0") in plan(site.inputs).uplinks["uplink"].routed
    assert all(prefix.prefixlen for prefix in plan(site.inputs).host.guarded)
