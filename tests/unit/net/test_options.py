# SPDX-License-Identifier: Apache-2.0
"""Options of Router Advertisements and of Inverse Neighbor Discovery, and DNS names."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.net import names, options
from fip64agent.net.ipv6 import PacketError
from fip64agent.net.options import Nonce, OtherOption, SourceAddressList, TargetAddressList
from fip64agent.net.router_options import Dnssl, Pref64, Rdnss, RouteInformation
from tests.unit.net.strategies import NAMES

A = IPv6Address("2001:db8::1")


def read(kind, content):
    """Return the option with this content."""
    found, = options.parse(bytes((kind, (2 + len(content)) // 8)) + content)
    return found


@pytest.mark.parametrize("kind, content", [
    (24, bytes((129, 0)) + bytes(4 + 16)), (24, bytes((1, 0)) + bytes(4)),
    (24, bytes((65, 0)) + bytes(4 + 8)), (24, bytes((64, 0)) + bytes(4 + 24)),
    (25, bytes(6)), (25, bytes(6 + 8)), (25, bytes(6 + 24)),
    (31, bytes(6)), (31, bytes(6 + 8)), (31, bytes(6) + b"\x07example"), (31, bytes(6) + b"\x03a.b\0\0\0\0"),
    (31, bytes(6) + b"\x01a\xc0\x00\0\0\0\0"), (31, bytes(6) + b"\x01a\0\0\0\0\0\x01"),
    (38, bytes(6)), (38, bytes((0, 6)) + bytes(12)), (38, bytes(2 + 12 + 8)),
    (9, bytes(6)), (10, bytes(6 + 8))])
def test_an_option_that_is_not_formed_as_its_type_demands_is_not_read(kind, content):
    assert read(kind, content) == OtherOption(kind, content)


@pytest.mark.parametrize("option", [
    RouteInformation(A, 129, 0, 0), RouteInformation(A, 64, 256, 0), RouteInformation(A, 64, 0, 1 << 32),
    Rdnss(-1, (A,)), Rdnss(0, ()), Rdnss(0, (A,) * 128), TargetAddressList(()),
    Dnssl(0, ("a" * 63 + ".b",) * 40), Dnssl(0, ("",)),
    Dnssl(0, ()), Dnssl(0, ("a",) * 33),
    Pref64(A, 95, 8), Pref64(A, 96, 65_529), Pref64(A, 96, -1), Nonce(b"12345"),
    SourceAddressList((A,) * 128)])
def test_an_option_that_does_not_fit(option):
    with pytest.raises((PacketError, ValueError, options.struct.error)):
        options.build((option,))


@pytest.mark.parametrize("length, octets", [(0, 8), (1, 16), (64, 16), (65, 24), (128, 24)])
def test_a_route_takes_no_more_octets_than_its_prefix_needs(length, octets):
    """RFC 4191, section 2.3; the bits after the prefix are 0."""
    full = IPv6Address(2 ** 128 - 1)
    built = options.build((RouteInformation(full, length, 0, 600),))
    assert len(built) == octets
    found, = options.parse(built)
    assert int(found.prefix) == (2 ** 128 - 1) >> 128 - length << 128 - length


def test_bits_after_the_prefix_are_ignored():
    assert read(24, bytes((4, 0)) + bytes(4) + b"\xff" * 8).prefix == IPv6Address("f000::")
    assert read(38, bytes((0, 5)) + A.packed[:4] + b"\xff" * 8).prefix == IPv6Address("2001:db8::")


@pytest.mark.parametrize("seconds, sent", [(0, 0), (1, 8), (7, 8), (8, 8), (601, 608), (65_528, 65_528)])
def test_the_lifetime_of_a_nat64_prefix_is_rounded_up(seconds, sent):
    """RFC 8781, section 4.1: never down, as 0 would take the prefix away."""
    found, = options.parse(options.build((Pref64(IPv6Address("64:ff9b::"), 96, seconds),)))
    assert found.lifetime == sent


@pytest.mark.parametrize("length, code", [(96, 0), (64, 1), (56, 2), (48, 3), (40, 4), (32, 5)])
def test_prefix_length_codes_are_those_of_rfc_8781(length, code):
    built = options.build((Pref64(IPv6Address("64:ff9b::"), length, 0),))
    assert built[3] & 7 == code


@given(st.lists(NAMES, min_size=1, max_size=5), st.integers(0, 20))
def test_names_are_read_back(given_names, padding):
    encoded = b"".join(names.encode(name) for name in given_names)
    assert names.decode(encoded + bytes(padding)) == tuple(given_names)


@given(st.binary(max_size=300))
def test_arbitrary_octets_are_names_or_one_exception(data):
    try:
        found = names.decode(data)
    except PacketError:
        return
    assert names.decode(b"".join(map(names.encode, found))) == found


def test_a_dot_at_the_end_changes_nothing():
    assert names.encode("example.org.") == names.encode("example.org") == b"\x07example\x03org\0"


@pytest.mark.parametrize("name", ["", ".", "..", "a..b", "a b", "bücher.de", "a\n", "a\x7f", "a" * 64,
                                  ".".join(["a"] * 128)])
def test_what_is_no_name(name):
    with pytest.raises(PacketError, match="is no name of DNS"):
        names.encode(name)


def test_names_are_counted():
    assert len(names.decode(b"\x01a\0" * names.MOST)) == names.MOST
    with pytest.raises(PacketError, match="more than 32 names"):
        names.decode(b"\x01a\0" * (names.MOST + 1))


def test_the_longest_name():
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(names.encode(longest)) == names.LONGEST_NAME
    assert names.decode(names.encode(longest)) == (longest,)
    too_long = bytes([63]) + b"a" * 63
    with pytest.raises(PacketError):
        names.decode(too_long * 3 + bytes([62]) + b"b" * 62 + b"\0")
