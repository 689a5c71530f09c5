# SPDX-License-Identifier: Apache-2.0
"""Our codec beside scapy, both ways."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
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

from fip64agent.net import icmpv6, inverse, mld, multicast_router, options, router_options
from fip64agent.net.ipv6 import FragmentedDiscovery
from fip64agent.net.packet import Packet, build, parse
from tests.unit.net.strategies import (
    ADDRESSES,
    DATA,
    ETHERNET,
    MACS,
    MESSAGES,
    NAMES,
    NAT64_PREFIXES,
    QUERIES,
    REPORTS,
    ROUTES,
    SOME,
    TAGS,
    U8,
    U16,
    U32,
    headers,
)


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


def scapy_records(report):
    """Yield the records of an MLDv2 report: scapy takes one that follows another for the payload of that."""
    for record in report.records:
        while isinstance(record, ICMPv6MLDMultAddrRec):
            yield record
            record = record.payload


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
                         for each in scapy_records(inner)) == message.records
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
