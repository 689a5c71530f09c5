# SPDX-License-Identifier: Apache-2.0
"""Actions and fields through a real ovs-vswitchd: what is read back is what was sent, byte for byte."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import get_args

import pytest
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from fip64agent.net.ranges import masked
from fip64agent.switch.connection import codec, meters
from fip64agent.switch.connection.meters import MeterItem
from fip64agent.switch.flows.flow import (
    ANY_FRAGMENT,
    CT_ESTABLISHED,
    CT_INVALID,
    CT_NEW,
    CT_RELATED,
    CT_REPLY,
    CT_TRACKED,
    ICMPV6,
    IN_PORT_16,
    IPV4,
    IPV6,
    LATER_FRAGMENT,
    MULTICAST,
    NO_LATER_FRAGMENT,
    Action,
    Bundle,
    CheckPktLarger,
    Conjunction,
    Controller,
    Ct,
    CtClear,
    DecTtl,
    Flow,
    Learn,
    LearnLoad,
    LearnMatch,
    LearnOutput,
    Load,
    Move,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    StripVlan,
    to_controller,
)
from fip64agent.switch.pipeline import meter_number
from tests.functional.switch.conftest import trace

TABLE = 7
METER = meter_number(200, 1)
PORT = ("in_port", 1)
TAGGED = ("vlan_vid", 0x1007)
TRACKED = (IPV6, ("ct_state", (CT_TRACKED | CT_NEW, CT_TRACKED | CT_NEW)))
SOLICITATION = (IPV6, ICMPV6, ("icmpv6_type", 135), ("icmpv6_code", 0))
ADVERTISEMENT = (IPV6, ICMPV6, ("icmpv6_type", 136), ("icmpv6_code", 0))

ACTIONS = {
    "output": ((PORT,), (Output(11),)),
    "output of a register": ((PORT,), (OutputField("reg2"),)),
    "output to the port by which it came": ((PORT,), (SetField("reg2", IN_PORT_16), OutputField("reg2"))),
    "output, whichever port it came by": ((PORT,), (Load("in_port", 0, bits=16), OutputField("reg15"))),
    "dec_ttl": ((IPV6,), (DecTtl(), Output(11))),
    "dec_ttl of IPv4": ((IPV4, ("nw_ttl", 64)), (DecTtl(), Output(11))),
    "check_pkt_larger": ((PORT,), (CheckPktLarger(1514, "reg5", 3), Resubmit(9))),
    "check_pkt_larger, lowest bit": ((PORT,), (CheckPktLarger(9014, "reg5"), Resubmit(9))),
    "set_field": ((PORT,), (SetField("eth_src", "02:00:00:00:00:01"), Output(11))),
    **{f"set reg{number}": ((PORT,), (SetField(f"reg{number}", 0xF1640000 | number),))
       for number in range(16)},
    **{f"set xxreg{number}": ((PORT,), (SetField(f"xxreg{number}", 1 << 127 | number),))
       for number in range(4)},
    "set metadata": ((PORT,), (SetField("metadata", 0xF164),)),
    "load bits": ((PORT,), (Load("reg3", 5, bits=8, first=16),)),
    "load field": ((PORT,), (Load("reg3", 5, bits=32),)),
    "load address": ((IPV6,), (Load("ipv6_src", 5, bits=16),)),
    "move": ((PORT,), (Move("eth_src", "eth_dst", 48),)),
    "move to register": ((PORT,), (Move("in_port", "reg0", 16),)),
    "move between registers": ((PORT,), (Move("reg0", "reg15", 16, 16, 0),)),
    "move address to register": ((IPV6,), (Move("ipv6_src", "xxreg1", 128),)),
    "move metadata": ((PORT,), (Move("metadata", "reg1", 32),)),
    "push_vlan": ((PORT, ("vlan_vid", (0, 0xFFF))), (PushVlan(7), Output(11))),
    "pop_vlan": ((PORT, TAGGED), (PopVlan(), Output(11))),
    "strip_vlan": ((PORT,), (StripVlan(), Output(11))),
    "bundle": ((PORT,), (Bundle((11, 12)),)),
    "conjunction": ((PORT,), (Conjunction(5, 1, 2),)),
    "conjunctions": ((PORT,), (Conjunction(7, 2, 3), Conjunction(5, 1, 2), Conjunction(7, 1, 3))),
    "conjunctions, the other way round": (
        (PORT,), (Conjunction(7, 1, 3), Conjunction(5, 1, 2), Conjunction(7, 2, 3))),
    "many conjunctions": ((PORT,), tuple(Conjunction(number, 2, 2) for number in range(1000, 0, -1))),
    "resubmit": ((PORT,), (Resubmit(9), Output(11))),
    "controller": ((PORT,), (Controller(),)),
    "controller, part of the packet": ((PORT,), (Controller(max_length=128),)),
    "controller, reason": ((PORT,), (Controller(reason=0),)),
    "controller, userdata": ((PORT,), (Controller(userdata=b"\1\2\3"),)),
    "controller, meter": ((PORT,), (to_controller(200, 1),)),
    "controller, all": ((PORT,), (Controller(METER, 128, 2, b"12345678"), Output(11))),
    "ct": ((IPV6,), (Ct(),)),
    "ct, table": ((IPV6,), (Ct(zone=5, table=9),)),
    "ct, zone of a register": ((IPV6,), (Ct(zone="reg1", table=9),)),
    "ct, commit": (TRACKED, (Ct(zone=5, commit=True), Output(11))),
    "ct, force": (TRACKED, (Ct(zone=5, commit=True, force=True), Output(11))),
    "ct, nat": ((IPV6,), (Ct(zone=5, table=9, nat=True),)),
    "ct, mark": (TRACKED, (Ct(zone=5, commit=True, actions=(SetField("ct_mark", 7),)), Output(11))),
    "ct, label": (TRACKED, (Ct(zone=5, commit=True, actions=(SetField("ct_label", 7),)), Output(11))),
    "ct, all": (TRACKED, (Ct("reg2", 9, True, False, True,
                              (SetField("ct_mark", 7), SetField("ct_label", 1))),)),
    "ct, a bit of the mark": (TRACKED, (Ct(zone="reg0", commit=True, actions=(Load("ct_mark", 1, bits=1),)),
                                        Output(11))),
    "ct, bits of the label": (TRACKED, (Ct(zone=5, commit=True, actions=(Load("ct_label", 5, 8, first=96),)),
                                        Output(11))),
    "ct_clear": ((PORT,), (CtClear(), Output(11))),
    "learn": ((PORT,), (Learn(9, 100, (LearnMatch("eth_dst", "eth_src", 48), LearnOutput("in_port", 16)),
                              idle_timeout=60, hard_timeout=300, cookie=0xABC),)),
    "learn, numbers": ((PORT,), (Learn(9, 100, (
        LearnMatch("eth_type", 0x86DD, 16), LearnMatch("reg0", "reg1", 32), LearnLoad("reg2", 7, 32),
        LearnLoad("eth_dst", "eth_src", 48))),)),
    "nd_target": (SOLICITATION, (SetField("ipv6_nd_target", IPv6Address("fe80::1")), Output(11))),
    "nd_reserved": (ADVERTISEMENT, (SetField("nd_reserved", 0x60000000), SetField("nd_options_type", 2),
                                    SetField("ipv6_nd_tll", "02:00:00:00:00:01"), Output(11))),
}

ND_FIELDS = {
    "ipv6_nd_target": (SOLICITATION, "xxreg1", 128), "ipv6_nd_sll": (SOLICITATION, "eth_src", 48),
    "ipv6_nd_tll": (ADVERTISEMENT, "eth_dst", 48), "nd_reserved": (ADVERTISEMENT, "reg1", 32),
    "nd_options_type": (SOLICITATION, "reg1", 8), "ipv6_flabel": ((IPV6,), "reg1", 20),
    "nw_ttl": ((IPV6,), "reg1", 8), "icmpv6_type": (SOLICITATION, "reg1", 8),
    "icmpv6_code": (SOLICITATION, "reg1", 8), "in_port": ((PORT,), "reg1", 32),
}
"""What features move, load and learn: the prerequisites, a field of the same size, bits."""
PREREQUISITES = {"eth_type": 16, "ip_proto": 8, "icmpv6_type": 8, "icmpv6_code": 8}
for name, (before, other, bits) in ND_FIELDS.items():
    given = [LearnMatch(field, value, PREREQUISITES[field]) for field, value in before
             if field in PREREQUISITES and field != name]
    ACTIONS |= {
        f"move {name}": (before, (Move(name, other, bits), Move(other, name, bits))),
        f"load {name}": (before, (Load(name, 1, min(bits, 64)),)),
        f"learn {name}": (before, (Learn(9, 100, (
            *given, LearnMatch(name, name, bits), LearnLoad(other, name, bits))),))}

MATCHES = {
    **{f"reg{number}": ((f"reg{number}", number),) for number in range(16)},
    **{f"xxreg{number}": ((f"xxreg{number}", 1 << 100),) for number in range(4)},
    "part of a long register": (("xxreg1", (0xF164 << 64, 0xFFFF << 64)),),
    "a register between parts of a long one": (("xxreg1", (5 << 96 | 7, 0xFF << 96 | 0xFF)), ("reg5", 9)),
    "part of a register": (("reg5", (0x0F00, 0xFF00)),),
    "metadata": (("metadata", 0xF164),),
    **{f"{name}={value:#x}/{mask:#x}": (*before, (name, (value, mask))) for name, value, mask, before in (
        ("reg5", 5, 0xFFFFFFFF, ()), ("metadata", 5, (1 << 64) - 1, ()), ("vlan_vid", 0x1007, 0x1FFF, ()),
        ("vlan_vid", 0x1007, 0xFFFF, ()), ("eth_dst", 5, (1 << 48) - 1, ()), ("in_port", 1, 0xFFFFFFFF, ()),
        ("ipv6_flabel", 5, 0xFFFFF, (IPV6,)), ("ipv6_flabel", 5, 0xFFFFFFFF, (IPV6,)),
        ("ipv6_dst", 5, (1 << 128) - 1, (IPV6,)), ("ip_frag", 1, 3, (IPV6,)),
        ("ct_state", 0x21, 0xFFFFFFFF, (IPV6,)), ("ct_label", 3, (1 << 128) - 1, (IPV6,)))},
    **{f"no bits of {name}": (PORT, (name, (0, 0))) for name in ("reg5", "xxreg0", "vlan_vid", "eth_dst")},
    "no bits at all": (("xxreg0", (0, 0)),),
    "a bit that vlan_vid does not have": (PORT, ("vlan_vid", (0, 0x2000))),
    "ct_state": TRACKED,
    "ct_state without a mask": (IPV6, ("ct_state", 0x21)),
    "protocol and ports of the first packet": (
        IPV4, ("ip_frag", 1), ("ct_state", (CT_TRACKED, CT_TRACKED | CT_INVALID)), ("ct_nw_proto", 6),
        ("ct_tp_src", 7), ("ct_tp_dst", (0x1F90, 0xFFFE))),
    "ct_zone, ct_mark, ct_label": (*TRACKED, ("ct_zone", 5), ("ct_mark", 7), ("ct_label", (1, 3))),
    **{f"ct_state {state:#x}/{mask:#x}": (IPV6, ("ct_state", (state, mask))) for state, mask in (
        (0, CT_TRACKED), (CT_TRACKED | CT_ESTABLISHED, CT_TRACKED | CT_ESTABLISHED | CT_REPLY | CT_INVALID),
        (CT_TRACKED | CT_RELATED, CT_TRACKED | CT_RELATED | CT_REPLY), (CT_TRACKED | CT_INVALID,) * 2)},
    "ct_mark of a connection, with mask": (*TRACKED, ("ct_mark", (0, 1))),
    "nw_ttl": (IPV6, ("nw_ttl", 1)),
    "nw_ttl of IPv4": (IPV4, ("nw_ttl", 0)),
    "any fragment": (IPV6, ANY_FRAGMENT),
    "a later fragment": (IPV4, LATER_FRAGMENT),
    "no later fragment": (IPV6, NO_LATER_FRAGMENT),
    "no fragment": (IPV6, ("ip_frag", 0)),
    "ICMPv6 type and code": (IPV6, ICMPV6, ("icmpv6_type", 1), ("icmpv6_code", 4)),
    "ICMP type and code": (IPV4, ("ip_proto", 1), ("icmpv4_type", 3), ("icmpv4_code", 4)),
    **{f"{family} {protocol} {side}": ((("eth_type", family), ("ip_proto", protocol), (f"{name}_{side}", 7)))
       for family in (0x0800, 0x86DD) for protocol, name in ((6, "tcp"), (17, "udp"), (132, "sctp"))
       for side in ("src", "dst")},
    **{f"{name} ports {value}": (IPV6, ("ip_proto", protocol), (f"{name}_dst", value))
       for protocol, name in ((6, "tcp"), (17, "udp"), (132, "sctp"))
       for value in (*masked(1, 65534), *masked(0, 65535), *masked(32768, 65535))},
    "a protocol": (IPV6, ("ip_proto", 47)),
    "multicast": (IPV6, MULTICAST),
    "an Ethernet address": (("eth_dst", "fa:16:3e:00:00:01"),),
    "nd_sll": (*SOLICITATION, ("ipv6_nd_sll", "fa:16:3e:00:00:01")),
    "nd_tll": (*ADVERTISEMENT, ("ipv6_nd_tll", "fa:16:3e:00:00:01")),
    "nd_target of a prefix": (*SOLICITATION, ("ipv6_nd_target", IPv6Network("2001:db8::/64"))),
    **{f"{prefix}": (IPV6, ("ipv6_dst", IPv6Network(prefix)))
       for prefix in ("::/0", "2001:db8::/32", "ff02::/16", "2001:db8::1/128")},
    "IPv4 prefix": (IPV4, ("ipv4_src", IPv4Network("10.0.0.0/8"))),
    "UDP from the network and port of a register": (
        IPV6, ("reg0", 0x8001), ("reg5", (1, 1)), ("ipv6_src", IPv6Address("fe80::1")), ("ip_proto", 17),
        ("udp_src", 547)),
    "nd_reserved": (*ADVERTISEMENT, ("nd_reserved", 0x60000000)),
    "nd_options_type": (*SOLICITATION, ("nd_options_type", 1)),
    "nd_target and hop limit": (*SOLICITATION, ("nw_ttl", 255), ("ipv6_nd_target", IPv6Address("fe80::1"))),
}


def flow(match, actions, priority=100):
    return codec.encode(Flow(TABLE, priority, match, actions, "default", ("host",)))


def difference(room, item):
    """Install a flow with the meters that it may need; return what is to be done after reading it back."""
    wanted = [MeterItem(METER, 100, 10), item]
    before = room.actual()
    assert room.apply([(before.get(each.key), each) for each in wanted]) == {}
    actual = room.actual()
    return [each for each in wanted if actual.get(each.key) != each]


def test_actions_are_read_back_as_they_were_sent(bench):
    room = bench.room()
    for name, (match, actions) in ACTIONS.items():
        assert difference(room, flow(match, actions)) == [], name


def test_matches_are_read_back_as_they_were_sent(bench):
    room = bench.room()
    for name, match in MATCHES.items():
        assert difference(room, flow(match, (Output(11),))) == [], name


def test_no_action_is_left_out():
    used = {type(action) for _, actions in ACTIONS.values() for action in actions}
    assert used == set(get_args(Action))


def test_meters_are_kept_and_changed_and_go(bench):
    room = bench.room()
    bench.ovs.ofctl("add-meter", "br-test", "meter=5,pktps,band=type=drop,rate=1")
    first, second = MeterItem(METER, 100, 10), MeterItem(meter_number(200, 65279), 5, 1)
    assert room.apply([(None, first), (None, second)]) == {}
    assert {item for item in room.actual().values() if isinstance(item, MeterItem)} == {first, second}
    changed = MeterItem(METER, 200, 10)
    assert room.apply([(first, changed)]) == {}
    assert room.actual()[METER_KEY] == changed
    assert room.prune([changed, second]) == {}
    assert not any(isinstance(item, MeterItem) for item in room.actual().values())
    assert "meter=5" in bench.ovs.ofctl("dump-meters", "br-test").stdout  # somebody else's


METER_KEY = MeterItem(METER, 1, 1).key


def test_a_meter_that_somebody_changed_is_made_as_it_should_be(bench):
    room = bench.room()
    meter = MeterItem(METER, 100, 10)
    assert room.apply([(None, meter)]) == {}
    bench.ovs.ofctl("mod-meter", "br-test", f"meter={METER},kbps,band=type=drop,rate=7")
    actual = room.actual()[METER_KEY]
    assert actual != meter
    assert room.apply([(actual, meter)]) == {}
    assert room.actual()[METER_KEY] == meter


def test_a_learned_flow_must_not_look_like_one_of_ours():
    with pytest.raises(codec.CodecError, match="cookie of ours"):
        codec.encode(Flow(TABLE, 1, (), (Learn(9, 1, (), cookie=0xF164 << 48),), "default", ("host",)))


def test_meters_that_make_no_sense():
    for body in (b"\0" * 7, b"\0\4\0\0\0\0\0\1", b"\0\x40\0\0\0\0\0\1"):
        with pytest.raises(codec.CodecError):
            list(meters.decode(body))



def test_what_the_actions_do_to_a_packet(bench):
    """The hop limit is decremented, a large packet is told apart, and a register says where it goes."""
    room = bench.room()
    wanted = [codec.encode(Flow(table, 50000, match, actions, "default", ("host",)))
              for table, match, actions in (
        (0, (IPV6,), (DecTtl(), CheckPktLarger(100, "reg5", 3), SetField("reg2", 12), Resubmit(TABLE))),
        (TABLE, (("reg5", (8, 8)),), (SetField("reg2", IN_PORT_16), OutputField("reg2"))),
        (TABLE, (("reg5", (0, 8)),), (OutputField("reg2"), Output(21), Load("in_port", 0, 16), Output(21))))]
    assert room.apply([(None, item) for item in wanted]) == {}
    packet = Ether(src="fa:16:3e:00:00:05", dst="fa:16:3e:00:00:06") / IPv6(dst="2001:db8::1", hlim=64)
    # To "vm" only once if it is not larger: the first time that is the port by which it came.
    assert trace(bench, "vm", packet) == "set(ipv6(hlimit=63)),check_pkt_len(size=100,gt(vm),le(dl,vm))"


def test_a_flow_of_several_conjunctions_serves_each(bench):
    room = bench.room()
    both, one = (Conjunction(7, 1, 2), Conjunction(5, 1, 2)), (Conjunction(5, 1, 2),)
    wanted = [codec.encode(Flow(0, 50000, match, actions, "default", ("host",))) for match, actions in (
        ((IPV6, ("in_port", 21)), both), ((IPV6, ("in_port", 12)), one),
        ((IPV6, ("ip_proto", 59)), (Conjunction(5, 2, 2),)),
        ((IPV6, ("ip_proto", 47)), (Conjunction(7, 2, 2),)),
        ((IPV6, ("conj_id", 5)), (Output(11),)), ((IPV6, ("conj_id", 7)), (Output(13),)))]
    assert room.apply([(None, item) for item in wanted]) == {}
    assert {key: item for key, item in room.actual().items() if item in wanted} == {
        item.key: item for item in wanted}
    ether = Ether(src="fa:16:3e:00:00:05", dst="fa:16:3e:00:00:06")
    seen = {(port, number): trace(bench, port, ether / IPv6(dst="2001:db8::1", nh=number) / Raw(bytes(8)))
            for port in ("vm", "dl") for number in (59, 47)}
    assert (seen["vm", 59], seen["vm", 47], seen["dl", 59]) == ("veth", "shared", "veth")
    assert seen["dl", 47] not in ("veth", "shared")
