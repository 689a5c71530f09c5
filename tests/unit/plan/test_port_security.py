# SPDX-License-Identifier: Apache-2.0
"""Which ports are secured and guarded, and what all served ports share."""

import dataclasses
from ipaddress import IPv6Address, IPv6Network, ip_network

import pytest

from fip64agent.plan.inputs import Inputs, Interface, PortServices, Settings
from fip64agent.plan.planner import plan, replan
from fip64agent.plan.ports.objects import AllServedPorts, ServedNetwork, ServedPort
from fip64agent.switch.connection import codec
from fip64agent.topology.model import AddressPair, FixedIP, Network, Port, Subnet, Topology
from tests.fakes.flows import flows_of
from tests.fakes.topologies import mac, two_tenant_site

PREFIXES = ("2001:db8:1:0:aaaa::/80", "2001:db8:1:0:bbbb::/80")


def port(number, secured=True, pairs=(), network="net"):
    return Port(f"vm-{number}", network, mac(1, number), "compute:nova",
                fixed_ips=(FixedIP("subnet", IPv6Address(f"2001:db8:1::{number:x}")),),
                port_security_enabled=secured,
                allowed_address_pairs=tuple(AddressPair(ip_network(prefix)) for prefix in pairs))


def inputs(*ports, trunk=False, **services):
    topology = Topology(
        networks={"net": Network("net"), "net-2": Network("net-2")},
        subnets={"subnet": Subnet("subnet", "net", IPv6Network("2001:db8:1::/64"))},
        ports={each.id: each for each in ports})
    interfaces = {f"tap-{number}": Interface(f"tap-{number}", number, each.id, trunk=trunk)
                  for number, each in enumerate(ports, 1)}
    return Inputs(topology, interfaces, Settings(ports=PortServices(**services)))


def planned(*ports, **options):
    return plan(inputs(*ports, **options)).of(ServedPort.kind)


def test_a_port_is_secured_unless_neutron_or_the_operator_says_otherwise():
    found = planned(port(1), port(2, secured=False))
    assert (found["vm-1"].secured, found["vm-2"].secured) == (True, False)
    assert not any(each.secured for each in planned(port(1), port(2), port_security=False).values())


@pytest.mark.parametrize("guard", ["ra_guard", "dhcpv6_guard"])
@pytest.mark.parametrize(("value", "guarded"), [("all", (True, True)), ("secured", (True, False)),
                                                ("none", (False, False))])
def test_whom_a_guard_is_for(guard, value, guarded):
    found = planned(port(1), port(2, secured=False), port_security=False, **{guard: value})
    assert (getattr(found["vm-1"], guard), getattr(found["vm-2"], guard)) == guarded
    other = {"ra_guard": "dhcpv6_guard", "dhcpv6_guard": "ra_guard"}[guard]
    assert all(getattr(each, other) for each in found.values())


@pytest.mark.parametrize("trunk", [True, False])
def test_a_trunk_is_known(trunk):
    assert planned(port(1), trunk=trunk)["vm-1"].trunk is trunk


def test_what_all_ports_share_is_there_as_long_as_there_is_one():
    before = inputs(port(1), port(2, network="net-2"))
    first = plan(before)
    assert first.of(AllServedPorts.kind) == {"": AllServedPorts()}
    fewer = dataclasses.replace(before, interfaces={"tap-2": before.interfaces["tap-2"]})
    second = replan(first, before, fewer)
    assert second.of(AllServedPorts.kind) and set(second.of(ServedPort.kind)) == {"vm-2"}
    none = dataclasses.replace(before, interfaces={})
    assert not replan(second, fewer, none).of(AllServedPorts.kind)


def test_allowed_prefixes_of_a_networks_ports_are_shared_and_single_addresses_are_not():
    found = plan(inputs(port(1, pairs=[PREFIXES[1], "2001:db8:1::66/128"]), port(2, pairs=PREFIXES), port(3)))
    assert found.of(ServedNetwork.kind)["net"].shared == tuple(map(IPv6Network, PREFIXES))


def test_what_the_bridge_does_by_default_is_an_uplinks_business_if_there_is_one():
    site = two_tenant_site()
    before = dataclasses.replace(site.inputs, topology=dataclasses.replace(
        site.inputs.topology, ports={**site.inputs.topology.ports, "vm-1": port(1)}),
        interfaces={**site.inputs.interfaces, "tap-new": Interface("tap-new", 99, "vm-1")})
    first = plan(before)
    assert first.host is not None and first.of(AllServedPorts.kind)[""] == AllServedPorts(alone=False)
    uplinks = {uplink.interface for uplink in first.uplinks.values()}
    after = dataclasses.replace(before, interfaces={
        name: row for name, row in before.interfaces.items() if name not in uplinks})
    second = replan(first, before, after)
    assert second.host is None and second.of(AllServedPorts.kind)[""].alone
    defaults = [[obj.key for obj in desired.objects() for flow in flows_of(obj) if flow.feature == "default"]
                for desired in (first, second)]
    assert defaults == [[("host",)], [("all-ports",)]]


def test_no_two_objects_have_a_flow_with_the_same_match():
    """They would take turns in installing theirs: not even equal ones, as one goes with the first object."""
    pairs = [*PREFIXES, "2001:db8:1::66/128", "fe80::66/128", "fe80::/64", "2001:db8:1::1/128"]
    desired = plan(inputs(port(1, pairs=pairs), port(2, pairs=pairs), port(3, secured=False),
                          port(4, network="net-2")))
    owners = {}
    for obj in desired.objects():
        for flow in flows_of(obj):
            owners.setdefault(codec.encode(flow).key, []).append(obj.key)
    assert len(owners) > 100 and {key: keys for key, keys in owners.items() if len(keys) > 1} == {}
