# SPDX-License-Identifier: Apache-2.0
"""Neighbor Discovery and MLD for an on-link floating IP and the uplink, as the link's other hosts see it."""

import time
from ipaddress import IPv6Address

import pytest
from scapy.layers.inet6 import (
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    RouterAlert,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from fip64agent.net.addresses import link_local, multicast_mac, solicited_node
from fip64agent.switch.announce import INTERVAL, ROUNDS
from lab.host import FIP_A
from tests.e2e.link import FIP, LINK, Wire, add_on_link, records

NEIGHBOR = "2001:db8:100::99"
MAC = "02:00:00:00:00:99"
ROUTER = {"mrd": 100, "QRV": 2, "QQIC": 125}
"""What an MLD router says of itself: answers within 100 ms, robustness 2, a query each 125 s. The kernel
remembers it, and later a router of the first version for as long as follows from that (RFC 3810, 9.12)."""


@pytest.fixture(scope="module")
def module_lab(make_module_lab):
    lab = make_module_lab(agent=True)
    add_on_link(lab)
    time.sleep(ROUNDS * INTERVAL)  # until it is announced no more: that would be taken for an answer
    return lab


@pytest.fixture
def wire(module_lab):
    wire = Wire(module_lab)
    yield wire
    wire.close()


def solicitation(target=FIP, source=NEIGHBOR, to=None, option=True, hop_limit=255, code=0, before=None):
    """A multicast Neighbor Solicitation; `to`: (IPv6 address, MAC) for another destination."""
    group = solicited_node(IPv6Address(target))
    destination, mac = to or (str(group), multicast_mac(group))
    packet = Ether(src=MAC, dst=mac) / IPv6(src=source, dst=destination, hlim=hop_limit)
    if before is not None:
        packet /= before
    packet /= ICMPv6ND_NS(tgt=str(target), code=code)
    return packet / ICMPv6NDOptSrcLLAddr(lladdr=MAC) if option else packet


def targets(lab):
    uplink = lab.uplinks["uplink"]
    return [FIP, uplink["address"], str(link_local(uplink["mac"]))]


@pytest.mark.parametrize("number", range(3), ids=["floating IP", "uplink", "link-local"])
def test_a_multicast_solicitation_is_answered(module_lab, wire, number):
    target, mac = targets(module_lab)[number], module_lab.uplinks["uplink"]["mac"]
    (answer,) = wire.ask(solicitation(target), target)
    assert (answer.src, answer.dst) == (mac, MAC)
    assert (answer[IPv6].src, answer[IPv6].dst, answer[IPv6].hlim) == (target, NEIGHBOR, 255)
    assert answer[ICMPv6NDOptDstLLAddr].lladdr == mac
    # A router answers, it was solicited, and the address is its own (RFC 4861, 4.4 and 7.2.4).
    assert (answer[ICMPv6ND_NA].R, answer[ICMPv6ND_NA].S, answer[ICMPv6ND_NA].O) == (1, 1, 1)
    stated = answer[ICMPv6ND_NA].cksum
    del answer[ICMPv6ND_NA].cksum
    assert Ether(bytes(answer))[ICMPv6ND_NA].cksum == stated


@pytest.mark.parametrize("number", range(3), ids=["floating IP", "uplink", "link-local"])
def test_a_unicast_solicitation_is_answered(module_lab, wire, number):
    """Reachability confirmation (RFC 4861, 7.3)."""
    target, mac = targets(module_lab)[number], module_lab.uplinks["uplink"]["mac"]
    (answer,) = wire.ask(solicitation(target, to=(target, mac)), target)
    assert (answer[ICMPv6ND_NA].S, answer.dst) == (1, MAC)


def test_a_unicast_solicitation_without_option_is_answered(module_lab):
    """The upstream router's kernel, as it confirms what it knows; its solicitations then have no option."""
    mac = module_lab.uplinks["uplink"]["mac"]
    module_lab.upstream.ip(f"neigh replace {FIP} lladdr {mac} dev {LINK} nud probe")
    module_lab.wait_for(lambda: "REACHABLE" in module_lab.upstream.run(
        "ip", "-6", "neigh", "show", FIP).stdout, 10, "the kernel confirms the floating IP")


@pytest.mark.parametrize("number", range(3), ids=["floating IP", "uplink", "link-local"])
def test_a_dad_probe_is_answered_to_all_nodes(module_lab, wire, number):
    """RFC 4862, 5.4.3: the address is taken."""
    target = targets(module_lab)[number]
    (answer,) = wire.ask(solicitation(target, source="::", option=False), target)
    assert (answer.dst, answer[IPv6].dst) == ("33:33:00:00:00:01", "ff02::1")
    assert (answer[ICMPv6ND_NA].S, answer[ICMPv6ND_NA].O) == (0, 1)


NONCE = Raw(b"\x0e\x01" + b"nonce!")
UNKNOWN_OPTION = Raw(b"\xfd\x02" + b"\xaa" * 14)


@pytest.mark.parametrize("options", [
    UNKNOWN_OPTION / ICMPv6NDOptSrcLLAddr(lladdr=MAC), NONCE / ICMPv6NDOptSrcLLAddr(lladdr=MAC),
    ICMPv6NDOptSrcLLAddr(lladdr=MAC) / ICMPv6NDOptSrcLLAddr(lladdr=MAC)],
    ids=["unknown option first", "nonce first", "twice"])
def test_other_options_do_not_matter(module_lab, wire, options):
    """RFC 4861, 4.6: unknown options are ignored."""
    (answer,) = wire.ask(solicitation(option=False) / options)
    assert answer[ICMPv6NDOptDstLLAddr].lladdr == module_lab.uplinks["uplink"]["mac"]
    assert answer[ICMPv6NDOptDstLLAddr].len == 1


def _wrong_checksum():
    packet = solicitation()
    packet[ICMPv6ND_NS].cksum = 0x1234
    return packet


def _invalid():
    group = solicited_node(IPv6Address(FIP))
    atomic = solicitation(before=IPv6ExtHdrFragment(offset=0, m=0, id=7))
    yield "from beyond a router", solicitation(hop_limit=254)
    yield "code", solicitation(code=1)
    yield "checksum", _wrong_checksum()
    yield "unspecified with option", solicitation(source="::")
    yield "unspecified to unicast", solicitation(source="::", to=(FIP, multicast_mac(group)), option=False)
    yield "from multicast", solicitation(source="ff02::1")
    yield "option of length 0", solicitation(option=False) / Raw(b"\x01\x00" + bytes(6))
    yield "too short", Ether(src=MAC, dst=multicast_mac(group)) / IPv6(
        src=NEIGHBOR, dst=str(group), hlim=255, nh=58) / Raw(b"\x87\x00\x00\x00" + bytes(12))
    yield "in a fragment", atomic


INVALID = dict(_invalid())


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_solicitation_is_not_answered(wire, case):
    """RFC 4861, 7.1.1; RFC 6980, 5 (fragments)."""
    assert wire.ask(INVALID[case]) == []


def test_behind_a_router_alert_the_answer_is_good_or_there_is_none(wire):
    alert = IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN(optdata=b"")])
    for answer in wire.ask(solicitation(before=alert)):
        stated = answer[ICMPv6ND_NA].cksum
        del answer[ICMPv6ND_NA].cksum
        assert Ether(bytes(answer))[ICMPv6ND_NA].cksum == stated


def test_nobody_answers_for_an_address_that_nobody_has(wire):
    assert wire.ask(solicitation("2001:db8:100::1:a2"), "2001:db8:100::1:a2") == []
    assert wire.ask(solicitation(FIP_A), FIP_A) == []  # routed, not on this link


def test_groups_are_joined_reported_and_left(module_lab, wire):
    """RFC 3810; a switch that snoops MLD brings nothing of a group that nobody has reported."""
    other = "2001:db8:100::2:b2"
    group = solicited_node(IPv6Address(other))
    module_lab.add_vm("vm-e", "d", "10.4.0.10")
    fip = module_lab.topology.add_fip(other, "vm-e")
    assert wire.joined(group, 15)
    module_lab.wait_reachable(other)
    router = "fe80::77"
    groups = [group, *(solicited_node(IPv6Address(target)) for target in targets(module_lab))]
    alert = IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN(optdata=b"")])
    general = Ether(src=MAC, dst="33:33:00:00:00:01") / IPv6(src=router, dst="ff02::1", hlim=1) / alert
    for number, wanted in enumerate(groups):
        wire.drain()
        wire.send(general / ICMPv6MLQuery2(**ROUTER))
        assert wire.joined(wanted, 5), f"group {number} is not reported"
    wire.drain()
    wire.send(Ether(src=MAC, dst=multicast_mac(group)) / IPv6(src=router, dst=str(group), hlim=1) / alert
              / ICMPv6MLQuery2(**ROUTER, mladdr=str(group)))
    assert wire.joined(group, 5)
    wire.drain()
    module_lab.topology.remove_fip(other)
    left = wire.received(15, lambda packets: [record for record in records(packets, group)
                                              if record.rtype == 3])
    assert any(record.rtype == 3 for record in records(left, group))  # CHANGE_TO_INCLUDE: of nobody
    assert fip and wire.ask(solicitation(other), other) == []


def test_a_router_of_the_first_version_is_answered_in_its_own(wire):
    """RFC 3810, 8.2.1. Last of the queries: the kernel remembers the older router for some minutes."""
    alert = IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN(optdata=b"")])
    wire.drain()
    wire.send(Ether(src=MAC, dst="33:33:00:00:00:01") / IPv6(src="fe80::77", dst="ff02::1", hlim=1) / alert
              / ICMPv6MLQuery(mrd=100))
    group = str(solicited_node(IPv6Address(FIP)))

    def reports(packets):
        return [packet for packet in packets if IPv6 in packet and packet[IPv6].dst == group
                and bytes(packet[IPv6].payload)[8:9] == b"\x83"]

    assert reports(wire.received(15, reports))


def test_it_goes_on_with_the_agent_dead(module_lab, wire):
    module_lab.agent.kill()
    try:
        assert wire.ask(solicitation()) and wire.ask(solicitation(source="::", option=False))
        mac = module_lab.uplinks["uplink"]["mac"]
        assert wire.ask(solicitation(to=(FIP, mac)))
    finally:
        module_lab.agent.start()
