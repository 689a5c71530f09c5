# SPDX-License-Identifier: Apache-2.0
"""Router Advertisements from what a router advertises, as scapy reads them."""

import dataclasses
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptMTU, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr
from scapy.layers.l2 import Ether

from fip64agent.net.advertising import Advertising, leaving, messages
from fip64agent.net.icmpv6 import (
    MANAGED,
    OTHER_CONFIGURATION,
    PREFERENCE_HIGH,
    PREFERENCE_LOW,
    PREFERENCE_MEDIUM,
    RouterAdvertisement,
)
from fip64agent.net.ipv6 import ICMPV6, IPv6, PacketError
from fip64agent.net.options import AUTONOMOUS, ON_LINK, Mtu, PrefixInformation, SourceLinkLayerAddress
from fip64agent.net.packet import Ethernet, Packet, build, parse
from fip64agent.net.router_options import Dnssl, Pref64, Rdnss, RouteInformation
from tests.unit.net.strategies import ADDRESSES, MACS, NAMES, NAT64_PREFIXES, ROUTES, U8, U16, U32

MAC = "fa:16:3e:00:00:fe"
PREFIX = PrefixInformation(IPv6Address("2001:db8::"), 64, ON_LINK | AUTONOMOUS, 86_400, 14_400)
ROUTE = RouteInformation(IPv6Address("2001:db8:9::"), 48, PREFERENCE_LOW, 600)
SERVERS = (IPv6Address("2001:db8::53"), IPv6Address("2001:db8::54"))
NAT64 = Pref64(IPv6Address("64:ff9b::"), 96, 600)
ALL = Advertising(MAC, 1800, True, True, PREFERENCE_HIGH, 64, 30_000, 1_000, (PREFIX,), 1450, (ROUTE,),
                  SERVERS, 600, ("example.org.", "test"), 700, (NAT64,))
ADVERTISED = st.builds(
    Advertising, MACS, U16, st.booleans(), st.booleans(),
    st.sampled_from([PREFERENCE_HIGH, PREFERENCE_MEDIUM, PREFERENCE_LOW]), U8, U32, U32,
    st.lists(st.builds(PrefixInformation, ADDRESSES, U8, U8, U32, U32), max_size=60).map(tuple),
    st.none() | st.integers(1280, 9000), st.lists(ROUTES, max_size=5).map(tuple),
    st.integers(0, 300).map(lambda count: tuple(IPv6Address(number) for number in range(count))), U32,
    st.lists(NAMES, max_size=12).map(tuple), U32, st.lists(NAT64_PREFIXES, max_size=3).map(tuple))


def packet_of(message):
    header = IPv6(IPv6Address("fe80::1"), IPv6Address("ff02::1"), ICMPV6, 255)
    return build(Packet(Ethernet("33:33:00:00:00:01", MAC), header, message))


def test_all_that_there_is_in_one_message():
    assert messages(ALL, 1500) == (RouterAdvertisement(
        64, MANAGED | OTHER_CONFIGURATION | PREFERENCE_HIGH, 1800, 30_000, 1_000,
        (SourceLinkLayerAddress(MAC), Mtu(1450), PREFIX, ROUTE, Rdnss(600, SERVERS),
         Dnssl(700, ("example.org.", "test")), NAT64)),)


def test_the_least_that_there_is():
    assert messages(Advertising(MAC), 1280) == (
        RouterAdvertisement(64, 0, 1800, 0, 0, (SourceLinkLayerAddress(MAC),)),)


def test_as_scapy_reads_it():
    message, = messages(ALL, 1500)
    packet = Ether(packet_of(message))
    found = packet[ICMPv6ND_RA]
    assert (found.M, found.O, found.prf, found.routerlifetime, found.chlim) == (1, 1, 1, 1800, 64)
    assert (packet[ICMPv6NDOptSrcLLAddr].lladdr, packet[ICMPv6NDOptMTU].mtu) == (MAC, 1450)
    prefix = packet[ICMPv6NDOptPrefixInfo]
    assert (prefix.L, prefix.A, prefix.prefix, prefix.prefixlen, prefix.validlifetime) == (
        1, 1, "2001:db8::", 64, 86_400)


@pytest.mark.parametrize("preference, number",
                         [(PREFERENCE_HIGH, 1), (PREFERENCE_MEDIUM, 0), (PREFERENCE_LOW, 3)])
def test_preferences_are_those_of_rfc_4191(preference, number):
    message, = messages(dataclasses.replace(ALL, preference=preference), 1500)
    assert Ether(packet_of(message))[ICMPv6ND_RA].prf == number
    message, = messages(dataclasses.replace(ALL, preference=preference, router_lifetime=0), 1500)
    assert Ether(packet_of(message))[ICMPv6ND_RA].prf == 0


@given(ADVERTISED, st.sampled_from([1280, 1281, 1500, 9000, 65_535]))
def test_what_does_not_fit_into_one_message_is_in_several(advertising, link_mtu):
    found = messages(advertising, link_mtu)
    read = []
    for message in found:
        data = packet_of(message)
        assert len(data) - 14 <= link_mtu
        assert parse(data).payload == message
        assert dataclasses.replace(message, options=()) == dataclasses.replace(found[0], options=())
        own = message.options
        assert own[0] == SourceLinkLayerAddress(advertising.mac)
        assert advertising.mtu is None or own[1] == Mtu(advertising.mtu)
        read += own[1 if advertising.mtu is None else 2:]
    kinds = {kind: [option for option in read if isinstance(option, kind)]
             for kind in (PrefixInformation, RouteInformation, Rdnss, Dnssl, Pref64)}
    assert tuple(kinds[PrefixInformation]) == advertising.prefixes
    assert tuple(kinds[RouteInformation]) == advertising.routes
    assert tuple(kinds[Pref64]) == advertising.nat64_prefixes
    assert sum((option.addresses for option in kinds[Rdnss]), ()) == advertising.dns_servers
    assert sum((option.names for option in kinds[Dnssl]), ()) == advertising.search_domains
    assert {option.lifetime for option in kinds[Rdnss]} <= {advertising.dns_servers_lifetime}
    assert {option.lifetime for option in kinds[Dnssl]} <= {advertising.search_domains_lifetime}
    assert sum(map(len, kinds.values())) == len(read)


def test_no_more_messages_than_needed():
    """1,280 - 40 - 16 - 8 octets: there is room for 38 prefixes of 32 octets, but 32 options are the most."""
    assert len(messages(Advertising(MAC, prefixes=(PREFIX,) * 31), 1280)) == 1
    assert len(messages(Advertising(MAC, prefixes=(PREFIX,) * 32), 1280)) == 2
    servers = tuple(IPv6Address(number) for number in range(76))
    assert len(messages(Advertising(MAC, dns_servers=servers[:75]), 1280)) == 1
    assert len(messages(Advertising(MAC, dns_servers=servers), 1280)) == 2


def test_leaving():
    """RFC 4861, section 6.2.5. The prefix is the link's and stays."""
    message, = messages(leaving(ALL), 1500)
    assert (message.lifetime, message.flags) == (0, MANAGED | OTHER_CONFIGURATION)
    assert message.options[2:] == (
        PREFIX, dataclasses.replace(ROUTE, lifetime=0), Rdnss(0, SERVERS),
        Dnssl(0, ("example.org.", "test")), dataclasses.replace(NAT64, lifetime=0))


@pytest.mark.parametrize("changes", [
    {"mac": "none"}, {"mtu": -1}, {"prefixes": (dataclasses.replace(PREFIX, length=256),)},
    {"routes": (dataclasses.replace(ROUTE, length=129),)}, {"dns_servers_lifetime": 1 << 32},
    {"search_domains": ("a..b",)}, {"nat64_prefixes": (dataclasses.replace(NAT64, lifetime=70_000),)},
    {"router_lifetime": 0x10000}, {"hop_limit": 256}])
def test_a_value_that_does_not_fit_is_one_exception(changes):
    with pytest.raises(PacketError):
        for message in messages(dataclasses.replace(ALL, **changes), 1500):
            packet_of(message)


def test_a_link_that_ipv6_does_not_work_on():
    with pytest.raises(PacketError, match="a link with an MTU of 1279"):
        messages(ALL, 1279)


def test_a_search_list_of_any_number_of_names():
    many = Advertising(MAC, search_domains=("a",) * 200)
    message, = messages(many, 1500)
    assert [len(option.names) for option in message.options[1:]] == [32] * 6 + [8]
