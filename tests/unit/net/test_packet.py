# SPDX-License-Identifier: Apache-2.0
"""Our codec beside scapy, both ways; and bytes that are no packets."""

import dataclasses
import time
from ipaddress import IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
)
from scapy.layers.inet6 import IPv6 as ScapyIPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from fip64agent.net import icmpv6, ipv6, options
from fip64agent.net.ipv6 import Extension, IPv6, PacketError
from fip64agent.net.packet import Ethernet, Packet, Udp, build, parse

U8, U16, U32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
MACS = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
ADDRESSES = st.integers(0, 2 ** 128 - 1).map(IPv6Address)
DATA = st.binary(max_size=64)
UNITS = st.integers(0, 4).flatmap(lambda more: st.binary(min_size=6 + 8 * more, max_size=6 + 8 * more))
READ = {options.SOURCE_LINK_LAYER_ADDRESS, options.TARGET_LINK_LAYER_ADDRESS, options.PREFIX_INFORMATION,
        options.MTU}

OPTIONS = st.lists(st.one_of(
    st.builds(options.SourceLinkLayerAddress, MACS), st.builds(options.TargetLinkLayerAddress, MACS),
    st.builds(options.PrefixInformation, ADDRESSES, U8, U8, U32, U32), st.builds(options.Mtu, U32),
    st.builds(options.OtherOption, U8.filter(lambda kind: kind not in READ), UNITS)), max_size=6).map(tuple)
READ_TYPES = {1, 2, 3, 4, 128, 129, 133, 134, 135, 136}
MESSAGES = st.one_of(
    st.builds(icmpv6.Echo, st.booleans(), U16, U16, DATA),
    st.builds(icmpv6.NeighborSolicitation, ADDRESSES, OPTIONS),
    st.builds(icmpv6.NeighborAdvertisement, ADDRESSES, U32, OPTIONS),
    st.builds(icmpv6.RouterSolicitation, OPTIONS),
    st.builds(icmpv6.RouterAdvertisement, U8, U8, U16, U32, U32, OPTIONS),
    st.builds(icmpv6.Error, st.integers(1, 4), U8, U32, DATA),
    st.builds(icmpv6.OtherMessage, U8.filter(lambda kind: kind not in READ_TYPES), U8, DATA))
DATAGRAMS = st.builds(Udp, U16, U16, DATA)
FRAGMENT_OF_SOME = st.tuples(st.integers(1, 8191), U32).map(
    lambda each: Extension(ipv6.FRAGMENT, (each[0] << 3).to_bytes(2) + each[1].to_bytes(4)))
EXTENSIONS = st.lists(st.builds(Extension, st.sampled_from([ipv6.HOP_BY_HOP, ipv6.ROUTING, ipv6.DESTINATION]),
                                UNITS), max_size=3).map(tuple)
TAGS = st.none() | U16
ETHERNET = st.builds(Ethernet, MACS, MACS, st.just(0x86DD), TAGS)


def headers(next_header, extensions=EXTENSIONS):
    return st.builds(IPv6, ADDRESSES, ADDRESSES, next_header, U8, U8, st.integers(0, 0xFFFFF), extensions)


PACKETS = st.one_of(
    st.builds(Packet, ETHERNET, headers(st.just(ipv6.ICMPV6)), MESSAGES),
    st.builds(Packet, ETHERNET, headers(st.just(ipv6.UDP)), DATAGRAMS),
    st.builds(Packet, ETHERNET, headers(st.sampled_from([6, 50, 59, 132])), DATA),
    st.builds(Packet, ETHERNET, headers(st.sampled_from([17, 58]), st.tuples(FRAGMENT_OF_SOME)), DATA),
    st.builds(Packet, st.builds(Ethernet, MACS, MACS, st.sampled_from([0x0800, 0x0806, 0x88CC]), TAGS),
              st.none(), DATA))


@given(PACKETS)
def test_what_is_built_is_read_back(packet):
    assert parse(build(packet)) == packet


@given(PACKETS, DATA)
def test_padding_of_the_link_is_left_out(packet, padding):
    if packet.ipv6 is not None:
        assert parse(build(packet) + padding) == packet


def scapy_options(found):
    while found:
        match found:
            case ICMPv6NDOptDstLLAddr():  # before the other, whose subclass it is in scapy
                yield options.TargetLinkLayerAddress(found.lladdr)
            case ICMPv6NDOptSrcLLAddr():
                yield options.SourceLinkLayerAddress(found.lladdr)
            case ICMPv6NDOptMTU():
                yield options.Mtu(found.mtu)
            case ICMPv6NDOptPrefixInfo():
                flags = found.L << 7 | found.A << 6 | found.R << 5 | found.res1
                yield options.PrefixInformation(IPv6Address(found.prefix), found.prefixlen, flags,
                                                found.validlifetime, found.preferredlifetime)
            case _:
                return
        found = found.payload


@given(ETHERNET, headers(st.just(58), st.just(())), MESSAGES)
def test_scapy_reads_what_we_build(ethernet, header, message):
    data = build(Packet(ethernet, header, message))
    packet = Ether(data)
    assert (packet.dst, packet.src) == (ethernet.destination, ethernet.source)
    if ethernet.tag is not None:
        tag = packet[Dot1Q]
        dei = int(tag.id if "id" in tag.fields else tag.dei)
        assert tag.prio << 13 | dei << 12 | tag.vlan == ethernet.tag
    found = packet[ScapyIPv6]
    assert (IPv6Address(found.src), IPv6Address(found.dst), found.hlim, found.tc, found.fl, found.nh) == (
        header.source, header.destination, header.hop_limit, header.traffic_class, header.flow_label, 58)
    inner = found.payload
    match message:
        case icmpv6.NeighborSolicitation():
            assert isinstance(inner, ICMPv6ND_NS) and IPv6Address(inner.tgt) == message.target
        case icmpv6.NeighborAdvertisement():
            assert isinstance(inner, ICMPv6ND_NA) and IPv6Address(inner.tgt) == message.target
            assert (inner.R << 31 | inner.S << 30 | inner.O << 29 | inner.res) == message.flags
        case icmpv6.RouterAdvertisement():
            assert isinstance(inner, ICMPv6ND_RA)
            assert (inner.chlim, inner.routerlifetime, inner.reachabletime, inner.retranstimer, inner.M,
                    inner.O) == (message.hop_limit, message.lifetime, message.reachable_time,
                                 message.retransmit_timer, message.flags >> 7, message.flags >> 6 & 1)
        case icmpv6.RouterSolicitation():
            assert isinstance(inner, ICMPv6ND_RS)
        case icmpv6.Echo():
            assert isinstance(inner, ICMPv6EchoReply if message.reply else ICMPv6EchoRequest)
            assert (inner.id, inner.seq, inner.data) == (message.identifier, message.sequence, message.data)
        case icmpv6.Error():
            assert isinstance(inner, (ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded,
                                      ICMPv6ParamProblem)[message.kind - 1])
            assert inner.code == message.code
    if hasattr(message, "options"):
        known = list(scapy_options(inner.payload))
        assert tuple(known) == message.options[:len(known)]
        assert len(known) == len(message.options) or isinstance(message.options[len(known)],
                                                                options.OtherOption)
    rebuilt = Ether(data)
    if "cksum" in rebuilt[ScapyIPv6].payload.fields:
        del rebuilt[ScapyIPv6].payload.cksum
        assert bytes(rebuilt) == data


IN_SCAPY = st.one_of(
    st.builds(lambda tgt, src: ICMPv6ND_NS(tgt=str(tgt)) / ICMPv6NDOptSrcLLAddr(lladdr=src), ADDRESSES, MACS),
    st.builds(lambda tgt, mac, flags: ICMPv6ND_NA(tgt=str(tgt), R=flags & 1, S=flags >> 1 & 1)
              / ICMPv6NDOptDstLLAddr(lladdr=mac), ADDRESSES, MACS, U8),
    st.builds(lambda prefix, length, mtu, seconds: ICMPv6ND_RA(routerlifetime=seconds)
              / ICMPv6NDOptPrefixInfo(prefix=str(prefix), prefixlen=length) / ICMPv6NDOptMTU(mtu=mtu)
              / ICMPv6NDOptRDNSS(dns=[str(prefix)]), ADDRESSES, U8, U32, U16),
    st.builds(lambda mac: ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=mac), MACS),
    st.builds(lambda one, two, data: ICMPv6EchoRequest(id=one, seq=two, data=data), U16, U16, DATA),
    st.builds(lambda mtu, data: ICMPv6PacketTooBig(mtu=mtu) / Raw(data), U32, DATA),
    st.builds(lambda one, two, data: UDP(sport=one, dport=two) / Raw(data), U16, U16,
              st.binary(min_size=1, max_size=64)))
BETWEEN = st.sampled_from([
    lambda: None, lambda: IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]),
    lambda: IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))]), lambda: IPv6ExtHdrFragment(id=7)])


@given(MACS, MACS, TAGS, ADDRESSES, ADDRESSES, U8, BETWEEN, IN_SCAPY)
def test_we_read_what_scapy_builds_and_build_the_same(destination, source, tag, src, dst, hops, between,
                                                      inner):
    packet = Ether(dst=destination, src=source)
    if tag is not None:
        packet /= Dot1Q(prio=tag >> 13, vlan=tag & 0xFFF)
    packet /= ScapyIPv6(src=str(src), dst=str(dst), hlim=hops)
    if (extension := between()) is not None:
        packet /= extension
    data = bytes(packet / inner)
    read = parse(data)
    assert (read.ethernet.destination, read.ethernet.source) == (destination, source)
    assert read.ethernet.tag == (None if tag is None else tag & 0xEFFF)
    assert (read.ipv6.source, read.ipv6.destination, read.ipv6.hop_limit) == (src, dst, hops)
    assert len(read.ipv6.extensions) == (extension is not None)
    assert not isinstance(read.payload, bytes)
    assert build(read) == data


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


@given(st.binary(max_size=200))
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
    solicitation(payload=Udp(1, 0x10000, b""))])
def test_a_value_that_does_not_fit_is_one_exception(packet):
    with pytest.raises(PacketError):
        build(packet)


def test_the_worst_packet_takes_no_time():
    many = (Extension(ipv6.DESTINATION, bytes(2046)),) * ipv6.MOST_EXTENSIONS
    message = icmpv6.RouterSolicitation((options.Mtu(1),) * options.MOST)
    data = build(solicitation(ipv6=dataclasses.replace(solicitation().ipv6, extensions=many),
                              payload=message))
    begun = time.process_time()
    for _ in range(100):
        parse(data)
    assert (time.process_time() - begun) / 100 < 0.002
