# SPDX-License-Identifier: Apache-2.0
"""Our bytes against os-ken's own serialization, and bytes that are no flows."""

import dataclasses
import struct
import zlib
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.switch import features, pipeline, text
from fip64agent.switch.connection import bundle, codec
from fip64agent.switch.connection.actions import meters_of
from fip64agent.switch.document import page
from fip64agent.switch.flows.flow import (
    Bundle,
    CheckPktLarger,
    Conjunction,
    Controller,
    Ct,
    CtClear,
    DecTtl,
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
)
from tests.fakes.flows import flows_of

# isort: split
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

DATAPATH = ProtocolDesc(ofp.OFP_VERSION)
FLOWS = list({flow: None for feature in features.features().values() for example in feature.examples
              for obj in example.objects for flow in flows_of(obj)})


def name_of(flow):
    return f"{flow.feature}-{flow.table}-{flow.priority}-{zlib.crc32(repr(flow).encode()):x}"


def os_ken_value(value):
    if isinstance(value, IPv4Network | IPv6Network) and value.prefixlen == value.max_prefixlen:
        return str(value.network_address)
    if isinstance(value, IPv4Network | IPv6Network):
        return str(value.network_address), str(value.netmask)
    return str(value) if isinstance(value, IPv4Address | IPv6Address) else value


def os_ken_actions(actions):
    for action in actions:
        if isinstance(action, Output):
            yield parser.OFPActionOutput(action.port, 0)
        elif isinstance(action, SetField):
            yield parser.OFPActionSetField(**{action.field: os_ken_value(action.value)})
        elif isinstance(action, Move):
            yield parser.NXActionRegMove(f"{action.source}_nxm", f"{action.destination}_nxm", action.bits)
        elif isinstance(action, Load):
            yield parser.NXActionRegLoad(action.first << 6 | action.bits - 1, action.field, action.value)
        elif isinstance(action, Resubmit):
            yield parser.NXActionResubmitTable(0xFFF8, action.table)
        elif isinstance(action, DecTtl):
            yield parser.OFPActionDecNwTtl()
        elif isinstance(action, PushVlan):
            yield parser.OFPActionPushVlan(0x8100)
            yield parser.OFPActionSetField(vlan_vid=0x1000 | action.vlan)
        elif isinstance(action, StripVlan):
            yield parser.NXActionRegLoad(15, "vlan_tci", 0)  # offset 0, 16 bits
        elif isinstance(action, Conjunction):
            yield parser.NXActionConjunction(action.clause - 1, action.clauses, action.number)
        elif isinstance(action, Bundle):
            yield parser.NXActionBundle(0, 0, 0, 2, len(action.members), 0, 0, action.members)
        else:
            assert isinstance(action, PopVlan)
            yield parser.OFPActionPopVlan()


def os_ken_flow_mod(flow, xid):
    match = parser.OFPMatch(**{name: os_ken_value(value) for name, value in flow.match})
    actions = list(os_ken_actions(flow.actions))
    instructions = [parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions)] if actions else []
    number = features.features()[flow.feature].number
    message = parser.OFPFlowMod(DATAPATH, cookie=pipeline.encode_cookie(number, flow.owner),
                                table_id=flow.table, priority=flow.priority, match=match,
                                instructions=instructions, out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY)
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf)


def normalised(message):
    """A flow mod with its match in our order."""
    head = codec.FLOW_MOD.size
    length = struct.unpack_from("!H", message, head + 2)[0]
    end = head + length + -length % 8
    return message[:head], codec.normalise(message[head + 4:head + length]), message[end:]


def os_ken_can(flow):
    """What it cannot make, functional/switch/test_actions.py holds against Open vSwitch itself."""
    return not any(isinstance(action, CheckPktLarger | OutputField | Controller | Ct | CtClear)
                   or (isinstance(action, Move) and "xxreg3" in (action.source, action.destination))
                   for action in flow.actions)


@pytest.mark.parametrize("flow", [flow for flow in FLOWS if os_ken_can(flow)], ids=name_of)
def test_a_flow_mod_is_what_os_ken_makes(flow):
    ours = codec.flow_mod(codec.encode(flow), 77)
    assert normalised(ours) == normalised(os_ken_flow_mod(flow, 77))
    assert struct.unpack_from("!H", ours, 2)[0] == len(ours)
    assert len(ours) % 8 == 0


def test_a_deletion_can_hit_only_our_flows():
    message = codec.flow_mod(codec.encode(FLOWS[0]), 1, bundle.DELETE)
    cookie, mask = struct.unpack_from("!QQ", message, 8)
    assert (cookie, mask) == (0xF164 << 48, 0xFFFF << 48)
    assert message[25] == ofp.OFPFC_DELETE_STRICT


def test_messages_of_a_bundle_are_what_os_ken_makes():
    control = parser.ONFBundleCtrlMsg(DATAPATH, 5, ofp.ONF_BCT_COMMIT_REQUEST,
                                      ofp.ONF_BF_ATOMIC | ofp.ONF_BF_ORDERED, [])
    control.set_xid(9)
    control.serialize()
    assert bundle.control(9, 5, ofp.ONF_BCT_COMMIT_REQUEST) == bytes(control.buf)
    flow_mod = codec.flow_mod(codec.encode(FLOWS[0]), 9)
    added = bundle.add_message(9, 5, flow_mod)
    assert struct.unpack_from("!BBHIIII2xH", added) == (
        4, ofp.OFPT_EXPERIMENTER, len(added), 9, 0x4F4E4600, 2301, 5, 3)
    assert added[24:] == flow_mod


def statistics(item, packets=3, octets=300, cookie=None):
    """A flow as an OFPMP_FLOW reply has it."""
    length = 4 + len(item.match)
    match = struct.pack("!HH", 1, length) + item.match + bytes(-length % 8)
    return struct.pack("!HBxIIHHHHxxxxQQQ", 48 + len(match) + len(item.instructions), item.table, 1, 2,
                       item.priority, 0, 0, 0, item.cookie if cookie is None else cookie, packets, octets,
                       ) + match + item.instructions


def test_what_is_read_back_is_what_was_encoded():
    items = [codec.encode(flow) for flow in FLOWS]
    body = b"".join(statistics(item) for item in items)
    decoded = list(codec.decode_items(body))
    assert [stats.item for stats in decoded] == items
    assert {(stats.packets, stats.bytes) for stats in decoded} == {(3, 300)}


def test_flows_of_others_are_not_items():
    assert list(codec.decode_items(statistics(codec.encode(FLOWS[0]), cookie=0xF165 << 48))) == []


def test_the_order_of_a_match_does_not_matter():
    tlvs = [codec.encode_match((field,)) for field in FLOWS[1].match]
    assert codec.normalise(b"".join(tlvs)) == codec.normalise(b"".join(reversed(tlvs)))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_give_flows_or_a_clear_error(body):
    for decode in (codec.decode_flows, codec.decode_items):
        try:
            for _ in decode(body):
                pass
        except codec.CodecError as error:
            assert str(error)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_reply_gives_flows_or_a_clear_error(position, value):
    body = bytearray(b"".join(statistics(codec.encode(flow)) for flow in FLOWS[:6]))
    body[position % len(body)] = value
    try:
        list(codec.decode_items(bytes(body)))
    except codec.CodecError as error:
        assert str(error)


@given(st.binary(max_size=80))
def test_text_of_arbitrary_bytes_never_fails(data):
    assert isinstance(text.match_text(data), str)
    assert isinstance(text.instructions_text(data), str)


def test_text_names_fields_and_prefixes():
    flow = next(flow for flow in FLOWS if flow.feature == "back")
    item = codec.encode(flow)
    assert text.match_text(item.match) == ("in_port=21,vlan_vid=0x0000/0x0fff,eth_type=0x0800,"
                                           "eth_src=fa:16:3e:00:00:05,ipv4_src=10.0.0.5,"
                                           "ipv4_dst=100.64.0.0/16")
    assert text.instructions_text(item.instructions) == (
        "load:0->vlan_tci,set_field:eth_dst=fa:16:3e:00:07:01,output:12")
    assert "back flow" in str(item) and "10.0.0.5" in str(item)


@given(st.integers(1, 255), st.lists(st.text(max_size=20), min_size=1, max_size=3).map(tuple))
def test_a_cookie_tells_feature_and_owner(feature, owner):
    cookie = pipeline.encode_cookie(feature, owner)
    assert cookie < 1 << 64
    assert pipeline.is_ours(cookie)
    assert pipeline.decode_cookie(cookie) == (feature, zlib.crc32(":".join(owner).encode()))


@given(st.integers(0, (1 << 64) - 1))
def test_any_cookie_can_be_decoded(cookie):
    decoded = pipeline.decode_cookie(cookie)
    assert (decoded is not None) == (cookie >> 48 == 0xF164)


def test_a_value_of_the_wrong_size_is_refused():
    with pytest.raises(codec.CodecError, match="ipv4_dst"):
        codec.encode_match((("ipv4_dst", IPv6Address("::1")),))


@pytest.mark.parametrize(("name", "value"), [
    ("reg5", 1 << 32), ("reg5", -1), ("reg5", (0, 1 << 32)), ("vlan_vid", 1 << 16), ("eth_src", "no address"),
    ("xxreg1", 1 << 128)])
def test_a_value_that_does_not_fit_is_refused(name, value):
    with pytest.raises(codec.CodecError, match=name.removeprefix("xx")):
        codec.encode_match(((name, value),))


def test_equality_ignores_who_owns_it():
    item = codec.encode(FLOWS[0])
    assert item == dataclasses.replace(item, owner=())
    assert item != dataclasses.replace(item, instructions=b"")


def test_the_page_is_not_stale(request):
    stored = request.config.rootpath / "doc" / "source" / "reference" / "pipeline.rst"
    assert stored.read_text() == page(), (
        "run: python -m fip64agent.switch.document > doc/source/reference/pipeline.rst")


def test_what_matches_everything_is_no_field():
    """Open vSwitch leaves it out when it reports the flow."""
    family = ("eth_type", 0x86DD)
    for field in (("ipv6_dst", IPv6Network("::/0")), ("ipv4_dst", IPv4Network("0.0.0.0/0")),
                  ("tcp_dst", (0, 0)), ("xxreg1", (0, 0))):
        assert codec.encode_match((family, field)) == codec.encode_match((family,))


@pytest.mark.parametrize(("actions", "meters"), [
    ((), []), ((Output(1), Controller()), []),
    ((Controller(userdata=bytes.fromhex("00050008640500ff")),), []),
    ((Output(1), Controller(5, 128, 2, b"12345")), [5]),
    ((Controller(5), Output(1), Controller(6, 70)), [5, 6]),
    ((Learn(9, 1, (LearnMatch("eth_type", 0x800, 16),)), Controller(7)), [7])])
def test_the_meters_of_a_flow(actions, meters):
    assert list(meters_of(codec.encode_instructions(actions))) == meters


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_arbitrary_instructions_have_meters_or_none(before, after):
    found = meters_of(before + bytes.fromhex("000023200025") + after)
    assert all(0 <= number < 1 << 32 for number in found)


@pytest.mark.parametrize(("actions", "words"), [
    ((Load("reg3", 5, bits=8, first=16), Move("reg0", "reg15", 16, 16, 0)),
     "load:5->reg3[16..23],move:reg0[16..31]->reg15[0..15]"),
    ((Load("reg3", 5, bits=32), Move("eth_src", "eth_dst", 48)), "load:5->reg3,move:eth_src->eth_dst"),
    ((Move("ipv6_nd_target", "xxreg1", 128), Load("ipv6_nd_sll", 5, 48)),
     "move:ipv6_nd_target->xxreg1,load:5->ipv6_nd_sll"),
    ((SetField("reg1", 7), Resubmit(9)), "set_field:reg1=0x0007,resubmit:9"),
    ((Controller(5, 128, 0, b"abc"), Output(1)), "controller,output:1"),
    ((Ct(5, 9, commit=True, force=True, nat=True, actions=(SetField("ct_mark", 7),)),),
     "ct:commit/force/zone=5/table=9/nat/set_field:ct_mark=0x0007"),
    ((Ct("reg2"),), "ct:zone=reg2"),
    ((Ct(5, commit=True, actions=(Load("ct_mark", 1, 1),)),), "ct:commit/zone=5/load:1->ct_mark[0..0]"),
    ((CtClear(), DecTtl(), CheckPktLarger(1514, "reg5", 3), OutputField("reg2")),
     "ct_clear,dec_ttl,check_pkt_larger:1514->reg5[3..3],output:reg2"),
    ((Conjunction(7, 2, 3), Conjunction(5, 1, 2)), "conjunction:0x00000007:2/3,conjunction:0x00000005:1/2"),
    ((Learn(9, 1, (LearnMatch("eth_dst", "eth_src", 48), LearnMatch("eth_type", 0x800, 16),
                   LearnLoad("reg0", 1, 32), LearnOutput("in_port", 16))),),
     "learn:table=9/eth_dst=eth_src/eth_type=2048/load:1->reg0/output:in_port")])
def test_text_of_actions(actions, words):
    assert text.instructions_text(codec.encode_instructions(actions)) == words
