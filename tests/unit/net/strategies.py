# SPDX-License-Identifier: Apache-2.0
"""Packets of all kinds that our codec reads and builds, for hypothesis."""

from ipaddress import IPv6Address

from hypothesis import strategies as st

from fip64agent.net import icmpv6, inverse, ipv6, mld, multicast_router, options, router_options
from fip64agent.net.ipv6 import Extension, IPv6
from fip64agent.net.packet import Ethernet, Packet, Udp

U8, U16, U32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
MACS = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
ADDRESSES = st.integers(0, 2 ** 128 - 1).map(IPv6Address)
DATA = st.binary(max_size=64)
UNITS = st.integers(0, 4).flatmap(lambda more: st.binary(min_size=6 + 8 * more, max_size=6 + 8 * more))
READ = {1, 2, 3, 5, 9, 10, 14, 24, 25, 31, 38}
"""Types of the options that are read."""
SOME = st.lists(ADDRESSES, max_size=4).map(tuple)
LABELS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="."), min_size=1,
                 max_size=63)
NAMES = st.lists(LABELS, min_size=1, max_size=6).map(".".join).filter(lambda name: len(name) <= 253)


def prefix(address, length):
    """Return the address with its first `length` bits only."""
    return IPv6Address(int(address) >> 128 - length << 128 - length)


ROUTES = st.builds(lambda address, length, *others: router_options.RouteInformation(
    prefix(address, length), length, *others), ADDRESSES, st.integers(0, 128), U8, U32)
NAT64_PREFIXES = st.builds(lambda address, length, scaled: router_options.Pref64(
    prefix(address, length), length, 8 * scaled), ADDRESSES, st.sampled_from([32, 40, 48, 56, 64, 96]),
    st.integers(0, 8191))
OPTIONS = st.lists(st.one_of(
    st.builds(options.SourceLinkLayerAddress, MACS), st.builds(options.TargetLinkLayerAddress, MACS),
    st.builds(options.PrefixInformation, ADDRESSES, U8, U8, U32, U32), st.builds(options.Mtu, U32),
    st.builds(options.Nonce, UNITS), st.builds(options.SourceAddressList, SOME.filter(len)),
    st.builds(options.TargetAddressList, SOME.filter(len)), ROUTES, NAT64_PREFIXES,
    st.builds(router_options.Rdnss, U32, SOME.filter(len)),
    st.builds(router_options.Dnssl, U32, st.lists(NAMES, min_size=1, max_size=3).map(tuple)),
    st.builds(options.OtherOption, U8.filter(lambda kind: kind not in READ), UNITS)), max_size=6).map(tuple)
READ_TYPES = {1, 2, 3, 4, 128, 129, 130, 131, 132, 133, 134, 135, 136, 141, 142, 143, 151, 152, 153}
DELAYS = st.integers(0, 0x7FFF) | st.builds(lambda mantissa, exponent: (mantissa | 0x1000) << exponent + 3,
                         st.integers(0, 0xFFF), st.integers(0, 7))
"""Milliseconds that a query of MLDv2 can state; the same for seconds of intervals."""
INTERVALS = st.integers(0, 127) | st.builds(lambda mantissa, exponent: (mantissa | 0x10) << exponent + 3,
                                            st.integers(0, 15), st.integers(0, 7))
QUERIES = st.builds(mld.QueryV2, DELAYS, ADDRESSES,
                    st.booleans(), st.integers(0, 7), INTERVALS, SOME)
REPORTS = st.builds(mld.ReportV2, st.lists(st.builds(mld.Record, U8, ADDRESSES, SOME), max_size=4).map(tuple))
MESSAGES = st.one_of(
    st.builds(icmpv6.Echo, st.booleans(), U16, U16, DATA),
    st.builds(icmpv6.NeighborSolicitation, ADDRESSES, OPTIONS),
    st.builds(icmpv6.NeighborAdvertisement, ADDRESSES, U32, OPTIONS),
    st.builds(icmpv6.RouterSolicitation, OPTIONS),
    st.builds(icmpv6.RouterAdvertisement, U8, U8, U16, U32, U32, OPTIONS),
    st.builds(icmpv6.Error, st.integers(1, 4), U8, U32, DATA),
    st.builds(mld.Query, U16, ADDRESSES), st.builds(mld.Report, ADDRESSES), st.builds(mld.Done, ADDRESSES),
    QUERIES, REPORTS,
    st.builds(multicast_router.MulticastRouterAdvertisement, U8, U16, U16),
    st.just(multicast_router.MulticastRouterSolicitation()),
    st.just(multicast_router.MulticastRouterTermination()),
    st.builds(inverse.InverseSolicitation, OPTIONS), st.builds(inverse.InverseAdvertisement, OPTIONS),
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
    st.builds(Packet, ETHERNET, headers(st.sampled_from([17, 58, 60, 44]), st.tuples(FRAGMENT_OF_SOME)),
              DATA),
    st.builds(Packet, st.builds(Ethernet, MACS, MACS, st.sampled_from([0x0800, 0x0806, 0x88CC]), TAGS),
              st.none(), DATA))
