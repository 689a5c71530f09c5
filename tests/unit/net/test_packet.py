# SPDX-License-Identifier: Apache-2.0
"""What our codec reads, and bytes that are no packets. Beside scapy: test_scapy.py."""

import dataclasses
import time
from ipaddress import IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_INDAdv,
    ICMPv6ND_INDSol,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    PadN,
)
from scapy.layers.inet6 import IPv6 as ScapyIPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from fip64agent.net import icmpv6, inverse, ipv6, mld, multicast_router, names, options, router_options
from fip64agent.net.ipv6 import Extension, FragmentedDiscovery, IPv6, PacketError
from fip64agent.net.packet import Ethernet, Packet, Udp, build, parse
from tests.unit.net.strategies import (
    DATA,
    MESSAGES,
    PACKETS,
    READ,
    READ_TYPES,
    U8,
    UNITS,
)


@given(PACKETS)
def test_what_is_built_is_read_back(packet):
    assert parse(build(packet)) == packet


@given(PACKETS, DATA)
def test_padding_of_the_link_is_left_out(packet, padding):
    if packet.ipv6 is not None:
        assert parse(build(packet) + padding) == packet


def solicitation(**changes):
    header = IPv6(IPv6Address("fe80::1"), IPv6Address("ff02::1:ff00:5"), ipv6.ICMPV6, 255)
    message = icmpv6.NeighborSolicitation(IPv6Address("2001:db8::5"),
                                          (options.SourceLinkLayerAddress("fa:16:3e:00:00:01"),))
    return dataclasses.replace(Packet(Ethernet("33:33:ff:00:00:05", "fa:16:3e:00:00:01"), header, message),
                               **changes)


def read_or_refused(data):
    try:
        packet = parse(data)
    except PacketError as error:
        assert str(error)
        return None
    assert isinstance(packet, Packet)
    return packet


@given(st.binary(max_size=200))
@example(b"")
def test_arbitrary_bytes_are_a_packet_or_one_exception(data):
    read_or_refused(data)


@given(st.binary(max_size=120))
def test_arbitrary_bytes_after_an_ipv6_header(data):
    head = build(solicitation())[:14] + ipv6.build(solicitation().ipv6, data)
    read_or_refused(head)


@given(PACKETS, st.lists(st.tuples(st.integers(0, 10_000), U8), max_size=6), st.integers(0, 10_000))
def test_a_damaged_packet_is_a_packet_or_one_exception(packet, changes, cut):
    data = bytearray(build(packet))
    for position, value in changes:
        data[position % len(data)] = value
    read_or_refused(bytes(data))
    read_or_refused(bytes(data[:cut % (len(data) + 1)]))


OF_A_KNOWN_TYPE = st.one_of(
    st.builds(lambda kind, data: bytes((kind, (2 + len(data)) // 8)) + data, st.sampled_from(sorted(READ)),
              UNITS),
    st.builds(lambda kind, data: bytes((kind, 0, 0, 0)) + data, st.sampled_from(sorted(READ_TYPES)),
              st.binary(max_size=100)))
"""Options and messages whose type is read, with any content."""


@given(st.binary(max_size=200) | OF_A_KNOWN_TYPE)
def test_what_is_read_can_be_built_again(data):
    """Options, extension headers and bodies of any content; reserved bits may be lost, nothing else."""
    for read in (options.parse, icmpv6.parse):
        try:
            value = read(data)
        except PacketError:
            continue
        if read is options.parse:
            assert options.parse(options.build(value)) == value
        else:
            assert icmpv6.parse(icmpv6.build(value)) == value


@given(MESSAGES, st.lists(st.tuples(st.integers(4, 100), U8), max_size=6), st.integers(0, 100))
def test_a_damaged_message_is_a_message_or_one_exception(message, changes, cut):
    """Without Ethernet, IPv6 and its checksum, which would hide most damages."""
    data = bytearray(icmpv6.build(message))
    for position, value in changes:
        if position < len(data):
            data[position] = value
    for some in (bytes(data), bytes(data[:cut % (len(data) + 1)])):
        try:
            found = icmpv6.parse(some)
        except PacketError as error:
            assert str(error)
        else:
            assert icmpv6.parse(icmpv6.build(found)) == found


def test_an_option_of_length_0_is_refused():
    with pytest.raises(PacketError, match="an option of 0 octets"):
        options.parse(b"\x01\x00" + bytes(6))


def test_options_and_extension_headers_are_counted():
    one = options.build((options.Mtu(1500),))
    assert len(options.parse(one * options.MOST)) == options.MOST
    with pytest.raises(PacketError, match="more than 32 options"):
        options.parse(one * (options.MOST + 1))
    many = (Extension(ipv6.DESTINATION, bytes(6)),) * (ipv6.MOST_EXTENSIONS + 1)
    packet = solicitation(ipv6=dataclasses.replace(solicitation().ipv6, extensions=many))
    with pytest.raises(PacketError, match="more than 8 extension headers"):
        parse(build(packet))


@pytest.mark.parametrize("message", [
    ICMPv6ND_NS(tgt="2001:db8::5"), ICMPv6ND_NA(tgt="2001:db8::5"), ICMPv6ND_RS(), ICMPv6ND_RA(),
    ICMPv6ND_Redirect(), ICMPv6ND_INDSol(), ICMPv6ND_INDAdv()], ids=lambda message: message.name)
@pytest.mark.parametrize("fragment", [
    [IPv6ExtHdrFragment()], [IPv6ExtHdrFragment(m=1)],
    [IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]), IPv6ExtHdrFragment()],
    [IPv6ExtHdrFragment(), IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])]],
    ids=["atomic", "first", "after another header", "before another header"])
def test_neighbor_discovery_in_a_fragment_is_told_apart(message, fragment):
    packet = Ether(dst="33:33:00:00:00:01") / ScapyIPv6(src="fe80::1", dst="ff02::1", hlim=255)
    for header in fragment:
        packet /= header
    with pytest.raises(FragmentedDiscovery, match="Neighbor Discovery, type"):
        parse(bytes(packet / message))


def test_what_else_is_in_a_fragment():
    """Atomic fragments are whole packets (RFC 6946); what a later fragment carries is not looked at."""
    head = Ether(dst="02:00:00:00:00:01") / ScapyIPv6(src="fe80::1", dst="fe80::2")
    assert isinstance(parse(bytes(head / IPv6ExtHdrFragment() / ICMPv6EchoRequest())).payload, icmpv6.Echo)
    assert isinstance(parse(bytes(head / IPv6ExtHdrFragment(m=1) / ICMPv6EchoRequest())).payload, bytes)
    advertisement = bytes(ICMPv6ND_RA())
    for number in (ipv6.ICMPV6, ipv6.DESTINATION, ipv6.FRAGMENT):
        later = parse(bytes(head / IPv6ExtHdrFragment(nh=number, offset=1) / Raw(advertisement)))
        assert (later.payload, later.ipv6.next_header) == (advertisement, number)
        assert later.ipv6.later_fragment and later.ipv6.has_fragment_header and not later.ipv6.whole


def test_a_wrong_checksum_is_refused():
    for packet in (solicitation(), solicitation(
            ipv6=dataclasses.replace(solicitation().ipv6, next_header=ipv6.UDP), payload=Udp(1, 2, b"abc"))):
        data = bytearray(build(packet))
        data[-1] ^= 1
        with pytest.raises(PacketError, match="wrong checksum"):
            parse(bytes(data))


def test_udp_without_a_checksum_is_refused():
    packet = solicitation(ipv6=dataclasses.replace(solicitation().ipv6, next_header=ipv6.UDP),
                          payload=Udp(1, 2, b"abc"))
    data = bytearray(build(packet))
    data[14 + 40 + 6:14 + 40 + 8] = b"\0\0"
    with pytest.raises(PacketError, match="wrong checksum"):
        parse(bytes(data))


@pytest.mark.parametrize("packet", [
    solicitation(ethernet=Ethernet("no mac", "fa:16:3e:00:00:01")),
    solicitation(ethernet=Ethernet("fa:16:3e:00:00:01", "fa:16:3e:00:00:01", 0x86DD, 0x10000)),
    solicitation(ipv6=dataclasses.replace(solicitation().ipv6, hop_limit=256)),
    solicitation(ipv6=dataclasses.replace(solicitation().ipv6, traffic_class=256)),
    solicitation(ipv6=dataclasses.replace(solicitation().ipv6, flow_label=-1)),
    *(solicitation(ipv6=dataclasses.replace(solicitation().ipv6, next_header=number, extensions=extensions))
      for number, extensions in ((256, ()), (-1, ()), (256, (Extension(ipv6.DESTINATION, bytes(6)),)),
                                 (58, (Extension(300, bytes(6)),)),
                                 (58, (Extension(0, bytes(6)), Extension(-1, bytes(6)))))),
    solicitation(ipv6=None),
    solicitation(payload=icmpv6.NeighborSolicitation(IPv6Address("::1"), (options.Mtu(1 << 32),))),
    solicitation(payload=icmpv6.NeighborSolicitation(IPv6Address("::1"), (options.OtherOption(9, b"1"),))),
    solicitation(payload=icmpv6.Echo(False, 1, 0x10000)),
    solicitation(payload=icmpv6.Error(256, 0, 0, b"")),
    solicitation(payload=mld.Query(0x10000, IPv6Address("::"))),
    solicitation(payload=mld.QueryV2(8_387_585 + 1023, IPv6Address("::"))),
    solicitation(payload=mld.QueryV2(-1, IPv6Address("::"))),
    solicitation(payload=mld.QueryV2(1, IPv6Address("::"), robustness=8)),
    solicitation(payload=mld.QueryV2(1, IPv6Address("::"), interval=32_768)),
    solicitation(payload=mld.ReportV2((mld.Record(256, IPv6Address("::")),))),
    solicitation(payload=multicast_router.MulticastRouterAdvertisement(256, 0, 0)),
    solicitation(payload=inverse.InverseSolicitation((options.Mtu(-1),))),
    solicitation(payload=Udp(1, 0x10000, b""))])
def test_a_value_that_does_not_fit_is_one_exception(packet):
    with pytest.raises(PacketError):
        build(packet)


def test_options_are_not_longer_than_a_packet_can_be():
    with pytest.raises(PacketError, match="options of 9217 octets"):
        options.parse(options.build((options.Mtu(1),)) + bytes(options.LONGEST - 7))


GROUP = IPv6Address("ff02::1:ff00:5")


@pytest.mark.parametrize("message", [
    icmpv6.RouterSolicitation((options.Mtu(1),) * options.MOST),
    icmpv6.RouterSolicitation((router_options.Rdnss(1, (GROUP,) * 17),) * options.MOST),
    icmpv6.RouterSolicitation((router_options.Dnssl(1, ("a",) * names.MOST),) * options.MOST),
    mld.ReportV2((mld.Record(4, GROUP, ()),) * mld.MOST), mld.QueryV2(1, GROUP, sources=(GROUP,) * mld.MOST)],
    ids=["options", "addresses", "names", "records", "sources"])
def test_the_worst_packet_takes_no_time(message):
    many = (Extension(ipv6.DESTINATION, bytes(2046)),) * ipv6.MOST_EXTENSIONS
    data = build(solicitation(ipv6=dataclasses.replace(solicitation().ipv6, extensions=many),
                              payload=message))
    begun = time.process_time()
    for _ in range(100):
        parse(data)
    # A service is suspended after 10 ms (switch/packets.py); this is well below, on a busy machine too.
    assert (time.process_time() - begun) / 100 < 0.004
