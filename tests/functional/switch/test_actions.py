# SPDX-License-Identifier: Apache-2.0
"""Actions and fields through a real ovs-vswitchd: what is read back is what was sent, byte for byte."""

from ipaddress import IPv6Address
from typing import get_args

import pytest

from fip64agent.switch.connection import codec, meters
from fip64agent.switch.connection.meters import MeterItem
from fip64agent.switch.flows.flow import (
    ICMPV6,
    IPV6,
    Action,
    Bundle,
    Conjunction,
    Controller,
    Ct,
    Flow,
    Learn,
    LearnLoad,
    LearnMatch,
    LearnOutput,
    Load,
    Move,
    Output,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    StripVlan,
    to_controller,
)
from fip64agent.switch.pipeline import meter_number

TABLE = 7
METER = meter_number(200, 1)
PORT = ("in_port", 1)
TAGGED = ("vlan_vid", 0x1007)
TRACKED = (IPV6, ("ct_state", (0x21, 0x21)))
SOLICITATION = (IPV6, ICMPV6, ("icmpv6_type", 135), ("icmpv6_code", 0))
ADVERTISEMENT = (IPV6, ICMPV6, ("icmpv6_type", 136), ("icmpv6_code", 0))

ACTIONS = {
    "output": ((PORT,), (Output(11),)),
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
    "ct_zone, ct_mark, ct_label": (*TRACKED, ("ct_zone", 5), ("ct_mark", 7), ("ct_label", (1, 3))),
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


