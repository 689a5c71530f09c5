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
    ICMPv6MLDMultAddrRec,
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6MRD_Advertisement,
    ICMPv6MRD_Solicitation,
    ICMPv6MRD_Termination,
    ICMPv6ND_INDAdv,
    ICMPv6ND_INDSol,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptDNSSL,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPREF64,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptRouteInfo,
    ICMPv6NDOptSrcAddrList,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NDOptTgtAddrList,
    ICMPv6NDOptUnknown,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    RouterAlert,
)
from scapy.layers.inet6 import IPv6 as ScapyIPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from fip64agent.net import icmpv6, inverse, ipv6, mld, multicast_router, names, options, router_options
from fip64agent.net.ipv6 import Extension, FragmentedDiscovery, IPv6, PacketError
from fip64agent.net.packet import Ethernet, Packet, Udp, build, parse
from tests.unit.net.strategies import (
    ADDRESSES,
    DATA,
    ETHERNET,
    MACS,
    MESSAGES,
    NAMES,
    NAT64_PREFIXES,
    PACKETS,
    QUERIES,
    READ,
    READ_TYPES,
    REPORTS,
    ROUTES,
    SOME,
    TAGS,
    U8,
    U16,
    U32,
    UNITS,
    headers,
)


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
            case ICMPv6NDOptRouteInfo():
                flags = found.res1 << 5 | found.prf << 3 | found.res2
                yield router_options.RouteInformation(IPv6Address(found.prefix), found.plen, flags,
                                                      found.rtlifetime)
            case ICMPv6NDOptRDNSS():
                yield router_options.Rdnss(found.lifetime, tuple(map(IPv6Address, found.dns)))
            case ICMPv6NDOptDNSSL():
                domains = tuple(name.removesuffix(".") for name in found.searchlist)
                yield router_options.Dnssl(found.lifetime, domains)
            case ICMPv6NDOptPREF64():
                yield router_options.Pref64(IPv6Address(found.prefix), (96, 64, 56, 48, 40, 32)[found.plc],
                                            8 * found.scaledlifetime)
            case ICMPv6NDOptTgtAddrList():  # before the other, whose subclass it is in scapy
                yield options.TargetAddressList(tuple(map(IPv6Address, found.addrlist)))
            case ICMPv6NDOptSrcAddrList():
                yield options.SourceAddressList(tuple(map(IPv6Address, found.addrlist)))
            case ICMPv6NDOptUnknown(type=14):
                yield options.Nonce(found.data)
            case _:
                return
        found = found.payload


def scapy_sources(found):
    return tuple(map(IPv6Address, found.sources))


def check_multicast(message, inner):
    """Compare messages of MLD and of Multicast Router Discovery."""
    match message:
        case mld.Query():
            assert isinstance(inner, ICMPv6MLQuery) and inner.mrd == message.maximum_response_delay
            assert IPv6Address(inner.mladdr) == message.group
        case mld.QueryV2():
            assert isinstance(inner, ICMPv6MLQuery2) and IPv6Address(inner.mladdr) == message.group
            assert (inner.S, inner.QRV, scapy_sources(inner)) == (
                message.suppress, message.robustness, message.sources)
            assert message.maximum_response_delay > 0x7FFF or inner.mrd == message.maximum_response_delay
            assert message.interval > 0x7F or message.interval == inner.QQIC
        case mld.Report() | mld.Done():
            assert isinstance(inner, ICMPv6MLReport if isinstance(message, mld.Report) else ICMPv6MLDone)
            assert IPv6Address(inner.mladdr) == message.group
        case mld.ReportV2():
            assert isinstance(inner, ICMPv6MLReport2)
            assert tuple(mld.Record(each.rtype, IPv6Address(each.dst), scapy_sources(each))
                         for each in inner.records) == message.records
        case multicast_router.MulticastRouterAdvertisement():
            assert isinstance(inner, ICMPv6MRD_Advertisement)
            assert (inner.advinter, inner.queryint, inner.robustness) == (
                message.interval, message.query_interval, message.robustness)
        case multicast_router.MulticastRouterSolicitation():
            assert isinstance(inner, ICMPv6MRD_Solicitation)
        case multicast_router.MulticastRouterTermination():
            assert isinstance(inner, ICMPv6MRD_Termination)


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
        case inverse.InverseSolicitation():
            assert isinstance(inner, ICMPv6ND_INDSol)
        case inverse.InverseAdvertisement():
            assert isinstance(inner, ICMPv6ND_INDAdv)
        case _:
            check_multicast(message, inner)
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
              st.binary(min_size=1, max_size=64)),
    st.builds(lambda route, servers, domains, nat64, seconds: ICMPv6ND_RA(M=1, prf=3)
              / ICMPv6NDOptRouteInfo(prefix=str(route.prefix), plen=route.length, prf=route.flags >> 3 & 3,
                                     rtlifetime=seconds, len=1 + (route.length + 63) // 64)
              / ICMPv6NDOptRDNSS(dns=list(map(str, servers)), lifetime=seconds)
              / ICMPv6NDOptDNSSL(searchlist=domains, lifetime=seconds)
              / ICMPv6NDOptPREF64(prefix=str(nat64.prefix), plc=(96, 64, 56, 48, 40, 32).index(nat64.length),
                                  scaledlifetime=seconds & 0x1FFF),
              ROUTES, SOME.filter(len), st.lists(NAMES, min_size=1, max_size=3), NAT64_PREFIXES, U32),
    st.builds(lambda group, delay: ICMPv6MLQuery(mladdr=str(group), mrd=delay), ADDRESSES, U16),
    st.builds(lambda group: ICMPv6MLReport(mladdr=str(group), mrd=0), ADDRESSES),
    st.builds(lambda group: ICMPv6MLDone(mladdr=str(group), mrd=0), ADDRESSES),
    st.builds(lambda query, delay, interval: ICMPv6MLQuery2(
        mrd=delay, mladdr=str(query.group), S=query.suppress, QRV=query.robustness, QQIC=interval,
        sources=list(map(str, query.sources))), QUERIES, U16, U8),
    st.builds(lambda report: ICMPv6MLReport2(records=[
        ICMPv6MLDMultAddrRec(rtype=each.kind, dst=str(each.group), sources=list(map(str, each.sources)))
        for each in report.records]), REPORTS),
    st.builds(lambda one, two, three: ICMPv6MRD_Advertisement(advinter=one, queryint=two, robustness=three),
              U8, U16, U16),
    st.sampled_from([ICMPv6MRD_Solicitation, ICMPv6MRD_Termination]).map(lambda kind: kind()),
    st.builds(lambda mac, addresses: ICMPv6ND_INDSol() / ICMPv6NDOptSrcLLAddr(lladdr=mac)
              / ICMPv6NDOptDstLLAddr(lladdr=mac) / ICMPv6NDOptSrcAddrList(addrlist=list(map(str, addresses))),
              MACS, SOME.filter(len)),
    st.builds(lambda mac, addresses: ICMPv6ND_INDAdv() / ICMPv6NDOptSrcLLAddr(lladdr=mac)
              / ICMPv6NDOptDstLLAddr(lladdr=mac) / ICMPv6NDOptTgtAddrList(addrlist=list(map(str, addresses))),
              MACS, SOME.filter(len)))
BETWEEN = st.sampled_from([
    lambda: None, lambda: IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]),
    lambda: IPv6ExtHdrHopByHop(options=[RouterAlert(value=0)]),
    lambda: IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))]), lambda: IPv6ExtHdrFragment(id=7)])
DISCOVERY = {kind().name for kind in (ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RS, ICMPv6ND_RA, ICMPv6ND_INDSol,
                                      ICMPv6ND_INDAdv)}


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
    if isinstance(extension, IPv6ExtHdrFragment) and inner.name in DISCOVERY:
        with pytest.raises(FragmentedDiscovery):
            parse(data)
        return
    read = parse(data)
    assert (read.ethernet.destination, read.ethernet.source) == (destination, source)
    assert read.ethernet.tag == (None if tag is None else tag & 0xEFFF)
    assert (read.ipv6.source, read.ipv6.destination, read.ipv6.hop_limit) == (src, dst, hops)
    assert len(read.ipv6.extensions) == (extension is not None)
    assert not isinstance(read.payload, (bytes, icmpv6.OtherMessage))
    assert not any(isinstance(option, options.OtherOption) for option in getattr(read.payload, "options", ()))
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
