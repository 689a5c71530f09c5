# SPDX-License-Identifier: Apache-2.0
"""Errors of ICMPv6, as scapy reads them, and when there is none (RFC 4443, section 2.4)."""

import dataclasses
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_Redirect,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    ICMPv6Unknown,
    IPerror6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.inet6 import IPv6 as ScapyIPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from fip64agent.net import errors, icmpv6, ipv6
from fip64agent.net.errors import error_for
from fip64agent.net.icmpv6 import PACKET_TOO_BIG, PARAMETER_PROBLEM, TIME_EXCEEDED, UNREACHABLE
from fip64agent.net.ipv6 import PacketError
from fip64agent.net.packet import build, parse
from tests.unit.net.strategies import PACKETS

VM, ROUTER = "fa:16:3e:00:00:01", "fa:16:3e:00:00:fe"
GATEWAY = IPv6Address("2001:db8::1")
CLASSES = {UNREACHABLE: ICMPv6DestUnreach, PACKET_TOO_BIG: ICMPv6PacketTooBig,
           TIME_EXCEEDED: ICMPv6TimeExceeded, PARAMETER_PROBLEM: ICMPv6ParamProblem}


def head(src="2001:db8::5", dst="2001:db8:1::9", mac=ROUTER, source_mac=VM):
    return Ether(dst=mac, src=source_mac) / ScapyIPv6(src=src, dst=dst)


def answer(packet, kind=UNREACHABLE, code=errors.NO_ROUTE, value=0):
    return error_for(parse(bytes(packet)), kind, code, value, GATEWAY, ROUTER)


ECHO = head() / ICMPv6EchoRequest(id=1, seq=2, data=b"hello")


@pytest.mark.parametrize("kind, code, value", [
    (UNREACHABLE, errors.NO_ROUTE, 0), (UNREACHABLE, errors.ADDRESS_UNREACHABLE, 0),
    (UNREACHABLE, errors.PORT_UNREACHABLE, 0),
    (PACKET_TOO_BIG, 0, 1400), (TIME_EXCEEDED, errors.HOP_LIMIT_EXCEEDED, 0),
    (PARAMETER_PROBLEM, errors.UNRECOGNIZED_OPTION, 42)])
def test_an_error_as_scapy_reads_it(kind, code, value):
    packet = Ether(build(answer(ECHO, kind, code, value)))
    assert (packet.src, packet.dst) == (ROUTER, VM)
    assert (packet[ScapyIPv6].src, packet[ScapyIPv6].dst) == ("2001:db8::1", "2001:db8::5")
    error = packet[CLASSES[kind]]
    assert error.code == code
    assert kind != PACKET_TOO_BIG or error.mtu == value
    assert kind != PARAMETER_PROBLEM or error.ptr == value
    assert bytes(packet[IPerror6]) == bytes(ECHO[ScapyIPv6])
    stated = error.cksum
    del error.cksum
    assert Ether(bytes(packet))[CLASSES[kind]].cksum == stated


@given(PACKETS)
def test_what_is_quoted(packet):
    """As much as fits into 1,280 octets, and as it came."""
    found = error_for(packet, PACKET_TOO_BIG, 0, 1280, GATEWAY, ROUTER)
    if found is not None:
        whole = build(packet)[14 if packet.ethernet.tag is None else 18:]
        assert found.payload.packet == whole[:1232]
        assert found.ipv6.destination == packet.ipv6.source
        assert found.ethernet.destination == packet.ethernet.source
        assert found.ethernet.tag == packet.ethernet.tag
        assert parse(build(found)) == found


@pytest.mark.parametrize("size", [1183, 1184, 1185, 1400, 8900])
def test_an_error_is_never_longer_than_1280_octets(size):
    packet = head() / ICMPv6EchoRequest(data=bytes(size))
    found = build(answer(packet, PACKET_TOO_BIG, 0, 1280))
    assert len(found) == 14 + min(1280, 40 + 8 + 40 + 8 + size)


def test_the_answer_has_the_tag():
    packet = Ether(dst=ROUTER, src=VM) / Dot1Q(vlan=7) / ECHO[ScapyIPv6]
    assert answer(packet).ethernet.tag == 7
    assert answer(packet).payload.packet == bytes(ECHO[ScapyIPv6])


@pytest.mark.parametrize("packet", [
    Ether(dst=ROUTER, src=VM) / ARP(),
    head() / ICMPv6DestUnreach() / ECHO[ScapyIPv6], head() / ICMPv6TimeExceeded() / ECHO[ScapyIPv6],
    head() / ICMPv6Unknown(type=100, msgbody=b"1234"), head() / ICMPv6ND_Redirect(),
    head() / IPv6ExtHdrDestOpt() / ICMPv6PacketTooBig() / ECHO[ScapyIPv6],
    head() / IPv6ExtHdrFragment(m=1) / ICMPv6DestUnreach() / ECHO[ScapyIPv6],
    head() / IPv6ExtHdrFragment(m=1, nh=58),
    head() / IPv6ExtHdrFragment(nh=58, offset=1) / Raw(b"\x80\0\0\0\0\0\0\0"),
    head() / IPv6ExtHdrFragment(nh=60, offset=1) / Raw(b"\x3a\0\0\0\0\0\0\0"),
    head(dst="ff0e::5") / ICMPv6EchoRequest(), head(dst="ff02::1") / ICMPv6EchoRequest(),
    head(mac="33:33:00:00:00:01") / ICMPv6EchoRequest(), head(mac="01:00:5e:00:00:01") / ICMPv6EchoRequest(),
    head(mac="ff:ff:ff:ff:ff:ff") / ICMPv6EchoRequest(), head(src="::") / ICMPv6EchoRequest(),
    head(src="ff02::1") / ICMPv6EchoRequest(), head(source_mac="33:33:00:00:00:01") / ICMPv6EchoRequest()],
    ids=["ARP", "e.1 unreachable", "e.1 time exceeded", "e.1 unknown error", "e.2 Redirect",
         "e.1 behind a header", "e.1 first fragment", "e.1 fragment without a type", "e.1 later fragment",
         "e.1 later fragment of what", "e.3", "e.3 link-local", "e.4", "e.4 of IPv4", "e.5",
         "e.6 unspecified", "e.6 multicast", "source MAC is a group"])
def test_no_error_is_sent(packet):
    assert answer(packet) is None


@pytest.mark.parametrize("packet", [
    ECHO, head() / ICMPv6Unknown(type=200, msgbody=b"1234"), head(src="fe80::5") / ICMPv6EchoRequest(),
    head() / IPv6ExtHdrFragment(m=1) / ICMPv6EchoRequest(),
    head() / IPv6ExtHdrFragment(nh=17, offset=1) / Raw(b"\x01\0\0\0\0\0\0\0"),
    head() / IPv6ExtHdrFragment(nh=17, m=1) / Raw(b"\x01\0\0\0\0\0\0\0")])
def test_an_error_is_sent(packet):
    found = answer(packet)
    assert found.payload.packet == bytes(packet[ScapyIPv6])


@pytest.mark.parametrize("changes", [{"dst": "ff0e::5"}, {"mac": "33:33:00:00:00:05"}])
def test_by_multicast_two_errors_are_sent(changes):
    """RFC 4443, section 2.4, exceptions of e.3: the second if the option's type begins with bits 10."""
    options = [HBHOptUnknown(otype=0x8A, optdata=b"\0bcd")]
    packet = head(**changes) / IPv6ExtHdrDestOpt(options=options) / ICMPv6EchoRequest()
    assert answer(packet, PACKET_TOO_BIG, 0, 1280) is not None
    assert answer(packet, PARAMETER_PROBLEM, errors.UNRECOGNIZED_OPTION, 42) is not None
    assert answer(packet, PARAMETER_PROBLEM, 0, 42) is None
    assert answer(packet, PARAMETER_PROBLEM, errors.UNRECOGNIZED_OPTION, 43) is None
    assert answer(packet, PARAMETER_PROBLEM, errors.UNRECOGNIZED_OPTION, 10_000) is None
    assert answer(packet, TIME_EXCEEDED) is None


def test_no_error_answers_an_error():
    assert error_for(answer(ECHO), UNREACHABLE, 0, 0, GATEWAY, ROUTER) is None


@given(st.binary(max_size=100))
def test_whatever_is_read_is_answered_or_not(data):
    packet = parse(build(dataclasses.replace(parse(bytes(ECHO)), payload=icmpv6.Echo(False, 1, 2, data))))
    raw = bytearray(build(packet))
    raw[14 + 40:] = data
    raw[14 + 4:14 + 6] = len(data).to_bytes(2)
    raw[14 + 6] = ipv6.FRAGMENT
    try:
        read = parse(bytes(raw))
    except PacketError:
        return
    found = error_for(read, UNREACHABLE, 0, 0, GATEWAY, ROUTER)
    assert found is None or parse(build(found)) == found
