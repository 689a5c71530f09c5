# SPDX-License-Identifier: Apache-2.0
"""Multicast Listener Discovery, Multicast Router Discovery, and the Router Alert that both demand."""

import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6MLDone, ICMPv6MLQuery, IPv6ExtHdrHopByHop, PadN, RouterAlert
from scapy.layers.inet6 import IPv6 as ScapyIPv6
from scapy.layers.l2 import Ether

from fip64agent.net import icmpv6, mld, router_alert
from fip64agent.net.ipv6 import DESTINATION, HOP_BY_HOP, ICMPV6, Extension, IPv6, PacketError
from fip64agent.net.mld import Done, Query, QueryV2, Record, Report, ReportV2
from fip64agent.net.multicast_router import MulticastRouterSolicitation, MulticastRouterTermination
from fip64agent.net.packet import Ethernet, Packet, build, parse

GROUP = IPv6Address("ff02::1:ff00:5")
SOURCE = IPv6Address("2001:db8::1")


def rfc_value(code, mantissa_bits):
    """Return what a code stands for, as RFC 3810, sections 5.1.3 and 5.1.9, has it."""
    bits = mantissa_bits + 4
    if code < 1 << bits - 1:
        return code
    exponent = code >> mantissa_bits & 7
    return (code & (1 << mantissa_bits) - 1 | 1 << mantissa_bits) << exponent + 3


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFF))
def test_delays_and_intervals_are_read_as_rfc_3810_has_them(delay, interval):
    data = struct.pack("!BBHHH16sBBH", 130, 0, 0, delay, 0, GROUP.packed, 2, interval, 0)
    found = icmpv6.parse(data)
    assert (found.maximum_response_delay, found.interval) == (rfc_value(delay, 12), rfc_value(interval, 4))
    assert icmpv6.build(found) == data


@given(st.integers(0, 8_387_584), st.integers(0, 31_744))
def test_what_cannot_be_sent_is_the_next_lower_one(delay, interval):
    found = icmpv6.parse(icmpv6.build(QueryV2(delay, GROUP, interval=interval)))
    assert delay * 4095 / 4096 <= found.maximum_response_delay <= delay
    assert interval * 15 / 16 <= found.interval <= interval


@pytest.mark.parametrize("kind, size", [
    (130, 23), (130, 25), (130, 27), (131, 23), (132, 23), (143, 7), (151, 7), (141, 7), (142, 7)])
def test_a_message_that_is_too_short(kind, size):
    with pytest.raises(PacketError, match=f"a message of type {kind} in {size} octets"):
        icmpv6.parse(bytes((kind,)) + bytes(size - 1))


def test_versions_of_queries_are_told_apart_by_their_length():
    """RFC 3810, section 8.1."""
    assert icmpv6.parse(bytes((130,)) + bytes(23)) == Query(0, IPv6Address("::"))
    assert icmpv6.parse(bytes((130,)) + bytes(27)) == QueryV2(0, IPv6Address("::"), False, 0, 0)


@pytest.mark.parametrize("message", [
    Report(GROUP), Done(GROUP), ReportV2((Record(4, GROUP),)), QueryV2(1, GROUP, sources=(SOURCE,)),
    MulticastRouterSolicitation(), MulticastRouterTermination()])
def test_what_follows_the_end_of_a_message_is_ignored(message):
    assert icmpv6.parse(icmpv6.build(message) + b"more") == message


def test_auxiliary_data_are_left_out():
    record = struct.pack("!BBH16s", 4, 1, 1, GROUP.packed) + SOURCE.packed + b"auxi"
    report = struct.pack("!BBHHH", 143, 0, 0, 0, 2) + record + record
    assert icmpv6.parse(report) == ReportV2((Record(4, GROUP, (SOURCE,)),) * 2)
    with pytest.raises(PacketError, match="a report ends 4 octets after the message"):
        icmpv6.parse(report[:-4])


@pytest.mark.parametrize("message, error", [
    (struct.pack("!BBHHH", 143, 0, 0, 0, 2) + bytes(20), "a record in 0 octets"),
    (struct.pack("!BBHHHBBH16s", 143, 0, 0, 0, 1, 4, 0, 1, GROUP.packed), "1 sources in 0 octets"),
    (struct.pack("!BBHHH16sBBH", 130, 0, 0, 0, 0, GROUP.packed, 0, 0, 2) + bytes(16),
     "2 sources in 16 octets"),
    (struct.pack("!BBHHH", 143, 0, 0, 0, mld.MOST + 1) + bytes(20 * (mld.MOST + 1)),
     "a report of 451 records"),
    (icmpv6.build(QueryV2(1, GROUP, sources=(SOURCE,) * (mld.MOST + 1))), "451 sources in"),
    (icmpv6.build(ReportV2((Record(1, GROUP, (SOURCE,) * 226),) * 2)), "226 sources in 3616 octets")])
def test_counts_are_checked(message, error):
    with pytest.raises(PacketError, match=error):
        icmpv6.parse(message)


def header(*extensions):
    return IPv6(IPv6Address("fe80::1"), GROUP, ICMPV6, 1, extensions=extensions)


@given(st.integers(0, 0xFFFF))
def test_a_router_alert_is_read_back(value):
    assert router_alert.value_of(header(router_alert.extension(value))) == value


@pytest.mark.parametrize("before", [[], [PadN(optdata=b"")], [PadN(optdata=bytes(6))]])
def test_a_router_alert_of_scapy(before):
    packet = Ether(dst="33:33:ff:00:00:05") / ScapyIPv6(src="fe80::1", dst=str(GROUP), hlim=1)
    packet /= IPv6ExtHdrHopByHop(options=[*before, RouterAlert(value=0)])
    found = parse(bytes(packet / ICMPv6MLQuery(mladdr=str(GROUP))))
    assert router_alert.value_of(found.ipv6) == router_alert.MLD
    assert found.payload == Query(10_000, GROUP)


def test_scapy_reads_our_router_alert():
    data = build(Packet(Ethernet("33:33:00:00:00:02", "02:00:00:00:00:01"), header(router_alert.extension()),
                        Done(GROUP)))
    packet = Ether(data)
    alert, padding = packet[IPv6ExtHdrHopByHop].options
    assert isinstance(alert, RouterAlert) and alert.value == 0 and isinstance(padding, PadN)
    assert packet[ICMPv6MLDone].mladdr == str(GROUP)


@pytest.mark.parametrize("extensions", [
    (), (Extension(HOP_BY_HOP, bytes(6)),), (Extension(DESTINATION, b"\x05\x02\0\0\x01\0"),),
    (Extension(DESTINATION, bytes(6)), router_alert.extension()),
    (Extension(HOP_BY_HOP, b"\x05\x02\0\0\x01\x01"),), (Extension(HOP_BY_HOP, b"\x05\x02\0\0\0\x01"),),
    (Extension(HOP_BY_HOP, b"\x05\x03\0\0\0\0"),), (Extension(HOP_BY_HOP, b"\x05\xff\0\0\0\0"),),
    (Extension(HOP_BY_HOP, b"\x05\x02\0\0" * 3 + b"\x01\x00"),)],
    ids=["none", "padding", "another header", "not the first header", "padding too long", "no length",
         "wrong length", "too long", "several"])
def test_what_is_no_router_alert(extensions):
    assert router_alert.value_of(header(*extensions)) is None


@given(st.integers(0, 4).flatmap(lambda more: st.binary(min_size=6 + 8 * more, max_size=6 + 8 * more)))
def test_arbitrary_hop_by_hop_options(data):
    found = router_alert.value_of(header(Extension(HOP_BY_HOP, data)))
    assert found is None or found.to_bytes(2) in data
