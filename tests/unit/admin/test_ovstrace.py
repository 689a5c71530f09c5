# SPDX-License-Identifier: Apache-2.0
"""Texts that ovs-vswitchd 3.1 printed."""

from fip64agent.admin import ovstrace

ANSWERED = """\
Flow: icmp6,in_port=1,vlan_tci=0x0000,dl_src=02:00:00:00:00:01,dl_dst=33:33:ff:00:00:10,nw_ttl=255,\
icmp_type=135,icmp_code=0,nd_target=2001:db8::10,nd_sll=02:00:00:00:00:01,nd_tll=00:00:00:00:00:00

bridge("br0")
-------------
 0. icmp6,in_port=1,nw_ttl=255,icmp_type=135,icmp_code=0,nd_target=2001:db8::10, priority 41000, \
cookie 0xf164030000000001
    move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]
     -> NXM_OF_ETH_DST[] is now 02:00:00:00:00:01
    set_field:02:00:00:00:00:99->eth_src
    resubmit(,164)
164. icmp6,icmp_type=135,icmp_code=0, priority 10, cookie 0x77
    set_field:136->icmpv6_type
    set_field:02:00:00:00:00:99->nd_tll
    IN_PORT

Final flow: icmp6,in_port=1,icmp_type=136,nd_target=2001:db8::10,nd_tll=02:00:00:00:00:99
Megaflow: recirc_id=0,eth,icmp6,in_port=1
Datapath actions: set(eth(src=02:00:00:00:00:99,dst=02:00:00:00:00:01)),3
This flow is handled by the userspace slow path because it:
  - Uses action(s) not supported by datapath.
"""


def body(text: str, in_port: int = 1) -> str:
    return (f"Flow: udp,in_port={in_port},dl_src=02:00:00:00:00:01\n\nbridge(\"br0\")\n-------------\n"
            f"{text}\n\nFinal flow: unchanged\nMegaflow: recirc_id=0\nDatapath actions: drop\n")


def test_a_found_through_two_tables():
    found = ovstrace.parse(ANSWERED)
    assert found.outputs == (1,)
    assert "nd_tll=02:00:00:00:00:99" in found.final_flow and "nd_tll=00:00" in found.flow
    assert [(rule.table, rule.priority) for rule in found.rules] == [(0, 41000), (164, 10)]
    assert str(found.rules[1]) == "[164 10 foreign, cookie 0x77] icmp6,icmp_type=135,icmp_code=0"
    assert not found.normal and not found.complaints and found.unmatched_table is None


def test_output_of_a_foreign_flow():
    found = ovstrace.parse(body(" 0. ipv6,in_port=1, priority 50\n    output:2\n    output:7"))
    assert found.outputs == (2, 7)
    assert found.final_flow == found.flow
    assert str(found) == "[classifier 50 foreign, cookie 0x0] ipv6,in_port=1"


def test_a_table_without_a_match():
    found = ovstrace.parse(body(" 0. ipv6, priority 50\n    resubmit(,5)\n 5. No match.\n    drop"))
    assert found.outputs == () and found.unmatched_table == 5
    assert str(found) == "no flow matches in table 5"


def test_a_bundle():
    """Of a bond: Open vSwitch does not say which member it took, unless none is up."""
    text = " 0. ipv6,in_port=11, priority 40000\n    bundle(eth_src,0,active_backup,ofport,members:2,1)"
    up = body(text).replace("Datapath actions: drop", "Datapath actions: 4")
    assert ovstrace.parse(up).outputs == (2, 1)
    down = ovstrace.parse(body(text))
    assert down.outputs == () and down.complaints == ("no member of the bond is up",)


def test_complaints_are_kept():
    found = ovstrace.parse(body(" 0. ip, priority 50\n    output:77\n     >> Nonexistent output port"))
    assert found.complaints == ("Nonexistent output port",)
    assert str(found).endswith("; Nonexistent output port")


def test_normal_is_told_from_our_flows():
    found = ovstrace.parse(body(" 0. priority 0\n    NORMAL\n"
                                "     >>>> received packet on unknown port 9 <<<<\n"
                                "     >> no input bundle, dropping", 9))
    assert found.normal and found.outputs == ()
    assert found.complaints == ("received packet on unknown port 9", "no input bundle, dropping")
    assert str(found.rules[0]) == "[classifier 0 foreign, cookie 0x0] everything"


def test_nonsense_is_an_empty_found():
    assert ovstrace.parse("what?\n").outputs == ()
