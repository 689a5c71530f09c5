# SPDX-License-Identifier: Apache-2.0
"""Flows as values: what each feature yields, and what it leaves out."""

import dataclasses
from ipaddress import IPv6Address, IPv6Network

import pytest

from fip64agent.net.addresses import link_local
from fip64agent.switch import pipeline, wanted
from fip64agent.switch.connection import codec
from fip64agent.switch.examples import ALL_PORTS, ARRIVAL, GATEWAY, HOST, MAPPING, TENANT, UPLINK
from fip64agent.switch.features import features
from fip64agent.switch.flows.flow import (
    IN_PORT,
    NORMAL,
    Announcement,
    Bundle,
    Conjunction,
    Output,
    PopVlan,
    PushVlan,
    SetField,
    StripVlan,
)
from tests.fakes.flows import flows_of


def examples():
    return [example for feature in features().values() for example in feature.examples]


def of_kind(obj, kind):
    return [flow for flow in flows_of(obj) if flow.feature == kind]


def test_all_ipv6_of_the_uplink_goes_to_the_veth_and_back():
    incoming, outgoing = of_kind(UPLINK, "redirect")
    assert dict(incoming.match) == {"in_port": 1, "vlan_vid": (0, 0xFFF), "eth_type": 0x86DD}
    assert incoming.actions == (StripVlan(), Output(11))
    assert dict(outgoing.match) == {"in_port": 11, "eth_type": 0x86DD}
    assert outgoing.actions == (Output(1),)


def test_external_networks_only():
    uplink = dataclasses.replace(UPLINK, redirect="external-networks",
                                 onlink=(IPv6Network("2001:db8:100::/64"),))
    flows = of_kind(uplink, "redirect")
    prefixes = {dict(flow.match).get("ipv6_dst") for flow in flows}
    assert prefixes == {IPv6Address("2001:db8:100::1"), IPv6Network("2001:db8:f::/64"),
                        IPv6Network("fe80::/10"), None}  # None: from the veth
    solicited, advertised, to_all, queries = {}, {}, {}, {}
    for flow in of_kind(uplink, "neighbor"):
        match = dict(flow.match)
        if match["in_port"] == 14:
            assert flow.actions == (Output(1),)
        elif match["icmpv6_type"] == 135:
            solicited[match["ipv6_nd_target"]] = flow.actions
        elif match["icmpv6_type"] == 130:
            queries[()] = flow.actions
        else:
            (advertised if "eth_dst" in match else to_all)[()] = flow.actions
    assert set(solicited) == {IPv6Address("2001:db8:100::1"), link_local(UPLINK.mac)}
    assert set(solicited.values()) == {(StripVlan(), Output(14))}
    assert advertised == {(): (StripVlan(), Output(11), Output(14))}
    assert to_all == {(): (StripVlan(), Output(11), Output(14), Output(NORMAL))}  # others may want it too
    assert queries == {(): (StripVlan(), Output(14), Output(NORMAL))}


def test_on_link_floating_ips_are_redirected_one_by_one():
    """Other machines of the uplink's network may be plugged into the bridge."""
    (flow,) = of_kind(dataclasses.replace(MAPPING, redirect_ofport=11), "redirect")
    assert dict(flow.match)["ipv6_dst"] == MAPPING.floating_ip
    assert flow.actions == (StripVlan(), Output(11))
    assert of_kind(MAPPING, "redirect") == []


def test_neighbor_discovery_goes_to_the_link_that_answers():
    types = {dict(flow.match).get("icmpv6_type"): flow.actions for flow in of_kind(UPLINK, "neighbor")}
    strip = StripVlan()
    assert types == {135: (strip, Output(14)), 136: (strip, Output(11), Output(14)), 130: (strip, Output(14)),
                     None: (Output(1),)}  # None: what the kernel there answers


def test_solicitations_for_on_link_floating_ips_one_by_one():
    """Other machines of the uplink's network may be plugged into the bridge."""
    (flow,) = of_kind(dataclasses.replace(MAPPING, nd_ofport=14), "neighbor")
    assert dict(flow.match)["ipv6_nd_target"] == MAPPING.floating_ip
    assert flow.actions == (StripVlan(), Output(14))
    assert of_kind(MAPPING, "neighbor") == []


@pytest.mark.parametrize("obj", [
    dataclasses.replace(UPLINK, veth_ofport=None, nd_veth_ofport=None),
    dataclasses.replace(TENANT, interface_ofport=None),
    dataclasses.replace(MAPPING, downlink_ofport=None, on_link=False)])
def test_no_flow_without_its_openflow_port(obj):
    assert list(flows_of(obj)) == []


def test_an_on_link_floating_ip_is_announced():
    (flow,) = of_kind(MAPPING, "deliver")
    assert flow.announcements == (Announcement(1, MAPPING.uplink_mac, MAPPING.floating_ip),)


def test_a_routed_floating_ip_is_not_announced():
    (flow,) = of_kind(dataclasses.replace(MAPPING, on_link=False), "deliver")
    assert flow.announcements == ()


def test_an_uplinks_addresses_are_announced():
    announced = [each for flow in flows_of(UPLINK) for each in flow.announcements]
    assert announced == [Announcement(1, UPLINK.mac, IPv6Address("2001:db8:100::1"))]


def test_deliver_and_back_untagged():
    (deliver,), (back,) = of_kind(MAPPING, "deliver"), of_kind(MAPPING, "back")
    assert deliver.actions == (SetField("eth_src", MAPPING.gateway_mac), SetField("eth_dst", MAPPING.vm_mac),
                               Output(21))
    assert dict(back.match)["ipv4_dst"] == MAPPING.pool
    assert dict(back.match)["eth_src"] == MAPPING.vm_mac
    assert back.actions == (StripVlan(), SetField("eth_dst", MAPPING.downlink_mac), Output(12))


def test_deliver_and_back_tagged():
    mapping = dataclasses.replace(MAPPING, downlink_vlan=7, downlink_ofport=13)
    (deliver,), (back,) = of_kind(mapping, "deliver"), of_kind(mapping, "back")
    assert dict(deliver.match)["vlan_vid"] == 0x1007
    assert PopVlan() in deliver.actions
    assert back.actions[-2:] == (PushVlan(7), Output(13))


def test_guards_drop():
    vpp = dataclasses.replace(HOST, downlink="ovs-dl", downlink_ofport=13)
    for obj, ofports in ((UPLINK, [11, 14]), (TENANT, [12]), (vpp, [13])):
        guards = of_kind(obj, "guard")
        assert [guard.match for guard in guards] == [(("in_port", ofport),) for ofport in ofports]
        assert all(guard.actions == () and guard.priority < pipeline.SERVICE for guard in guards)
    assert of_kind(dataclasses.replace(TENANT, own_interface=False), "guard") == []
    assert of_kind(HOST, "guard") == []


def test_arp_answers_at_the_port_it_came_from():
    (flow,) = of_kind(GATEWAY, "arp")
    assert dict(flow.match)["arp_tpa"] == GATEWAY.address
    assert dict(flow.match)["eth_src"] == GATEWAY.vm_mac
    assert flow.actions[-1] == Output(IN_PORT)
    assert of_kind(dataclasses.replace(GATEWAY, answers=False), "arp") == []


def test_what_a_vm_must_not_send_is_put_together_from_its_port_and_the_frame():
    (port,) = of_kind(GATEWAY, "isolation")
    assert (port.match, port.actions) == ((("in_port", 21),), (Conjunction(0xF1640001, 1, 2),))
    assert of_kind(dataclasses.replace(GATEWAY, isolates=False), "isolation") == []
    reserved, forged, *clauses = of_kind(HOST, "isolation")
    assert (reserved.match, reserved.actions) == ((("vlan_vid", 0x1FFF),), ())
    assert (forged.match, forged.actions) == ((("conj_id", 0xF1640001),), ())
    assert {flow.actions for flow in clauses} == {(Conjunction(0xF1640001, 2, 2),)}
    assert {flow.priority for flow in (port, reserved, forged, *clauses)} == {pipeline.ISOLATION}
    own = {IPv6Network("2001:db8:f::/64"), IPv6Address("fe80::1"), link_local(UPLINK.mac)}
    sources = {match["ipv6_src"] for flow in clauses for match in [dict(flow.match)]
               if "ipv6_src" in match and "icmpv6_type" not in match}
    assert sources == own
    no_target = IPv6Address("::")  # an option stands twice, and Open vSwitch reads none
    for kind in (135, 136):
        assert {dict(flow.match)["ipv6_nd_target"] for flow in clauses
                if dict(flow.match).get("icmpv6_type") == kind} == own | {no_target}


def test_a_vm_may_ask_for_a_router_of_its_own_link_that_has_the_same_link_local_address():
    asking = [dict(flow.match) for flow in of_kind(HOST, "isolation")
              if dict(flow.match).get("icmpv6_type") == 135]
    assert {match["ipv6_nd_target"]: match.get("ipv6_src") for match in asking} == {
        IPv6Network("2001:db8:f::/64"): None, IPv6Address("fe80::1"): IPv6Address("::"),
        link_local(UPLINK.mac): IPv6Address("::"), IPv6Address("::"): None}


def test_all_members_of_a_bond_are_the_uplink_and_the_active_one_sends():
    uplink = dataclasses.replace(UPLINK, members=(2, 1))
    alone = {(flow.feature, flow.priority, flow.match): flow.actions for flow in flows_of(UPLINK)}
    bond = {(flow.feature, flow.priority, flow.match): flow.actions for flow in flows_of(uplink)}
    assert alone.keys() < bond.keys()
    assert {dict(match)["in_port"] for _, _, match in bond.keys() - alone.keys()} == {2}
    assert len([match for _, _, match in bond if dict(match)["in_port"] == 2]) == len(
        [match for _, _, match in bond if dict(match)["in_port"] == 1])
    ways_out = [key for key, actions in alone.items() if actions == (Output(1),)]
    assert len(ways_out) == 2 and {bond[key] for key in ways_out} == {(Bundle((2, 1)),)}
    assert [each.ofport for flow in flows_of(uplink) for each in flow.announcements] == [2]
    mapping = dataclasses.replace(MAPPING, redirect_ofport=11, nd_ofport=14, uplink_ofport=2,
                                  uplink_members=(1, 2))
    for kind in ("redirect", "neighbor"):
        assert [dict(flow.match)["in_port"] for flow in of_kind(mapping, kind)] == [1, 2]


def test_table_zero_matches_narrowly():
    """All of ours name a port, so that other systems' flows work beneath; the default alone does not, and
    what no VM may send, and what is for ports with security groups: these have effect together with a port,
    but for the VLAN that is reserved."""
    for example in examples():
        for obj in example.objects:
            for flow in flows_of(obj):
                if flow.feature == "isolation" and obj.kind == HOST.kind:
                    assert flow.actions or flow.match in ((("vlan_vid", 0x1FFF),), (("conj_id", 0xF1640001),))
                elif flow.feature == "arrival" and obj.kind == ARRIVAL.kind:
                    together = all(isinstance(action, Conjunction) for action in flow.actions)
                    assert together or flow.match[0] == ("conj_id", 0xF1641007)
                elif flow.table == pipeline.CLASSIFIER and flow.feature != "default":
                    assert flow.match[0][0] == "in_port"
                assert flow.owner == ((HOST.kind,) if flow.feature == "default" else obj.key)


def test_no_two_flows_of_a_plan_share_a_key():
    keys = [(flow.table, flow.priority, frozenset(flow.match))
            for obj in (HOST, UPLINK, TENANT, MAPPING, GATEWAY) for flow in flows_of(obj)]
    assert len(keys) == len(set(keys))


def test_numbers_of_features_never_change():
    """They are in the cookies of flows that an older agent has installed: an update must not touch them."""
    assert {name: feature.number for name, feature in features().items()} == {
        "default": 1, "redirect": 2, "neighbor": 3, "deliver": 5, "back": 6, "arp": 7, "guard": 8,
        "isolation": 10, "stages": 20, "l2": 21, "discovery": 22, "routing": 23, "neighbor-advertisement": 24,
        "router-advertisement": 25, "echo": 26, "icmpv6-errors": 27, "external": 28,
        "port-security": 30, "guards": 31, "conntrack": 40, "security-groups": 41, "arrival": 42,
        "ipv4-source": 43}
    assert pipeline.encode_cookie(5, ("fip", "1")) == 0xF1640500B6F87B6A


def test_flows_of_a_feature_say_so_and_serve_their_object():
    for name, feature in features().items():
        assert feature.examples
        for example in feature.examples:
            for obj in example.objects:
                flows = list(feature.flows[obj.kind](obj))
                assert flows, f"{name}: {example.title} shows nothing"
                owner = (HOST.kind,) if name == "default" else obj.key  # always the same flow
                assert {(flow.feature, flow.owner) for flow in flows} == {(name, owner)}


def test_the_default_flow_is_one_whoever_wants_it_and_fails_for_whom_wants_it():
    """A host may have served ports and no uplink, so no Host: what failed is tried again for its owner."""
    def expanded(obj):
        return [item for item in wanted.items(obj, 200, 50) if isinstance(item, codec.FlowItem)]

    of_host, of_ports = [item for item in expanded(HOST) if item.shared], expanded(ALL_PORTS)
    (default,) = [item for item in of_ports if item.shared]
    assert default in of_host and {item.owner for item in of_host} == {HOST.key}
    assert {item.owner for item in of_ports} == {ALL_PORTS.key}
    assert len(of_ports) > 1
    assert not any(item.shared for obj in (UPLINK, TENANT, MAPPING, GATEWAY) for item in expanded(obj))
