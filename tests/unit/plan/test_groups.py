# SPDX-License-Identifier: Apache-2.0
"""What the flows of security groups let through is what the rules say, after any changes.

The flows are held against packets here as Open vSwitch does it (ovs-fields(7), "Conjunctive Match Fields"),
and the rules as Neutron says: anything that no rule of any of a port's groups allows is dropped.
"""

import dataclasses
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fip64agent.plan.desired import ERROR
from fip64agent.plan.groups.objects import (
    Arrival,
    Entry,
    FilteredNetwork,
    FilteredPort,
    Product,
    RemoteAddress,
    RuleService,
)
from fip64agent.plan.groups.products import FIRST_PRODUCT, LAST_PRODUCT, MOST_PARTS
from fip64agent.plan.inputs import Datapath, Inputs, Interface, PortServices, Settings
from fip64agent.plan.planner import plan, replan
from fip64agent.switch import stages
from fip64agent.switch.connection import codec
from fip64agent.switch.flows.flow import Resubmit
from fip64agent.topology.model import (
    EGRESS,
    INGRESS,
    AddressGroup,
    AddressPair,
    FixedIP,
    Nat64Binding,
    Network,
    Port,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Topology,
)
from tests.fakes.conjunctions import looked_up
from tests.fakes.flows import flows_of
from tests.fakes.topologies import sound_inputs, two_tenant_site

HERE = ("p0", "p1", "p2")
PORTS = (*HERE, "p3", "p4")
GROUPS = ("g0", "g1", "g2")
PROTOCOLS = {4: (1, 6, 17, 47), 6: (58, 6, 17, 47)}
ADDRESSES = {4: [ip_address(f"10.0.0.{number}") for number in range(8)],
             6: [ip_address(f"2001:db8::{number}") for number in range(8)]}
PREFIXES = {4: [ip_network(text) for text in ("0.0.0.0/0", "10.0.0.0/30", "10.0.0.2/32")],
            6: [ip_network(text) for text in ("::/0", "2001:db8::/126", "2001:db8::2/128")]}
kinds = (FilteredNetwork, FilteredPort, Product, RemoteAddress, RuleService, Arrival, Entry)


@st.composite
def rules(draw):
    found = []
    for number in range(draw(st.integers(0, 5))):
        version = draw(st.sampled_from((4, 6)))
        protocol = draw(st.sampled_from((None, *PROTOCOLS[version])))
        first = last = None
        if protocol in (6, 17) and draw(st.booleans()):
            first, last = sorted((draw(st.integers(1, 40)), draw(st.integers(1, 40))))
        elif protocol in (1, 58) and draw(st.booleans()):
            first, last = draw(st.integers(127, 129)), draw(st.sampled_from((None, 0, 1)))
        remote = draw(st.sampled_from((
            {}, {"remote_group_id": "g0"}, {"remote_group_id": "g1"}, {"remote_address_group_id": "a"},
            *({"remote_ip_prefix": prefix} for prefix in PREFIXES[version]))))
        direction = draw(st.sampled_from((INGRESS, EGRESS)))
        found.append(SecurityGroupRule(f"r{number}", direction, f"IPv{version}", protocol, first, last,
                                       **remote))
    return tuple(found)


def groups(name):
    return st.builds(SecurityGroup, st.just(name), stateful=st.booleans(), rules=rules())


@st.composite
def ports(draw, name):
    own = PORTS.index(name)
    fixed = [FixedIP(f"s{version}", ADDRESSES[version][own]) for version in (4, 6) if draw(st.integers(0, 3))]
    pairs = [AddressPair(ip_network(ADDRESSES[version][draw(st.integers(5, 6))]), None)
             for version in (4, 6) if draw(st.booleans())]
    return Port(name, "net", f"fa:16:3e:00:00:0{own}", device_owner="compute:nova", fixed_ips=tuple(fixed),
                allowed_address_pairs=tuple(pairs), port_security_enabled=bool(draw(st.integers(0, 5))),
                security_groups=tuple(draw(st.lists(st.sampled_from(GROUPS), unique=True))))


address_groups = st.builds(AddressGroup, st.just("a"), addresses=st.lists(
    st.sampled_from([prefix for both in PREFIXES.values() for prefix in both]), unique=True).map(tuple))
changes = st.one_of(*(groups(name).map(lambda each: ("security_groups", each)) for name in GROUPS),
                    *(ports(name).map(lambda each: ("ports", each)) for name in PORTS),
                    address_groups.map(lambda each: ("address_groups", each)),
                    st.sampled_from(PORTS).map(lambda name: ("ports", name)),
                    st.sampled_from(GROUPS).map(lambda name: ("security_groups", name)),
                    st.sampled_from(HERE).map(lambda name: ("interfaces", f"tap-{name}")),
                    st.sampled_from(HERE).flatmap(lambda name: st.just(("interfaces", interface(name)))))


def interface(name, **values):
    return Interface(f"tap-{name}", PORTS.index(name) + 1, name, **values)


def inputs_of(security_groups=(), some_ports=(), some_address_groups=(), interfaces=()):
    return Inputs(
        Topology.of(networks=[Network("net")],
                    subnets=[Subnet("s4", "net", ip_network("10.0.0.0/24")),
                             Subnet("s6", "net", ip_network("2001:db8::/64"))],
                    security_groups=security_groups, ports=some_ports, address_groups=some_address_groups),
        {each.name: each for each in interfaces}, Settings())


@st.composite
def sites(draw):
    return inputs_of([draw(groups(name)) for name in GROUPS], [draw(ports(name)) for name in PORTS],
                     [draw(address_groups)],
                     [*map(interface, HERE), Interface("eth1", 9), Interface("tap-x", 8, tag=7)])


def changed(inputs, kind, what):
    """Return the inputs with a resource, or an interface, put in or, given its id, taken out."""
    holder = inputs if kind == "interfaces" else inputs.topology
    items = dict(getattr(holder, kind))
    if isinstance(what, str):
        items.pop(what, None)
    else:
        items[getattr(what, "id", None) or what.name] = what
    if kind == "interfaces":
        return dataclasses.replace(inputs, interfaces=items)
    return dataclasses.replace(inputs, topology=dataclasses.replace(inputs.topology, **{kind: items}))


def ours(desired):
    return {kind.kind: dict(desired.of(kind.kind)) for kind in kinds}


@settings(max_examples=40)
@given(sites(), st.lists(changes, max_size=6))
def test_changes_lead_to_what_a_plan_from_scratch_does(inputs, several):
    desired = plan(inputs)
    for change in several:
        after = dataclasses.replace(changed(inputs, *change), allocations=desired.allocations)
        desired, inputs = replan(desired, inputs, after), after
        assert ours(desired) == ours(plan(after))
    flows = [flow for obj in desired.objects() for flow in flows_of(obj)]
    keys = [codec.encode(flow).key for flow in flows if flow.feature != "default"]
    assert len(keys) == len(set(keys)), "no match is that of two flows"
    numbers = [product.number for product in desired.of(Product.kind).values()]
    assert len(numbers) == len(set(numbers))
    assert all(FIRST_PRODUCT <= number <= LAST_PRODUCT for number in numbers)


# The rules as Neutron has them, and the flows as Open vSwitch does

@dataclasses.dataclass(frozen=True)
class Packet:
    version: int
    remote: object
    protocol: int
    first: int = 0
    """Destination port; type of ICMP."""
    second: int = 0
    """Code of ICMP."""


packets = st.sampled_from((4, 6)).flatmap(lambda version: st.builds(
    Packet, st.just(version), st.sampled_from(ADDRESSES[version]), st.sampled_from(PROTOCOLS[version]),
    st.integers(1, 41) | st.integers(126, 130), st.integers(0, 2)))


def is_allowed(topology, port, direction, packet):
    return any(_lets_through(topology, rule, packet) for group in port.security_groups
               if group in topology.security_groups for rule in topology.security_groups[group].rules
               if rule.direction == direction and rule.ip_version == packet.version)


def _lets_through(topology, rule, packet):
    if rule.protocol not in (None, packet.protocol):
        return False
    if packet.protocol in (1, 58):
        if (rule.port_range_min not in (None, packet.first)
                or rule.port_range_max not in (None, packet.second)):
            return False
    elif rule.port_range_min is not None and not rule.port_range_min <= packet.first <= rule.port_range_max:
        return False
    return any(packet.remote in prefix for prefix in _remotes(topology, rule))


def _remotes(topology, rule):
    if rule.remote_ip_prefix is not None:
        return [rule.remote_ip_prefix]
    if rule.remote_address_group_id is not None:
        return topology.address_groups[rule.remote_address_group_id].addresses
    if rule.remote_group_id is None:
        return [PREFIXES[rule.ip_version][0]]
    return [prefix for port in topology.ports.values() if rule.remote_group_id in port.security_groups
            for prefix in (*(ip_network(fixed.ip_address) for fixed in port.fixed_ips),
                           *(pair.ip_address for pair in port.allowed_address_pairs))]


def fields_of(packet, direction, port):
    side = "src" if direction == INGRESS else "dst"
    found = {"eth_type": 0x86DD if packet.version == 6 else 0x800, "ip_proto": packet.protocol, "ct_state": 0,
             "ct_mark": 0, "ip_frag": 0, "reg0": port.network, f"ipv{packet.version}_{side}": packet.remote,
             "reg2" if direction == INGRESS else "reg1": port.ofport}
    if packet.protocol in (1, 58):
        name = "icmpv6" if packet.protocol == 58 else "icmpv4"
        found |= {f"{name}_type": packet.first, f"{name}_code": packet.second}
    elif packet.protocol in (6, 17):
        found |= {"tcp_dst" if packet.protocol == 6 else "udp_dst": packet.first, "udp_src": 1}
    return found


@settings(max_examples=40)
@given(sites(), st.lists(packets, min_size=20, max_size=40))
def test_flows_let_through_what_rules_do(inputs, several):
    desired = plan(inputs)
    flows = [flow for obj in desired.objects() for flow in flows_of(obj) if flow.feature == "security-groups"]
    for port_id in HERE:
        port, filtered = inputs.topology.ports[port_id], desired.of(FilteredPort.kind).get(port_id)
        served = desired.of("port").get(port_id)
        assert (filtered is not None) == (served is not None and served.filtered)
        if filtered is None:
            assert not port.security_groups or not port.port_security_enabled
            continue
        for direction, table, onward in ((EGRESS, stages.GROUPS_OUT, stages.SERVICES),
                                         (INGRESS, stages.GROUPS_IN, stages.OUTPUT)):
            at = [flow for flow in flows if flow.table == table]
            for packet in several:
                if packet.protocol == 58 and packet.first > 129:
                    continue  # MLD passes
                actions = looked_up(at, fields_of(packet, direction, filtered))
                expected = is_allowed(inputs.topology, port, direction, packet)
                assert actions == ((Resubmit(onward),) if expected else ()), (port_id, direction, packet)


# Single facts

def site(*security_groups, **values):
    port = Port("p0", "net", "fa:16:3e:00:00:00", device_owner="compute:nova",
                fixed_ips=(FixedIP("s6", ADDRESSES[6][0]),), security_groups=("g0",))
    return inputs_of(security_groups, [dataclasses.replace(port, **values)], (), [interface("p0")])


def rule(**values):
    return SecurityGroupRule(**{"id": "r", "direction": INGRESS, "ethertype": "IPv6", **values})


def test_a_member_that_comes_changes_nothing_but_its_address():
    inputs = site(SecurityGroup("g0", rules=(rule(remote_group_id="g0", protocol=6),)))
    before = plan(inputs)
    new = Port("elsewhere", "net", "fa:16:3e:00:00:99", fixed_ips=(FixedIP("s6", ADDRESSES[6][7]),),
               security_groups=("g0",))
    after = replan(before, inputs, dataclasses.replace(changed(inputs, "ports", new),
                                                       allocations=before.allocations))
    (was, now), = after.changes(before)
    assert was is None and now.prefix == ip_network(ADDRESSES[6][7])


def test_an_address_of_two_members_stays_until_the_second_one_goes():
    pair = AddressPair(ip_network(ADDRESSES[6][7]), None)
    inputs = site(SecurityGroup("g0", rules=(rule(remote_group_id="g0"),)), allowed_address_pairs=(pair,))
    desired = plan(inputs)
    for number in range(12):  # more than collections edit one by one
        port = Port(f"n{number}", "net", f"fa:16:3e:00:01:{number:02x}", allowed_address_pairs=(pair,),
                    security_groups=("g0",))
        inputs = changed(inputs, "ports", port)
    desired = replan(desired, inputs, inputs)
    for number in range(12):
        inputs = changed(inputs, "ports", f"n{number}")
        desired = replan(desired, inputs, inputs)
        assert str(ADDRESSES[6][7]) + "/128" in desired.of(RemoteAddress.kind)


def test_numbers_do_not_depend_on_what_else_there_is():
    group, other = SecurityGroup("g0", rules=(rule(protocol=6),)), SecurityGroup("g1", rules=(rule(),))
    alone, both = plan(site(group)), plan(site(other, group, security_groups=("g0", "g1")))
    for name, product in alone.of(Product.kind).items():
        assert both.of(Product.kind)[name] == product


def test_a_port_is_stateless_if_all_its_groups_are():
    stateless, stateful = SecurityGroup("g0", stateful=False), SecurityGroup("g1")
    both = site(stateless, stateful, security_groups=("g0", "g1"))
    assert not plan(site(stateless)).of(FilteredPort.kind)["p0"].stateful
    assert plan(both).of(FilteredPort.kind)["p0"].stateful


@pytest.mark.parametrize("protocol", [33, 136])
def test_ports_that_cannot_be_matched_let_nothing_through_and_are_told(protocol):
    inputs = site(SecurityGroup("g0", rules=(rule(protocol=protocol, port_range_min=1, port_range_max=2),)))
    desired = plan(inputs)
    problem = desired.problems[FilteredPort.kind, "p0"]
    assert problem.state == ERROR and "rule r of security group g0" in problem.reason
    assert desired.of(FilteredPort.kind)["p0"].ingress6.products == ()


def test_without_conntrack_nothing_passes_stateful_groups_and_that_is_told():
    for stateful in (True, False):
        inputs = site(SecurityGroup("g0", stateful=stateful))
        desired = plan(dataclasses.replace(inputs, datapath=Datapath("system")))
        problem = desired.problems.get((FilteredPort.kind, "p0"))
        assert (problem is not None and "conntrack" in problem.reason) == stateful


def test_a_flow_never_grows_beyond_a_message():
    several = [SecurityGroup(f"g{number}", rules=(rule(protocol=6),)) for number in range(MOST_PARTS + 1)]
    desired = plan(site(*several, security_groups=tuple(group.id for group in several)))
    service, = desired.of(RuleService.kind).values()
    assert len(service.ingress) == MOST_PARTS
    assert {kind for kind, _ in desired.problems} == {FilteredPort.kind, RuleService.kind}
    assert all(str(MOST_PARTS) in problem.reason for problem in desired.problems.values())
    for obj in desired.objects():
        for flow in flows_of(obj):
            codec.flow_mod(codec.encode(flow), 1)


def test_switched_off_nothing_is_filtered():
    inputs = dataclasses.replace(site(SecurityGroup("g0")),
                                 settings=Settings(ports=PortServices(security_groups=False)))
    assert not any(ours(plan(inputs)).values())


def test_entries_are_interfaces_of_others_in_the_vlans_of_filtered_ports():
    inputs = site(SecurityGroup("g0"))
    interfaces = [interface("p0", tag=7), Interface("same", 2, tag=7), Interface("other", 3, tag=8),
                  Interface("plain", 4), Interface("trunk", 5, trunk=True), Interface("closed", None, tag=7)]
    desired = plan(dataclasses.replace(inputs, interfaces={each.name: each for each in interfaces}))
    assert {name: (entry.untagged, entry.tagged) for name, entry in desired.of(Entry.kind).items()} == {
        "same": (7, ()), "plain": (None, (7,)), "trunk": (None, (7,))}
    (arrival,) = desired.of(Arrival.kind).values()
    assert (arrival.vlan, arrival.ofport) == (7, 1)


# FIP64

IPV6_RULES = (rule(id="web", protocol=6, port_range_min=443, port_range_max=443),
              rule(id="ping", protocol=58, port_range_min=128,
                   remote_ip_prefix=ip_network("2001:db8:c::/48")),
              rule(id="headers", protocol=44), rule(id="members", remote_group_id="g0"))


def translated(*rules, bindings=()):
    made = two_tenant_site().add(SecurityGroup("g0", rules=rules))
    made.change("ports", "vm-red", security_groups=("g0",))
    made.change("routers", "red", nat64_bindings=bindings)
    desired = plan(sound_inputs(made.inputs))
    at = [flow for obj in desired.objects() for flow in flows_of(obj)
          if flow.feature == "security-groups" and flow.table == stages.GROUPS_IN]
    port = desired.of(FilteredPort.kind)["vm-red"]

    def passes(remote, protocol, first, second=0):
        packet = Packet(4, ip_address(remote), protocol, first, second)
        return looked_up(at, fields_of(packet, INGRESS, port)) == (Resubmit(stages.OUTPUT),)

    return desired, passes


def test_a_rule_for_ipv6_from_anybody_is_for_the_whole_pool_and_nobody_else():
    desired, passes = translated(*IPV6_RULES)
    assert passes("100.64.0.9", 6, 443)
    assert not passes("10.0.0.9", 6, 443), "not of the pool"
    assert not passes("100.64.0.9", 6, 80) and not passes("100.64.0.9", 44, 0)
    mapping = desired.mappings["fip-vm-red"]
    assert mapping.filtered_network == desired.of(FilteredPort.kind)["vm-red"].network
    assert desired.mappings["fip-vm-blue"].filtered_network is None


def test_a_rule_for_an_ipv6_prefix_is_for_clients_that_are_bound():
    bound = Nat64Binding(ip_address("2001:db8:c::1"), ip_address("100.64.0.7"))
    outside = Nat64Binding(ip_address("2001:db8:d::1"), ip_address("100.64.0.8"))
    _, passes = translated(*IPV6_RULES, bindings=(bound, outside))
    assert passes("100.64.0.7", 1, 8), "an echo request of ICMP"
    assert not passes("100.64.0.7", 1, 0) and not passes("100.64.0.7", 58, 128)
    assert not passes("100.64.0.8", 1, 8) and not passes("100.64.0.9", 1, 8)


def test_what_is_not_translated_is_not_everything():
    """A rule that has nothing left in IPv4 lets nothing through there."""
    _, passes = translated(rule(protocol=44), rule(id="s", protocol=58, port_range_min=135))
    assert not passes("100.64.0.9", 6, 443) and not passes("100.64.0.9", 1, 8)
