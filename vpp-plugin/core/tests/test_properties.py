# SPDX-License-Identifier: Apache-2.0
"""What must hold for any packet: valid checksums and lengths, and the way there and back is the identity
wherever RFC 7915 loses nothing."""

import pytest
from fip64core import CLIENT4, CLIENT6, DROP, FIP6, FIXED4, PASS, conf, ones_sum, translate, verify
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

PORT = st.integers(0, 65535)
BYTE = st.integers(0, 255)
# Zeros and 0xff bytes find the corners of one's complement sums.
DATA = st.one_of(
    st.binary(max_size=200), st.integers(0, 1180).map(bytes), st.integers(0, 1180).map(lambda n: b"\xff" * n)
)
TRANSPORT = st.one_of(
    st.builds(lambda s, d, data: UDP(sport=s, dport=d) / Raw(data), PORT, PORT, DATA),
    st.builds(
        lambda s, d, q, data: TCP(sport=s, dport=d, seq=q) / Raw(data),
        PORT,
        PORT,
        st.integers(0, 2**32 - 1),
        DATA,
    ),
)
SMALL = settings(max_examples=300, deadline=None)


def client6(**fields):
    return IPv6(src=CLIENT6, dst=FIP6, **fields)


def client4(**fields):
    return IP(src=CLIENT4, dst=FIXED4, **fields)


@SMALL
@given(l4=TRANSPORT, tc=BYTE, hlim=st.integers(3, 255))
def test_6to4_equals_scapy_and_back(l4, tc, hlim):
    packet = bytes(client6(tc=tc, hlim=hlim) / l4)
    four = translate(packet, ident=99).packet
    verify(four)
    assert four == bytes(client4(tos=tc, ttl=hlim - 1, id=99, flags="DF" if len(four) > 1260 else 0) / l4)
    assert translate(four, conf(ttl_dec=0)).packet == bytes(client6(tc=tc, hlim=hlim - 1) / l4)


@SMALL
@given(l4=TRANSPORT, tos=BYTE, ttl=st.integers(3, 255), ident=PORT)
def test_4to6_equals_scapy_and_back(l4, tos, ttl, ident):
    packet = bytes(IP(src=FIXED4, dst=CLIENT4, tos=tos, ttl=ttl, id=ident) / l4)
    six = translate(packet).packet
    verify(six)
    assert six == bytes(IPv6(src=FIP6, dst=CLIENT6, tc=tos, hlim=ttl - 1) / l4)
    assert translate(six, conf(ttl_dec=0), ident=ident).packet == bytes(
        IP(src=FIXED4, dst=CLIENT4, tos=tos, ttl=ttl - 1, id=ident) / l4
    )


@SMALL
@given(ident=PORT, seq=PORT, data=DATA)
def test_echo_there_and_back(ident, seq, data):
    packet = bytes(client6(hlim=9) / ICMPv6EchoRequest(id=ident, seq=seq, data=data))
    four = translate(packet, conf(ttl_dec=0)).packet
    verify(four)
    assert translate(four, conf(ttl_dec=0)).packet == packet


@SMALL
@given(
    offset=st.integers(0, 8191),
    more=st.booleans(),
    ident=st.integers(0, 65535),
    data=st.binary(min_size=8, max_size=300),
    proto=st.sampled_from([6, 17, 132, 47, 50]),
)
def test_fragments_there_and_back(offset, more, ident, data, proto):
    packet = bytearray(
        bytes(client6(hlim=9) / IPv6ExtHdrFragment(nh=proto, offset=offset, m=more, id=ident) / Raw(data))
    )
    out = translate(packet, conf(ttl_dec=0))
    if out.verdict == DROP:
        if out.reason == "bad-fragment":
            assert 20 + 8 * offset + len(data) > 65535
        else:
            assert out.reason == "short-l4" and offset == 0
        return
    back = translate(out.packet, conf(ttl_dec=0))
    if offset == 0 and not more:  # RFC 7915 drops the header of atomic fragments
        if back.verdict == PASS:
            assert back.packet[6] == proto
        return
    if offset == 0 and proto == 17 and data[6:8] in (b"\0\0", b"\xff\xff"):
        return  # no checksum: not translatable to IPv6 (test_udp_zero_checksum_fragments)
    if offset == 0 and proto == 6 and data[16:18] == b"\xff\xff":
        return  # the other zero
    assert back.packet.hex() == bytes(packet).hex()


def error6(type_, code, word, quoted):
    body = bytes([type_, code, 0, 0]) + word.to_bytes(4, "big") + quoted
    packet = bytearray(bytes(client6(nh=58, hlim=9) / Raw(body)))
    csum = 0xFFFF ^ ones_sum(bytes(packet[8:40]) + len(body).to_bytes(4, "big") + b"\0\0\0\x3a" + body)
    packet[42:44] = csum.to_bytes(2, "big")
    return bytes(packet)


# ICMPv6 errors whose type, code and word survive the way to IPv4 and back.
LOSSLESS = st.one_of(
    st.just((1, 4, 0)),
    st.sampled_from([(3, 0, 0), (3, 1, 0)]),
    st.just((4, 1, 6)),
    st.integers(1280, 1500).map(lambda mtu: (2, 0, mtu)),
    st.sampled_from([0, 1, 4, 6, 7, 8, 24]).map(lambda p: (4, 0, p)),
)


@SMALL
@given(header=LOSSLESS, l4=TRANSPORT, hlim=BYTE, tc=BYTE, cut=st.integers(40, 1220))
def test_icmp_errors_there_and_back(header, l4, hlim, tc, cut):
    quoted = bytes(IPv6(src=FIP6, dst=CLIENT6, hlim=hlim, tc=tc) / l4)[:cut]
    packet = error6(*header, quoted)
    four = translate(packet, conf(ttl_dec=0)).packet
    verify(four)
    assert translate(four, conf(ttl_dec=0)).packet.hex() == packet.hex()


@SMALL
@given(
    l4=TRANSPORT,
    ext=st.binary(min_size=4, max_size=40).map(lambda b: b[: len(b) // 4 * 4]),
    words=st.integers(16, 60),
)
def test_rfc4884_stays_valid(l4, ext, words):
    quoted = bytes(IPv6(src=FIP6, dst=CLIENT6) / l4).ljust(8 * words, b"\0")[: 8 * words]
    packet = error6(3, 0, words << 24, quoted + ext)
    four = translate(packet).packet
    verify(four)
    length = 4 * four[25]
    assert length >= 128 and four[28 + length :] == ext
    six = translate(four).packet
    verify(six)
    length = 8 * six[44]
    assert length >= 128 and six[48 + length :] == ext


@SMALL
@given(
    head=st.sampled_from([b"\x60", b"\x45", b"\x4f"]),
    rest=st.binary(max_size=300),
    contig=st.integers(0, 300),
)
def test_any_bytes(head, rest, contig):
    """Never anything but one of the three verdicts; what comes out has right lengths. See also fuzz/."""
    out = translate(head + rest, contig=contig)
    for packet in out.packets:
        if packet[0] >> 4 == 4:
            assert int.from_bytes(packet[2:4], "big") == len(packet)
        else:
            assert int.from_bytes(packet[4:6], "big") == len(packet) - 40


@SMALL
@given(size=st.integers(0, 3000), mtu4=st.integers(68, 1500), mtu6=st.integers(1280, 1500), data=st.data())
def test_fragments_are_the_whole(size, mtu4, mtu6, data):
    """The fragments are the packet, in order, without gap or overlap, within the MTU."""
    payload = bytes(n % 251 for n in range(size))
    if data.draw(st.booleans()):
        out = translate(client6() / UDP() / payload, conf(mtu4=mtu4))
        limit, header, at = mtu4, 20, lambda p: 8 * IP(p).frag
    else:
        out = translate(IP(src=FIXED4, dst=CLIENT4) / UDP() / payload, conf(mtu6=mtu6, lowest_ipv6_mtu=1400))
        limit, header, at = min(1400, mtu6), 48, lambda p: 8 * IPv6(p)[IPv6ExtHdrFragment].offset
    if out.verdict != PASS or not out.frag_mtu:
        return
    assert out.frag_mtu == limit
    got = b""
    for p in out.packets:
        assert len(p) <= limit and at(p) == len(got)
        got += p[header:]
    assert got[8:] == payload


def test_martians():
    from ipaddress import IPv4Address, IPv6Address

    from fip64core import LIB

    for address, bad in [
        ("0.0.0.0", 1),
        ("0.1.2.3", 1),
        ("127.0.0.1", 1),
        ("224.0.0.1", 1),
        ("255.255.255.255", 1),
        ("240.0.0.1", 1),
        ("10.0.0.1", 0),
        ("1.0.0.1", 0),
        ("223.255.255.255", 0),
        ("169.254.0.0", 1),
        ("169.254.1.1", 1),
        ("169.254.255.255", 1),
        ("169.253.255.255", 0),
        ("169.255.0.0", 0),
        ("254.169.0.1", 1),
        ("1.169.254.1", 0),
    ]:
        assert LIB.shim_martian4(IPv4Address(address).packed) == bad, address
    for address, bad in [
        ("::", 1),
        ("::1", 1),
        ("::1.2.3.4", 1),
        ("::ffff:1.2.3.4", 1),
        ("ff02::1", 1),
        ("fe80::1", 1),
        ("febf::1", 1),
        ("fec0::1", 0),
        ("2001:db8::1", 0),
        ("fd00::1", 0),
        ("64:ff9b::1", 0),
    ]:
        assert LIB.shim_martian6(IPv6Address(address).packed) == bad, address


def test_ip4_header_ok():
    from fip64core import LIB

    packet = bytearray(bytes(client4() / ICMP()))
    assert LIB.shim_ip4_header_ok(bytes(packet), 20) == 1
    assert LIB.shim_ip4_header_ok(bytes(packet), 19) == 0
    packet[8] ^= 1
    assert LIB.shim_ip4_header_ok(bytes(packet), 28) == 0


@pytest.mark.parametrize(
    "packet,inline",
    [
        (client6() / UDP(), True),
        (client6() / TCP(), True),
        (client6() / UDP(chksum=0), True),
        (client6() / UDP() / bytes(1000), True),
        (client6() / IPv6ExtHdrFragment(nh=17) / UDP(), False),
        (client6() / ICMPv6EchoRequest(), False),
        (client4() / UDP(), True),
        (client4() / TCP(), True),
        (client4(flags="DF") / TCP() / bytes(1440), True),
        (client4() / UDP(chksum=0), False),
        (client4(flags="MF") / UDP(), False),
        (client4(options=[IPOption_NOP()]) / UDP(), False),
        (client4() / UDP() / bytes(1300), False),
    ],
)
def test_inline_path_is_taken(packet, inline):
    """Wherever both paths apply they agree (translate() compares); here: that the fast one is used at all."""
    raw = bytes(packet)
    out = translate(raw, contig=60 if raw[0] >> 4 == 6 else 40)
    assert (out.verdict, out.inline) == (PASS, inline)
