# SPDX-License-Identifier: Apache-2.0
"""RFC 7915 section 5: IPv6 to IPv4. Expected packets are built by scapy."""

import pytest
from fip64core import (
    CLIENT4,
    CLIENT6,
    DROP,
    FIP6,
    FIXED4,
    OWN6,
    PASS,
    REFUSE,
    SEND_ERROR,
    conf,
    ones_sum,
    translate,
    verify,
)
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.packet import Raw


def v6(**fields):
    return IPv6(src=CLIENT6, dst=FIP6, **({"hlim": 64} | fields))


def v4(**fields):
    return IP(src=CLIENT4, dst=FIXED4, **({"ttl": 63, "id": 0x1234} | fields))


def same(outcome, expected):
    got = outcome.packet
    assert got.hex() == bytes(expected).hex(), IP(got).show2(dump=True)
    return got


@pytest.mark.parametrize(
    "l4",
    [
        UDP(sport=1000, dport=53) / b"payload",
        UDP(sport=1, dport=2),
        TCP(sport=1, dport=80, flags="S", options=[("MSS", 1440)]),
        TCP(sport=1, dport=80) / b"odd",
    ],
    ids=["udp", "udp-empty", "tcp-syn", "tcp-odd"],
)
def test_tcp_udp(l4):
    verify(same(translate(v6() / l4), v4() / l4))


@pytest.mark.parametrize("tc", [0, 1, 0xB8, 0xFF])
def test_traffic_class(tc):
    same(translate(v6(tc=tc, fl=0xFFFFF) / UDP()), v4(tos=tc) / UDP())
    same(translate(v6(tc=tc) / UDP(), conf(tos_mask_6to4=0)), v4(tos=0) / UDP())


def test_ttl_kept_when_caller_decrements():
    same(translate(v6(hlim=2) / UDP(), conf(ttl_dec=0)), v4(ttl=2) / UDP())
    same(translate(v6(hlim=2) / UDP()), v4(ttl=1) / UDP())


@pytest.mark.parametrize("hlim", [0, 1])
@pytest.mark.parametrize("dec", [0, 1])
def test_hop_limit_exceeded(hlim, dec):
    packet = v6(hlim=hlim) / UDP() / b"x"
    out = translate(packet, conf(ttl_dec=dec))
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "ttl-exceeded", (3, 0, 0))
    want = IPv6(src=OWN6, dst=CLIENT6, hlim=64) / Raw(b"\x03\0\0\0\0\0\0\0" + bytes(packet))
    want.nh = 58
    assert out.packets[0][:42] == bytes(want)[:42]
    assert out.packets[0][48:] == bytes(packet)
    verify(out.packets[0])


@pytest.mark.parametrize("size,df", [(1260, 0), (1261, 1), (1500, 1)])
def test_df(size, df):
    data = b"d" * (size - 28)
    same(translate(v6() / UDP() / data), v4(flags="DF" if df else 0) / UDP() / data)


@pytest.mark.parametrize(
    "size6,mtu4,mtu", [(1500, 1400, 1420), (1500, 1300, 1320), (1290, 1200, 1280), (1521, 1500, 1500)]
)
def test_too_big(size6, mtu4, mtu):
    out = translate(v6() / UDP() / (b"d" * (size6 - 48)), conf(mtu4=mtu4))
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "too-big", (2, 0, mtu))
    assert len(out.packets[0]) == 1280
    verify(out.packets[0])


def test_small_packet_is_fragmented_to_narrow_ipv4_link():
    data = bytes(range(256)) * 4
    out = translate(v6() / UDP(sport=7) / data, conf(mtu4=576))
    assert out.verdict == PASS and out.frag_mtu == 576
    whole = bytes(v4() / UDP(sport=7) / data)[20:]
    got = b""
    for n, p in enumerate(out.packets):
        ip = IP(p)
        assert len(p) <= 576 and ip.id == 0x1234 and ip.ttl == 63 and not ip.flags.DF
        assert ip.frag * 8 == len(got) and bool(ip.flags.MF) == (n < len(out.packets) - 1)
        verify(p)
        got += p[20:]
    assert got == whole


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("offset", [0, 100])
def test_small_fragment_is_fragmented_again_to_narrow_ipv4_link(offset, more):
    data = bytes(range(256)) * 4
    fragment = IPv6ExtHdrFragment(nh=99, id=0xABCD1234, offset=offset, m=more) / Raw(data)
    out = translate(v6() / fragment, conf(mtu4=576))
    assert out.verdict == PASS and out.frag_mtu == 576
    got = b""
    for n, p in enumerate(out.packets):
        ip = IP(p)
        assert len(p) <= 576 and ip.id == 0x1234 and not ip.flags.DF
        assert ip.frag == offset + len(got) // 8
        assert bool(ip.flags.MF) == bool(more or n < len(out.packets) - 1)
        verify(p)
        got += p[20:]
    assert got == data


@pytest.mark.parametrize("size,fragments", [(552, 1), (553, 2)])
def test_an_icmp_error_is_as_long_as_its_translation(size, fragments):
    """28 bytes for the IPv4 headers and 20 for the inner one: that counts, not what came in."""
    out = translate(error6(3, 0, 0, inner6(nh=99) / Raw(bytes(size))), conf(mtu4=600))
    assert out.verdict == PASS and len(out.packets) == fragments


@pytest.mark.parametrize(
    "headers",
    [
        IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]),
        IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)]),
        IPv6ExtHdrRouting(segleft=0, addresses=["2001:db8::1"]),
        IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(segleft=0) / IPv6ExtHdrDestOpt(),
    ],
    ids=["hbh", "dst", "routing0", "all"],
)
def test_extension_headers_skipped(headers):
    body = UDP(sport=5, dport=6) / b"abc"
    want = bytes(v4() / body)
    packet = v6() / headers / body
    packet[UDP].chksum = int.from_bytes(
        bytes(v6() / body)[46:48], "big"
    )  # independent of what scapy makes of RH
    same(translate(packet), want)


@pytest.mark.parametrize("before,pointer", [(b"", 43), (bytes([43, 0, 1, 4, 0, 0, 0, 0]), 51)])
def test_segments_left(before, pointer):
    routing = bytes([17, 0, 0, 1, 0, 0, 0, 0])
    packet = v6(nh=60 if before else 43) / Raw(before + routing + bytes(UDP()))
    out = translate(packet)
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "source-route", (4, 0, pointer))
    verify(out.packets[0])


@pytest.mark.parametrize("nh", [50, 51, 59, 47, 132, 99, 4, 41])
def test_other_protocols_untouched(nh):
    data = bytes(range(64))
    same(translate(v6(nh=nh) / Raw(data)), v4(proto=nh) / Raw(data))


@pytest.mark.parametrize("nh", [1, 2])
def test_ipv4_only_protocols_refused(nh):
    out = translate(v6(nh=nh) / Raw(bytes(64)))
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "untranslatable-protocol", (1, 1, 0))


@pytest.mark.parametrize("nh", [33, 136])
def test_dccp_udplite_checksum_adjusted(nh):
    raw = bytearray(bytes(UDP(sport=3, dport=4) / b"somedata"))
    packet6 = bytearray(bytes(v6(nh=nh) / Raw(bytes(raw))))
    packet6[46:48] = b"\0\0"
    body = bytes(packet6[40:])
    csum = 0xFFFF ^ ones_sum(
        bytes(packet6[8:40]) + len(body).to_bytes(4, "big") + nh.to_bytes(4, "big") + body
    )
    packet6[46:48] = csum.to_bytes(2, "big")
    verify(translate(packet6).packet)


def test_udp_without_checksum_stays_so():
    same(translate(v6() / UDP(chksum=0) / b"tunnel"), v4() / UDP(chksum=0) / b"tunnel")


@pytest.mark.parametrize(
    "offset,m,body",
    [(0, 1, UDP(sport=1, dport=2, chksum=0x5555) / (b"a" * 16)), (3, 1, b"b" * 24), (6, 0, b"c" * 5)],
    ids=["first", "middle", "last"],
)
def test_fragments(offset, m, body):
    body = Raw(body) if isinstance(body, bytes) else body
    packet = v6() / IPv6ExtHdrFragment(nh=17, offset=offset, m=m, id=0xDEADBEEF) / body
    out = translate(packet).packet
    want = bytearray(bytes(v4(id=0xBEEF, flags="MF" if m else 0, frag=offset, proto=17) / body))
    if offset == 0:  # adjusted by the addresses alone: whatever a whole packet's checksum changes by
        a = int.from_bytes(bytes(v6() / UDP(sport=1, dport=2))[46:48], "big")
        b = int.from_bytes(bytes(v4() / UDP(sport=1, dport=2))[26:28], "big")
        want[26:28] = ((0x5555 + b - a - 1) % 0xFFFF + 1).to_bytes(2, "big")
    assert out.hex() == bytes(want).hex()


def test_atomic_fragment():
    body = UDP(sport=1, dport=2) / b"atomic"
    want = v4(id=0x5678) / body
    packet = v6() / IPv6ExtHdrFragment(nh=17, offset=0, m=0, id=0x12345678) / body
    packet[UDP].chksum = int.from_bytes(bytes(v6() / body)[46:48], "big")
    same(translate(packet), want)


def test_large_fragment_has_no_df():
    out = translate(v6() / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=1) / Raw(b"f" * 1400)).packet
    assert not IP(out).flags.DF and IP(out).flags.MF


FRAGMENT_EXTENSION = pytest.mark.parametrize("nh", [0, 43, 44, 51, 60, 135, 139, 140])


@FRAGMENT_EXTENSION
@pytest.mark.parametrize("offset,more", [(0, 1), (0, 0), (4, 1), (4, 0)])
def test_extension_header_after_fragment_header(nh, offset, more):
    packet = v6() / IPv6ExtHdrFragment(nh=nh, offset=offset, m=more) / Raw(bytes(32))
    out = translate(packet)
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "fragment-extension-header", (1, 1, 0))
    assert out.packets[0][48:] == bytes(packet)
    verify(out.packets[0])


@FRAGMENT_EXTENSION
def test_hop_limit_before_the_extension_header_after_fragment_header(nh):
    out = translate(v6(hlim=1) / IPv6ExtHdrFragment(nh=nh, m=1) / Raw(bytes(32)))
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "ttl-exceeded", (3, 0, 0))


@pytest.mark.parametrize(
    "chain",
    [
        (60, b"\x3a\0" + bytes(6)),
        (51, b"\x3a\x02" + bytes(14)),
        (60, b"\x2c\0" + bytes(6) + b"\x3a\0" + bytes(6)),
        (0, (b"\x3c\1" + bytes(14)) + b"\x3a\0" + bytes(6)),
    ],
    ids=["options", "ah", "options-fragment", "two"],
)
@pytest.mark.parametrize("icmp_type,error", [(1, 0), (3, 0), (127, 0), (137, 0), (128, 1)])
def test_no_error_about_icmp_errors_behind_fragment_header(chain, icmp_type, error):
    """RFC 4443 section 2.4(e.1), however many headers are between."""
    nh, headers = chain
    body = headers + bytes([icmp_type, 0]) + bytes(30)
    out = translate(v6() / IPv6ExtHdrFragment(nh=nh, m=1) / Raw(body))
    assert (out.verdict, out.reason) == (SEND_ERROR if error else DROP, "fragment-extension-header")
    assert len(out.packets) == error


@pytest.mark.parametrize("contig,error", [(48, 1), (55, 1), (56, 1), (57, 0)])
def test_an_icmp_error_behind_fragment_header_that_cannot_be_seen(contig, error):
    body = b"\x3a\0" + bytes(6) + b"\x01\0" + bytes(30)
    out = translate(v6() / IPv6ExtHdrFragment(nh=60, m=1) / Raw(body), contig=contig)
    assert (out.verdict, out.reason) == (SEND_ERROR if error else DROP, "fragment-extension-header")


def later_fragment(size=32, nh=17, offset=181, m=1, **fields):
    return v6(**fields) / IPv6ExtHdrFragment(nh=nh, offset=offset, m=m, id=7) / Raw(bytes(size))


@pytest.mark.parametrize(
    "size,mtu4,mtu6,told",
    [(1448, 1400, 1500, 1420), (1440, 1280, 1500, 1300), (1240, 1200, 1500, 1280), (1448, 1400, 1410, 1410)],
)
@pytest.mark.parametrize("m", [0, 1])
def test_too_big_about_a_later_fragment(size, mtu4, mtu6, told, m):
    """Without it nothing would tell the sender: its first fragments may all be small."""
    packet = later_fragment(size, m=m)
    out = translate(packet, conf(mtu4=mtu4, mtu6=mtu6))
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "too-big", (2, 0, told))
    assert len(out.packets[0]) == 1280 and out.packets[0][48:] == bytes(packet)[:1232]
    verify(out.packets[0])


def test_what_the_sender_of_a_later_fragment_makes_of_too_big_fits():
    """As many bytes of the payload as fit into the MTU that it was told."""
    told = translate(later_fragment(1448), conf(mtu4=1400)).error[2]
    size = (told - 48) // 8 * 8
    out = translate(later_fragment(size), conf(mtu4=1400))
    assert out.verdict == PASS and out.frag_mtu == 0


@pytest.mark.parametrize("hlim", [0, 1])
@pytest.mark.parametrize("m", [0, 1])
def test_hop_limit_exceeded_by_a_later_fragment(hlim, m):
    packet = later_fragment(hlim=hlim, m=m)
    out = translate(packet)
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "ttl-exceeded", (3, 0, 0))
    assert out.packets[0][48:] == bytes(packet)
    verify(out.packets[0])


def test_segments_left_in_a_later_fragment():
    fragment = bytes([17, 0, 0, 80, 0, 0, 0, 7]) + bytes(32)
    packet = v6(nh=43) / Raw(bytes([44, 0, 0, 2, 0, 0, 0, 0]) + fragment)
    out = translate(packet)
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "source-route", (4, 0, 43))
    verify(out.packets[0])


def test_refused_later_fragment():
    out = translate(later_fragment(), flags=REFUSE)
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "no-mapping", (1, 1, 0))


@pytest.mark.parametrize("hlim,config", [(1, {}), (64, {"mtu4": 1300})], ids=["hop-limit", "too-big"])
def test_no_error_about_later_fragments_of_icmpv6(hlim, config):
    """They may be those of an error, which only the first one tells: RFC 4443 section 2.4(e.1)."""
    out = translate(later_fragment(1400, nh=58, hlim=hlim), conf(**config))
    assert (out.verdict, out.packets) == (DROP, [])


def test_esp_after_fragment_header():
    data = bytes(range(32))
    same(
        translate(v6() / IPv6ExtHdrFragment(nh=50, m=1, id=9) / Raw(data)),
        v4(proto=50, id=9, flags="MF") / Raw(data),
    )


def test_icmp_fragments_refused():
    first = translate(v6() / IPv6ExtHdrFragment(nh=58, m=1) / Raw(b"\x80" + bytes(31)))
    assert (first.verdict, first.reason, first.error) == (SEND_ERROR, "icmp-fragment", (1, 1, 0))
    later = translate(v6() / IPv6ExtHdrFragment(nh=58, offset=4) / Raw(bytes(32)))
    assert (later.verdict, later.reason) == (DROP, "icmp-fragment")


@pytest.mark.parametrize("l4,short", [(6, 19), (17, 7), (58, 7), (33, 7)])
def test_short_transport_header(l4, short):
    out = translate(v6() / IPv6ExtHdrFragment(nh=l4, m=1) / Raw(bytes(short)))
    assert (out.verdict, out.reason) == (DROP, "short-l4")


@pytest.mark.parametrize("data", [b"", b"x", b"ping" * 100])
@pytest.mark.parametrize("six,four", [(ICMPv6EchoRequest, 8), (ICMPv6EchoReply, 0)])
def test_echo(six, four, data):
    verify(
        same(translate(v6() / six(id=7, seq=9, data=data)), v4() / ICMP(type=four, id=7, seq=9) / Raw(data))
    )


def test_echo_reply_of_zeros():
    """All words zero: the one message whose checksum has to be 0xffff."""
    verify(same(translate(v6() / ICMPv6EchoReply(id=0, seq=0)), v4() / ICMP(type=0, id=0, seq=0)))


@pytest.mark.parametrize("icmp_type", [100, 127, *range(130, 140), 200, 255])
def test_icmp_types_dropped(icmp_type):
    out = translate(v6(nh=58) / Raw(bytes([icmp_type, 0, 0, 0]) + bytes(60)))
    assert (out.verdict, out.reason) == (DROP, "icmp-type")


def error6(type_, code, word, inner, ext=b""):
    packet = bytearray(
        bytes(v6(nh=58) / Raw(bytes([type_, code, 0, 0]) + word.to_bytes(4, "big") + bytes(inner) + ext))
    )
    body = bytes(packet[40:])
    csum = 0xFFFF ^ ones_sum(bytes(packet[8:40]) + len(body).to_bytes(4, "big") + b"\0\0\0\x3a" + body)
    packet[42:44] = csum.to_bytes(2, "big")
    return bytes(packet)


def inner6(**fields):
    return IPv6(src=FIP6, dst=CLIENT6, hlim=50, **fields)


def inner4(**fields):
    return IP(src=FIXED4, dst=CLIENT4, **({"ttl": 50, "id": 0} | fields))


def error4(type_, code, word, inner):
    body = bytes([type_, code, 0, 0]) + word.to_bytes(4, "big") + bytes(inner)
    body = body[:2] + (0xFFFF ^ ones_sum(body)).to_bytes(2, "big") + body[4:]
    return v4(proto=1) / Raw(body)


@pytest.mark.parametrize(
    "six,four",
    [
        ((1, 0, 0), (3, 1, 0)),
        ((1, 1, 0), (3, 10, 0)),
        ((1, 2, 0), (3, 1, 0)),
        ((1, 3, 0), (3, 1, 0)),
        ((1, 4, 0), (3, 3, 0)),
        ((3, 0, 0), (11, 0, 0)),
        ((3, 1, 0), (11, 1, 0)),
        ((4, 1, 6), (3, 2, 0)),
        ((2, 0, 1400), (3, 4, 1380)),
        ((2, 0, 9000), (3, 4, 1480)),
        ((2, 0, 1280), (3, 4, 1260)),
        ((2, 0, 0), (3, 4, 1260)),
        *(
            ((4, 0, p), (12, 0, q << 24))
            for p, q in [
                (0, 0),
                (1, 1),
                (4, 2),
                (5, 2),
                (6, 9),
                (7, 8),
                (8, 12),
                (23, 12),
                (24, 16),
                (39, 16),
            ]
        ),
    ],
)
def test_icmp_errors(six, four):
    body = UDP(sport=53, dport=1000) / b"quoted"
    verify(same(translate(error6(*six, inner6(tc=3) / body)), error4(*four, inner4(tos=3) / body)))


@pytest.mark.parametrize(
    "mtu4,mtu6,told,want",
    [(1500, 1500, 1500, 1480), (1400, 1500, 1500, 1400), (9000, 1500, 9000, 1480), (1500, 1400, 1500, 1380)],
)
def test_too_big_takes_smallest_mtu(mtu4, mtu6, told, want):
    packet = error6(2, 0, told, inner6() / UDP())
    same(translate(packet, conf(mtu4=mtu4, mtu6=mtu6)), error4(3, 4, want, inner4() / UDP()))


def test_too_big_about_fragment():
    inner = (
        inner6()
        / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=0xABCD)
        / UDP(sport=1, dport=2, chksum=0)
        / b"d"
    )
    got = same(
        translate(error6(2, 0, 1400, inner)),
        error4(
            3,
            4,
            1372,
            inner4(id=0xABCD, flags="MF", len=29, proto=17) / UDP(sport=1, dport=2, chksum=0) / b"d",
        ),
    )
    verify(got)


@pytest.mark.parametrize(
    "type_,code,word,reason",
    [
        (1, 5, 0, "icmp-code"),
        (1, 255, 0, "icmp-code"),
        (4, 2, 0, "icmp-code"),
        (4, 3, 0, "icmp-code"),
        (4, 0, 2, "icmp-pointer"),
        (4, 0, 3, "icmp-pointer"),
        (4, 0, 40, "icmp-pointer"),
        (4, 0, 1 << 31, "icmp-pointer"),
    ],
)
def test_icmp_errors_dropped(type_, code, word, reason):
    out = translate(error6(type_, code, word, inner6() / UDP()))
    assert (out.verdict, out.reason) == (DROP, reason)


@pytest.mark.parametrize("keep", [0, 1, 6, 7, 8, 16, 17, 18, 20, 30])
@pytest.mark.parametrize(
    "l4", [TCP(sport=80, dport=1) / (b"t" * 100), UDP(sport=80, dport=1) / (b"t" * 100)], ids=["tcp", "udp"]
)
def test_truncated_inner(l4, keep):
    six, four = bytes(inner6() / l4), bytearray(bytes(inner4() / l4))
    at = 16 if isinstance(l4, TCP) else 6
    if keep < at + 2:  # a checksum that is not wholly there stays as it is
        four[20 + at : 20 + at + 2] = six[40 + at : 40 + at + 2]
    verify(same(translate(error6(1, 4, 0, six[: 40 + keep])), error4(3, 3, 0, four[: 20 + keep])))


def test_inner_df_by_size():
    six, four = inner6() / UDP() / (b"x" * 1400), inner4(flags="DF") / UDP() / (b"x" * 1400)
    same(translate(error6(2, 0, 1300, bytes(six)[:1232])), error4(3, 4, 1280, bytes(four)[:1212]))


@pytest.mark.parametrize("six,four", [(ICMPv6EchoRequest, 8), (ICMPv6EchoReply, 0)])
def test_inner_echo(six, four):
    packet = error6(1, 3, 0, inner6() / six(id=3, seq=4, data=b"abcdef"))
    same(translate(packet), error4(3, 1, 0, inner4() / ICMP(type=four, id=3, seq=4) / b"abcdef"))


def test_inner_later_fragment_and_extension_headers():
    inner = inner6() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(nh=6, offset=100, m=0, id=5) / Raw(b"z" * 64)
    same(
        translate(error6(3, 1, 0, inner)), error4(11, 1, 0, inner4(id=5, frag=100, proto=6) / Raw(b"z" * 64))
    )


@pytest.mark.parametrize(
    "inner,reason",
    [
        (inner6() / ICMPv6DestUnreach() / (IPv6() / UDP()), "inner-icmp"),
        (inner6() / ICMPv6PacketTooBig(), "inner-icmp"),
        (inner6(nh=58) / Raw(b"\x85" + bytes(20)), "inner-icmp"),
        (inner6(nh=1) / Raw(bytes(20)), "inner-untranslatable"),
        (inner6() / IPv6ExtHdrRouting(segleft=1, addresses=["::1"]) / UDP(), "inner-untranslatable"),
        (b"", "inner-bad"),
        (b"\x60" + bytes(38), "inner-bad"),
        (b"\x45" + bytes(60), "inner-bad"),
        (bytes(inner6(nh=0) / Raw(b"\0\0"))[:41], "inner-bad"),
    ],
)
def test_inner_refused(inner, reason):
    out = translate(error6(1, 0, 0, inner))
    assert (out.verdict, out.reason) == (DROP, reason)


@pytest.mark.parametrize("ext", [b"\x20\0\0\0" + bytes(8), b"\x20\0\0\0" + bytes(40)])
def test_rfc4884_extension(ext):
    six = bytes(inner6() / UDP(sport=1, dport=2) / (b"q" * 80))
    quoted = six.ljust(128, b"\0")
    four = bytes(inner4() / UDP(sport=1, dport=2) / (b"q" * 80)).ljust(128, b"\0")
    packet = error6(3, 0, (len(quoted) // 8) << 24, quoted, ext)
    verify(same(translate(packet), error4(11, 0, 32 << 16, four + ext)))


def test_rfc4884_longer_quote():
    six = bytes(inner6() / UDP(sport=1, dport=2) / (b"q" * 152))
    assert len(six) == 200
    four = bytes(inner4() / UDP(sport=1, dport=2) / (b"q" * 152))
    verify(same(translate(error6(1, 0, 25 << 24, six, b"EXTE")), error4(3, 1, 45 << 16, four + b"EXTE")))


def test_damage_stays_visible():
    """Incremental checksums: a packet that was broken does not come out valid."""
    for packet in (
        v6() / UDP() / b"data",
        v6() / ICMPv6EchoRequest(data=b"data"),
        error6(1, 4, 0, inner6() / UDP() / b"data"),
    ):
        raw = bytearray(bytes(packet))
        raw[-1] ^= 1
        with pytest.raises(AssertionError):
            verify(translate(raw).packet)


@pytest.mark.parametrize(
    "packet",
    [
        v6(plen=100) / UDP(),
        v6(nh=0) / Raw(b"\x11\x05" + bytes(6)),
        v6(nh=0) / Raw(b"\x11"),
    ],
    ids=["payload-length", "header-length", "cut-header"],
)
def test_malformed(packet):
    out = translate(packet)
    assert out.verdict == DROP and out.reason in ("truncated", "bad-header")


def test_wrong_version():
    assert translate(bytes(v4() / UDP() / bytes(40)), version=6).reason == "bad-version"


def test_link_padding_trimmed():
    same(translate(bytes(v6() / UDP() / b"1") + b"\0" * 9), v4() / UDP() / b"1")


def test_fragment_beyond_64k():
    out = translate(v6() / IPv6ExtHdrFragment(nh=17, offset=8191, m=0) / Raw(bytes(100)))
    assert (out.verdict, out.reason) == (DROP, "bad-fragment")


def test_too_many_extension_headers():
    out = translate(
        v6(nh=60)
        / Raw((bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 8) + bytes([17, 0, 1, 4, 0, 0, 0, 0]) + bytes(UDP()))
    )
    assert (out.verdict, out.reason) == (DROP, "too-many-extension-headers")


@pytest.mark.parametrize(
    "packet",
    [
        error6(1, 0, 0, inner6() / UDP()),
        v6(nh=44) / Raw(b"\x3a\0\x00\x08\0\0\0\0" + bytes(40)),
        IPv6(src="::", dst=FIP6) / UDP() / bytes(20),
        IPv6(src="ff02::1", dst=FIP6) / UDP() / bytes(20),
        IPv6(src=CLIENT6, dst="ff02::1") / UDP() / bytes(20),
    ],
    ids=["icmp-error", "later-icmp-fragment", "unspecified", "multicast-source", "multicast"],
)
def test_no_error_about(packet):
    raw = bytearray(bytes(packet))
    raw[7] = 1
    out = translate(raw)
    assert (out.verdict, out.reason, out.packets) == (DROP, "ttl-exceeded", [])


def test_refuse():
    out = translate(v6() / UDP(), flags=REFUSE)
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "no-mapping", (1, 1, 0))
    assert translate(error6(1, 0, 0, inner6() / UDP()), flags=REFUSE).verdict == DROP


@pytest.mark.parametrize(
    "packet",
    [
        v6() / UDP() / bytes(1300),
        v6() / ICMPv6EchoRequest(data=b"e" * 1300),
        error6(3, 0, 0, inner6() / UDP(sport=4) / bytes(1000)),
    ],
    ids=["udp", "echo", "error"],
)
def test_only_the_front_is_needed(packet):
    """Payload in further buffers is never looked at."""
    assert translate(packet, contig=256) == translate(packet)


@pytest.mark.parametrize("contig,reason", [(39, "not-linear"), (47, "not-linear"), (95, "not-linear")])
def test_not_linear(contig, reason):
    assert translate(error6(3, 0, 0, inner6() / UDP() / bytes(100)), contig=contig).reason == reason


def test_udp_checksum_that_becomes_zero():
    """All ones on the wire, as zero means none."""
    base = int.from_bytes(bytes(v4() / UDP(sport=0) / b"\0\0")[26:28], "big")
    body = UDP(sport=0) / base.to_bytes(2, "big")  # makes the sum all ones
    got = same(translate(v6() / body), v4() / body)
    assert got[26:28] == b"\xff\xff"


def test_inner_beyond_the_first_buffer():
    packet = error6(1, 4, 0, inner6() / TCP() / bytes(50))
    assert translate(packet, contig=104).reason == "not-linear"
    assert translate(packet, contig=106).verdict == PASS
    packet = error6(1, 4, 0, inner6() / ICMPv6EchoRequest(data=bytes(20)))
    assert translate(packet, contig=91).reason == "not-linear"
    assert translate(packet, contig=92).verdict == PASS


def test_inner_extension_header_after_fragment_header():
    out = translate(error6(1, 4, 0, inner6() / IPv6ExtHdrFragment(nh=60) / Raw(bytes(32))))
    assert (out.verdict, out.reason) == (DROP, "inner-untranslatable")


@pytest.mark.parametrize(
    "contig,reason", [(40, "not-linear"), (47, "not-linear"), (56, "not-linear"), (64, "ok")]
)
def test_extension_headers_beyond_the_first_buffer(contig, reason):
    packet = v6() / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))]) / UDP() / bytes(50)
    assert translate(packet, contig=contig).reason == reason


@pytest.mark.parametrize("contig,reason", [(48, "not-linear"), (63, "not-linear"), (64, "ok")])
def test_extension_headers_of_any_protocol_beyond_the_first_buffer(contig, reason):
    """Nothing behind them is looked at, but the new header is written in front of it."""
    packet = v6() / IPv6ExtHdrDestOpt(nh=50, options=[PadN(optdata=bytes(20))]) / Raw(bytes(50))
    assert translate(packet, contig=contig).reason == reason


@pytest.mark.parametrize("plen,want", [(1400, 1420), (65515, 65535), (65535, 65535)])
def test_inner_total_length(plen, want):
    got = translate(error6(2, 0, 1400, bytes(inner6(plen=plen, nh=99)) + bytes(100))).packet
    assert int.from_bytes(got[30:32], "big") == want


@pytest.mark.parametrize(
    "icmp_type,error", [(1, 0), (2, 0), (4, 0), (100, 0), (127, 0), (137, 0), (128, 1), (129, 1)]
)
def test_no_error_about_icmp_errors(icmp_type, error):
    out = translate(v6(nh=58, hlim=1) / Raw(bytes([icmp_type, 0, 0, 0]) + bytes(30)))
    assert (out.verdict, len(out.packets)) == (SEND_ERROR if error else DROP, error)


@pytest.mark.parametrize("contig,reason", [(48, "not-linear"), (59, "not-linear"), (60, "ok")])
def test_tcp_header_beyond_the_first_buffer(contig, reason):
    out = translate(v6() / TCP() / bytes(50), contig=contig)
    assert out.reason == reason and out.inline == (reason == "ok")


@pytest.mark.parametrize(
    "offset,size,reason",
    [
        (65496, 19, "ok"),
        (65496, 20, "bad-fragment"),
        (65504, 8, "ok"),
        (65504, 11, "ok"),
        (65504, 12, "bad-fragment"),
        (65512, 3, "ok"),
        (65512, 4, "bad-fragment"),
        (65512, 8, "bad-fragment"),
        (65520, 0, "bad-fragment"),
        (65520, 15, "bad-fragment"),
        (65528, 7, "bad-fragment"),
        (65528, 8, "bad-fragment"),
    ],
)
@pytest.mark.parametrize("nh", [17, 99])
def test_fragment_ends_at_64k(offset, size, nh, reason):
    """The header of the whole packet is 20 bytes of its 65,535, and IPv6 does not count its own."""
    for m in (0, 1) if size % 8 == 0 else (0,):
        out = translate(v6() / IPv6ExtHdrFragment(nh=nh, offset=offset // 8, m=m) / Raw(bytes(size)))
        assert out.reason == reason
        assert (out.verdict, len(out.packets)) == ((PASS, 1) if reason == "ok" else (DROP, 0))


def test_fragment_ends_at_64k_behind_extension_headers():
    """They do not become part of the IPv4 packet."""
    fragment = IPv6ExtHdrFragment(nh=99, offset=65504 // 8)
    for size, reason in ((11, "ok"), (12, "bad-fragment")):
        assert translate(v6() / IPv6ExtHdrDestOpt() / fragment / Raw(bytes(size))).reason == reason


@pytest.mark.parametrize("size,reason", [(11, "ok"), (12, "inner-bad")])
def test_inner_fragment_ends_at_64k(size, reason):
    inner = inner6() / IPv6ExtHdrFragment(nh=99, offset=65504 // 8) / Raw(bytes(size))
    assert translate(error6(3, 0, 0, inner)).reason == reason
