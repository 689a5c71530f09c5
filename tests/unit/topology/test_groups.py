# SPDX-License-Identifier: Apache-2.0
"""Security groups, their rules and address groups: Neutron's conditions, and what refers to what."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network

import pytest
import yaml

from fip64agent.topology import schema
from fip64agent.topology.file.loader import DEFAULT_POOL, parse, parse_faulty
from fip64agent.topology.model import (
    KINDS,
    AddressGroup,
    Fault,
    Finding,
    SecurityGroup,
    SecurityGroupRule,
    Topology,
    Unreadable,
)
from fip64agent.topology.resources import Resources
from tests.fakes import topologies
from tests.fakes.topologies import two_tenant_site


def document(*rules: dict, **others: object) -> str:
    """Return a topology with a group "g" of these rules, which get ids; others: further sections."""
    numbered = [{"id": str(number), **rule} for number, rule in enumerate(rules)]
    return yaml.safe_dump({"security_groups": [{"id": "g", "rules": numbered}], **others})


def rule_of(**values) -> SecurityGroupRule:
    """Return the rule in force of these attributes in the topology file."""
    topology = parse(document({"direction": "ingress", **values}), "t")
    return topology.security_groups["g"].rules[0]


def reasons(*rules: dict) -> list[str]:
    """Return what is wrong with rules: "<path in the document>: <reason>"."""
    _, problems = parse_faulty(document(*({"direction": "ingress", **rule} for rule in rules)), "t")
    return [f"{problem.path}: {problem.reason}" for problem in problems]


# Rules by themselves


@pytest.mark.parametrize(("protocol", "number"), [
    ("tcp", 6), ("TCP", 6), (6, 6), ("6", 6), ("udplite", 136), ("sctp", 132), ("vrrp", 112), ("255", 255),
    (0, 0), ("hopopt", 0), ("any", None), ("ip", None), (None, None)])
def test_protocol_by_name_or_number(protocol, number):
    assert rule_of(protocol=protocol).protocol == number


@pytest.mark.parametrize("protocol", ["tpc", "256", 256, -1, "-1", "", "0x6", "6.0", "\u0666", "9" * 5000,
                                      True, []])
def test_no_protocol(protocol):
    [reason] = reasons({"protocol": protocol})
    assert reason.startswith("security_groups[0].rules[0].protocol: ")
    assert "no IP protocol" in reason or "must be the name or number of an IP protocol" in reason


@pytest.mark.parametrize("protocol", ["icmp", 1, "icmpv6", "ipv6-icmp", 58])
def test_icmp_for_ipv6_is_icmpv6(protocol):
    assert rule_of(ethertype="IPv6", protocol=protocol).protocol == 58
    assert rule_of(ethertype="IPv4", protocol="icmp").protocol == 1


def test_what_is_left_out():
    assert rule_of() == SecurityGroupRule("0", "ingress", "IPv4")
    topology = parse("security_groups: [{id: g}, {id: h, rules: ~, stateful: false}]", "t")
    assert topology.security_groups == {"g": SecurityGroup("g"), "h": SecurityGroup("h", stateful=False)}


@pytest.mark.parametrize("values", [
    {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22},
    {"protocol": "dccp", "port_range_min": 1, "port_range_max": 65535},
    {"protocol": "icmp", "port_range_min": 0},
    {"protocol": "icmp", "port_range_min": 3, "port_range_max": 0},
    {"ethertype": "IPv6", "protocol": "icmp", "port_range_min": 255, "port_range_max": 255},
])
def test_ports_types_and_codes(values):
    rule = rule_of(**values)
    assert (rule.port_range_min, rule.port_range_max) == (
        values.get("port_range_min"), values.get("port_range_max"))


@pytest.mark.parametrize(("values", "attribute", "reason"), [
    ({"port_range_min": 22, "port_range_max": 22}, "port_range_min", "needs a protocol with ports: tcp, udp"),
    ({"port_range_max": 22}, "port_range_max", "needs a protocol with ports"),
    ({"protocol": "gre", "port_range_min": 1, "port_range_max": 1}, "port_range_min", "needs a protocol"),
    ({"protocol": "tcp", "port_range_min": 22}, "port_range_max", "is required, as port_range_min is given"),
    ({"protocol": "udp", "port_range_max": 22}, "port_range_min", "is required, as port_range_max is given"),
    ({"protocol": "tcp", "port_range_min": 0, "port_range_max": 22}, "port_range_min", "between 1 and 65535"),
    ({"protocol": "tcp", "port_range_min": 80, "port_range_max": 22}, "port_range_min",
     "80 is more than port_range_max, 22"),
    ({"protocol": "tcp", "port_range_min": 80, "port_range_max": 65536}, "port_range_max",
     "must be between 0 and 65535, is 65536"),
    ({"protocol": "tcp", "port_range_min": "http", "port_range_max": 80}, "port_range_min",
     "must be a whole number, is 'http'"),
    ({"protocol": "icmp", "port_range_max": 0}, "port_range_max",
     "is an ICMP code, 0, which needs an ICMP type"),
    ({"protocol": "icmp", "port_range_min": 256}, "port_range_min", "is an ICMP type, 0 to 255; it is 256"),
    ({"ethertype": "IPv6", "protocol": "icmp", "port_range_min": 1, "port_range_max": 300}, "port_range_max",
     "is an ICMP code, 0 to 255; it is 300"),
    ({"protocol": "ipv6-icmp"}, "protocol", "ipv6-icmp is for rules with ethertype IPv6 only"),
    ({"protocol": 44}, "protocol", "ipv6-frag is for rules with ethertype IPv6 only"),
    ({"ethertype": "IPX"}, "ethertype", "must be IPv4 or IPv6, is 'IPX'"),
    ({"direction": "in"}, "direction", "must be ingress or egress, is 'in'"),
    ({"direction": None}, "direction", "must be ingress or egress, is null"),
    ({"remote_ip_prefix": "2001:db8::/32"}, "remote_ip_prefix",
     "must be IPv4, like ethertype; 2001:db8::/32 is IPv6"),
    ({"ethertype": "IPv6", "remote_ip_prefix": "10.0.0.1"}, "remote_ip_prefix",
     "must be IPv6, like ethertype; 10.0.0.1/32 is IPv4"),
    ({"remote_ip_prefix": "10.0.0.0/33"}, "remote_ip_prefix", "is not a prefix in CIDR form"),
    ({"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": "g"}, "remote_group_id",
     "cannot be given together with remote_ip_prefix"),
    ({"remote_group_id": "nix"}, "remote_group_id", "no security group has the id 'nix'"),
    ({"remote_address_group_id": "nix"}, "remote_address_group_id", "no address group has the id 'nix'"),
    ({"prot": "tcp"}, "prot", "is unknown; did you mean protocol?"),
])
def test_a_faulty_rule(values, attribute, reason):
    [found] = reasons({}, values)
    assert found.startswith(f"security_groups[0].rules[1].{attribute}: ") and reason in found


def test_one_id_in_two_groups_but_not_twice_in_one():
    assert reasons({}, {"id": "0"}) == ["security_groups[0].rules[1].id: '0' is already the id of rules[0]"]
    two = yaml.safe_load(document({"direction": "egress"}))["security_groups"]
    assert parse(yaml.safe_dump({"security_groups": [*two, {**two[0], "id": "h"}]}), "t").faults == {}


def test_host_bits_of_a_remote_prefix_do_not_count():
    assert rule_of(remote_ip_prefix="10.9.8.7/16").remote_ip_prefix == ip_network("10.9.0.0/16")
    group = schema.build("address_groups", {"id": "a", "addresses": [
        "2001:db8::5/64", "10.0.0.1", "10.0.0.1"]})
    assert group.addresses == (ip_network("2001:db8::/64"), ip_network("10.0.0.1/32"))


def test_addresses_of_an_address_group_are_told_by_their_place():
    _, [problem] = parse_faulty("address_groups: [{id: a, addresses: [10.0.0.1, 10.0.0.300]}]", "t")
    assert str(problem) == "t:1: address_groups[0].addresses[1]: '10.0.0.300' is not an IP address"


# Under another name


def test_a_fault_is_found_under_the_name_that_the_document_has():
    text = ("networks: [{id: n}]\nsecurity_groups:\n- id: g\n  security_group_rules:\n"
            "  - {id: '1', direction: ingress}\n"
            "  - id: '2'\n    direction: ingress\n    remote_group_id: nix\n"
            "ports:\n- id: p\n  network_id: n\n  mac_address: fa:16:3e:00:00:01\n  security_group_ids:\n"
            "  - nix\n")
    _, found = parse_faulty(text, "t")
    assert list(map(str, found)) == [
        "t:8: security_groups[0].rules[1].remote_group_id: no security group has the id 'nix'",
        "t:14: ports[0].security_groups[0]: no security group has the id 'nix'"]


def test_both_names_must_say_the_same():
    def port(first: list, second: list) -> object:
        return schema.build("ports", {"id": "p", "network_id": "n", "mac_address": "fa:16:3e:00:00:01",
                                      "security_groups": first, "security_group_ids": second})

    assert port(["a", "b", "a"], ["a", "b", "a"]).security_groups == ("a", "b")
    assert port(["a"], ["b"]) == Unreadable((Finding(
        ("security_group_ids",), "differs from security_groups, which is the same attribute"),),
        frozenset({"n"}))


# Beside the others


def all_of(topology: Topology) -> dict:
    return {(kind, item_id): item for kind in KINDS for item_id, item in getattr(topology, kind).items()}


@pytest.fixture
def resources() -> Resources:
    """The site of two tenants, with the groups "g0" and "g1"; VM "vm-red" has "g0"."""
    site = topologies.add_groups(two_tenant_site()).change("ports", "vm-red", security_groups=("g0",))
    resources = Resources(DEFAULT_POOL)
    assert resources.update(all_of(site.topology)).faults == {}
    return resources


def put(resources: Resources, kind: str, item_id: str, **values) -> Topology:
    item = dataclasses.replace(resources.newest[kind][item_id], **values)
    return resources.update({(kind, item_id): item})


BROKEN = (SecurityGroupRule("1", "ingress", "IPv4", 6, 2, 1),)


def test_a_faulty_group_that_was_right_keeps_its_last_good_form(resources):
    before = resources.topology
    topology = put(resources, "security_groups", "g0", rules=BROKEN)
    assert topology.faults == {("security_groups", "g0"): Fault(
        (Finding(("rules", 0, "port_range_min"), "2 is more than port_range_max, 1"),),
        last_good_in_force=True)}
    assert topology.security_groups == before.security_groups and topology.ports is before.ports
    assert put(resources, "security_groups", "g0", rules=()).faults == {}
    assert resources.topology.security_groups["g0"].rules == ()


def test_a_group_that_was_never_right_costs_its_ports(resources):
    resources.update({("security_groups", "new"): SecurityGroup("new", rules=BROKEN)})
    topology = put(resources, "ports", "vm-blue", security_groups=("g1", "new"))
    assert topology.reason(("ports", "vm-blue")) == (
        "needs security group new, which is faulty: rules[0].port_range_min: 2 is more than "
        "port_range_max, 1")
    assert topology.ports["vm-blue"].security_groups == (), "the last good form"
    topology = put(resources, "security_groups", "new", rules=())
    assert topology.faults == {} and topology.ports["vm-blue"].security_groups == ("g1", "new")


def test_a_port_of_a_group_that_is_gone(resources):
    put(resources, "security_groups", "g1", rules=())
    topology = resources.update({("security_groups", "g0"): None})
    assert topology.reason(("ports", "vm-red")) == "security_groups[0]: no security group has the id 'g0'"
    assert topology.faults["floatingips", "fip-vm-red"] == Fault(needs=("ports", "vm-red"))
    assert set(topology.floatingips) == {"fip-vm-blue"}
    assert resources.update({("security_groups", "g0"): SecurityGroup("g0")}).faults == {}
    assert "vm-red" in resources.topology.ports


def test_the_first_group_and_the_last_one(resources):
    """Without any group at all, what ports say of groups has no effect."""
    put(resources, "ports", "vm-blue", security_groups=("nix",))
    assert set(resources.topology.faults) == {("ports", "vm-blue")}
    topology = resources.update({("security_groups", "g0"): None, ("security_groups", "g1"): None})
    assert topology.faults == {} and topology.ports["vm-blue"].security_groups == ("nix",)
    assert topology.ports["vm-red"].security_groups == ("g0",)
    broken = Unreadable((Finding((), "is broken"),))
    topology = resources.update({("security_groups", "other"): broken})
    assert set(topology.faults) == {("security_groups", "other"), ("ports", "vm-red"), ("ports", "vm-blue"),
                                    ("floatingips", "fip-vm-red"), ("floatingips", "fip-vm-blue")}
    assert resources.update({("security_groups", "other"): None}).faults == {}


def test_groups_may_refer_to_each_other_and_to_themselves(resources):
    """One is right as long as the source has the other one, right or not."""
    rules = tuple(SecurityGroupRule(group, "ingress", remote_group_id=group) for group in ("g0", "g1"))
    assert put(resources, "security_groups", "g1", rules=rules).faults == {}
    topology = put(resources, "security_groups", "g0", rules=BROKEN)
    assert set(topology.faults) == {("security_groups", "g0")}
    topology = resources.update({("security_groups", "g0"): None})
    assert topology.reason(("security_groups", "g1")) == (
        "rules[0].remote_group_id: no security group has the id 'g0'")
    assert resources.update({("security_groups", "g0"): SecurityGroup("g0")}).faults == {}


def test_an_address_group_comes_and_goes(resources):
    before = resources.topology
    topology = resources.update({("address_groups", "ag"): None})
    assert topology.reason(("security_groups", "g0")) == (
        "rules[1].remote_address_group_id: no address group has the id 'ag'")
    assert topology.faults["ports", "vm-red"] == Fault(needs=("security_groups", "g0"))
    topology = resources.update({("address_groups", "ag"): AddressGroup("ag")})
    assert topology.faults == {} and topology.security_groups == before.security_groups
    topology = put(resources, "address_groups", "ag", addresses=(ip_network("192.0.2.1/32"),))
    assert topology.address_groups != before.address_groups and topology.ports == before.ports


def test_icmp_for_ipv6_is_changed_in_what_is_in_force_only(resources):
    """So the same source changes nothing."""
    rules = (SecurityGroupRule("1", "egress", "IPv6", 1),)
    topology = put(resources, "security_groups", "g1", rules=rules)
    assert topology.security_groups["g1"].rules[0].protocol == 58
    assert put(resources, "security_groups", "g1", rules=rules) is topology
    assert put(resources, "networks", "ext", name="new").security_groups is topology.security_groups


def test_a_group_among_ten_thousand_ports_costs_its_ports():
    topology, _ = topologies.big_topology(100, 10_000)
    changes = all_of(topology)
    with_group = [topologies.uuid(7, number) for number in range(3)]
    changes.update({("ports", port_id): dataclasses.replace(topology.ports[port_id], security_groups=("g",))
                    for port_id in with_group})
    changes["security_groups", "g"] = SecurityGroup("g")
    resources = Resources(DEFAULT_POOL)
    assert not resources.update(changes).faults
    judged = []
    judge = resources._judge
    resources._judge = lambda key, form: judged.append(key) or judge(key, form)
    put(resources, "security_groups", "g", stateful=False)
    assert judged == [("security_groups", "g")]
    del judged[:]
    resources.update({("security_groups", "new"): SecurityGroup("new")})
    assert judged == [("security_groups", "new")]
    del judged[:]
    resources.update({("security_groups", "new"): None, ("security_groups", "g"): None})
    assert sorted({key[1] for key in judged if key[0] == "ports"}) == with_group
    assert resources.topology.faults == {}
