# SPDX-License-Identifier: Apache-2.0
"""RFC 7915 section 4: IPv4 to IPv6. Expected packets are built by scapy."""

import pytest
from fip64core import (
    CLIENT4,
    CLIENT6,
    DROP,
    FIP6,
    FIXED4,
    NO_HEADROOM,
    OWN4,
    PASS,
    REFUSE,
    SEND_ERROR,
    conf,
    ones_sum,
    translate,
    verify,
)
from scapy.layers.inet import (
    ICMP,
    IP,
    TCP,
    UDP,
    IPOption_LSRR,
    IPOption_NOP,
    IPOption_RR,
    IPOption_SSRR,
)
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw


def v4(**fields):
    return IP(src=FIXED4, dst=CLIENT4, **({"ttl": 64, "id": 0x4321} | fields))


def v6(**fields):
    return IPv6(src=FIP6, dst=CLIENT6, **({"hlim": 63} | fields))


def same(outcome, expected):
    got = outcome.packet
    assert got.hex() == bytes(expected).hex(), IPv6(got).show2(dump=True)
    return got


def reassemble(outcome, limit, ident):
    """The whole packet again, after checking each fragment."""
    assert outcome.verdict == PASS and len(outcome.packets) > 1
    got, proto = b"", None
    for n, p in enumerate(outcome.packets):
        verify(p)
        ip = IPv6(p)
        frag = ip[IPv6ExtHdrFragment]
        assert len(p) <= limit and frag.id == ident and frag.offset * 8 == len(got)
        assert frag.m == (n < len(outcome.packets) - 1)
        proto = frag.nh
        got += p[48:]
    head = bytearray(outcome.packets[0][:40])
    head[4:6] = len(got).to_bytes(2, "big")
    head[6] = proto
    return bytes(head) + got


@pytest.mark.parametrize("flags", ["", "DF"])
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
def test_tcp_udp(l4, flags):
    verify(same(translate(v4(flags=flags) / l4), v6() / l4))


@pytest.mark.parametrize("tos", [0, 1, 0xB8, 0xFF])
def test_tos(tos):
    same(translate(v4(tos=tos) / UDP()), v6(tc=tos, fl=0) / UDP())
    same(translate(v4(tos=tos) / UDP(), conf(tos_mask_4to6=0)), v6(tc=0) / UDP())


@pytest.mark.parametrize("ttl", [0, 1])
@pytest.mark.parametrize("dec", [0, 1])
def test_ttl_exceeded(ttl, dec):
    packet = v4(ttl=ttl) / UDP() / b"x"
    out = translate(packet, conf(ttl_dec=dec))
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "ttl-exceeded", (11, 0, 0))
    same_error(out, 11, 0, 0, packet)


def same_error(out, type_, code, word, packet):
    body = bytes([type_, code, 0, 0]) + word.to_bytes(4, "big") + bytes(packet)[:548]
    body = body[:2] + (0xFFFF ^ ones_sum(body)).to_bytes(2, "big") + body[4:]
    want = IP(src=OWN4, dst=FIXED4, ttl=64, tos=0xC0, id=0, proto=1) / Raw(body)
    assert out.packets[0].hex() == bytes(want).hex()


def test_ttl_kept_when_caller_decrements():
    same(translate(v4(ttl=2) / UDP(), conf(ttl_dec=0)), v6(hlim=2) / UDP())


@pytest.mark.parametrize("mtu6,size,mtu4", [(1500, 1481, 1480), (1500, 1500, 1480), (1280, 1300, 1260)])
def test_df_fragmentation_needed(mtu6, size, mtu4):
    packet = v4(flags="DF") / UDP() / (b"d" * (size - 28))
    out = translate(packet, conf(mtu6=mtu6))
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "too-big", (3, 4, mtu4))
    assert len(out.packets[0]) == 576
    same_error(out, 3, 4, mtu4, packet)


def test_df_fits_exactly():
    data = b"d" * 1452
    same(translate(v4(flags="DF") / UDP() / data), v6() / UDP() / data)


def test_df_on_fragment_counts_fragment_header():
    out = translate(v4(flags="DF+MF", proto=99) / Raw(bytes(1456)))
    assert (out.verdict, out.error) == (SEND_ERROR, (3, 4, 1472))
    assert translate(v4(flags="DF+MF", proto=99) / Raw(bytes(1448))).verdict == PASS


@pytest.mark.parametrize("lowest,mtu6,limit", [(1280, 1500, 1280), (1400, 1500, 1400), (9000, 1500, 1500)])
@pytest.mark.parametrize(
    "l4",
    [
        UDP(sport=5) / bytes(range(200)) / bytes(1300),
        UDP(sport=5, chksum=0) / bytes(1453),
        TCP(sport=5) / bytes(1460),
    ],
    ids=["udp", "udp-zero", "tcp"],
)
def test_fragmented_without_df(l4, lowest, mtu6, limit):
    out = translate(v4() / l4, conf(lowest_ipv6_mtu=lowest, mtu6=mtu6))
    l4 = l4.copy()
    del l4.chksum
    got = reassemble(out, limit, 0x4321)
    assert got.hex() == bytes(v6() / l4).hex()
    verify(got)


def test_no_fragment_header_when_it_fits():
    same(translate(v4() / UDP() / bytes(1232)), v6() / UDP() / bytes(1232))
    assert len(translate(v4() / UDP() / bytes(1233)).packets) == 2
    same(translate(v4() / UDP() / bytes(1300), conf(lowest_ipv6_mtu=1500)), v6() / UDP() / bytes(1300))


def test_echo_is_fragmented_after_translation():
    got = reassemble(translate(v4() / ICMP(type=8, id=1, seq=2) / bytes(1400)), 1280, 0x4321)
    assert got.hex() == bytes(v6() / ICMPv6EchoRequest(id=1, seq=2, data=bytes(1400))).hex()


@pytest.mark.parametrize(
    "frag,mf,body", [(0, 1, bytes(64)), (3, 1, b"b" * 24), (6, 0, b"c" * 5)], ids=["first", "middle", "last"]
)
def test_fragments(frag, mf, body):
    packet = v4(proto=99, frag=frag, flags="MF" if mf else "") / Raw(body)
    same(translate(packet), v6() / IPv6ExtHdrFragment(nh=99, offset=frag, m=mf, id=0x4321) / Raw(body))


@pytest.mark.parametrize("l4", [UDP(sport=1, dport=2), TCP(sport=1, dport=2)])
def test_first_fragment_checksum(l4):
    """The sum of the whole packet, of which this is the first part."""
    data = bytes(range(256)) * 8
    four, six = bytes(v4() / l4 / data), bytes(v6() / l4 / data)
    part = four[20 : 20 + 800]
    packet = v4(proto=four[9], flags="MF") / Raw(part)
    same(translate(packet), v6() / IPv6ExtHdrFragment(nh=four[9], m=1, id=0x4321) / Raw(six[40:840]))


def test_large_fragment_is_fragmented_again():
    body = bytes(range(240)) * 6
    out = translate(v4(proto=99, frag=10, flags="MF") / Raw(body))
    got = b""
    for p in out.packets:
        f = IPv6(p)[IPv6ExtHdrFragment]
        assert (f.offset - 10) * 8 == len(got) and (f.m, f.id, f.nh) == (1, 0x4321, 99) and len(p) <= 1280
        got += p[48:]
    assert got == body and len(out.packets) == 2


@pytest.mark.parametrize(
    "options",
    [
        [IPOption_NOP()],
        [IPOption_RR(routers=["0.0.0.0"] * 9)],
        [IPOption_LSRR(routers=["1.2.3.4"], pointer=8)],
        [IPOption_NOP(), IPOption_SSRR(routers=["1.2.3.4", "1.2.3.5"], pointer=12)],
    ],
    ids=["nop", "record-route", "lsrr-expired", "ssrr-expired"],
)
def test_options_ignored(options):
    body = UDP() / b"abc"
    packet = v4(options=options) / body
    # scapy sums the last hop of any source route; in an expired one the destination is it
    packet[UDP].chksum = int.from_bytes(bytes(v4() / body)[26:28], "big")
    same(translate(packet), v6() / body)


@pytest.mark.parametrize(
    "raw",
    [b"\x44\x00\x00\x00", b"\x44\x28\x05\x00", b"\x01\x01\x01\x44", b"\x00\x83\x07\x04"],
    ids=["length-0", "beyond", "cut", "after-end-of-list"],
)
def test_broken_options_ignored(raw):
    packet = bytearray(bytes(v4(options=[IPOption_NOP()] * 4) / UDP() / b"abc"))
    packet[20:24] = raw
    same(translate(packet), v6() / UDP() / b"abc")


@pytest.mark.parametrize(
    "options",
    [
        [IPOption_LSRR(routers=["1.2.3.4"])],
        [IPOption_SSRR(routers=["1.2.3.4"])],
        [IPOption_NOP(), IPOption_LSRR(routers=["1.2.3.4", "1.2.3.5"], pointer=8)],
    ],
)
def test_source_route(options):
    packet = v4(options=options) / UDP()
    out = translate(packet)
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "source-route", (3, 5, 0))
    same_error(out, 3, 5, 0, packet)


@pytest.mark.parametrize("raw", [b"\x83\x02\x00\x00", b"\x89\x30\x04\x00", b"\x01\x01\x01\x83"])
def test_broken_source_route_is_refused(raw):
    packet = bytearray(bytes(v4(options=[IPOption_NOP()] * 4) / UDP()))
    packet[20:24] = raw
    assert translate(packet).reason == "source-route"


@pytest.mark.parametrize("proto", [50, 51, 59, 47, 132, 99, 4, 41])
def test_other_protocols_untouched(proto):
    data = bytes(range(64))
    same(translate(v4(proto=proto) / Raw(data)), v6(nh=proto) / Raw(data))


@pytest.mark.parametrize("proto", [0, 43, 44, 58, 60])
def test_ipv6_only_protocols_refused(proto):
    out = translate(v4(proto=proto) / Raw(bytes(64)))
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "untranslatable-protocol", (3, 13, 0))


def test_igmp_dropped():
    out = translate(v4(proto=2) / Raw(bytes(8)))
    assert (out.verdict, out.reason) == (DROP, "igmp")


@pytest.mark.parametrize("proto", [33, 136])
def test_dccp_udplite_checksum_adjusted(proto):
    packet = bytearray(bytes(v4(proto=proto) / Raw(bytes(range(40)))))
    packet[26:28] = b"\0\0"
    body = bytes(packet[20:])
    csum = 0xFFFF ^ ones_sum(bytes(packet[12:20]) + bytes([0, proto, 0, len(body)]) + body)
    packet[26:28] = csum.to_bytes(2, "big")
    verify(translate(packet).packet)


@pytest.mark.parametrize("data", [b"", b"x", b"data" * 100])
def test_udp_zero_checksum_is_computed(data):
    verify(same(translate(v4() / UDP(sport=5, chksum=0) / data), v6() / UDP(sport=5) / data))


def test_udp_zero_checksum_dropped_if_configured():
    out = translate(v4() / UDP(chksum=0) / b"abc", conf(udp_zero_drop=1))
    assert (out.verdict, out.reason) == (DROP, "udp-zero-checksum")


def test_udp_zero_checksum_fragments():
    first = translate(v4(flags="MF") / UDP(chksum=0) / bytes(16))
    assert (first.verdict, first.reason) == (DROP, "udp-zero-checksum-fragment")
    assert translate(v4(frag=3, proto=17) / Raw(bytes(16))).verdict == PASS


@pytest.mark.parametrize("length", [0, 7, 100])
def test_udp_zero_checksum_with_wrong_length(length):
    out = translate(v4() / UDP(chksum=0, len=length) / b"abc")
    assert (out.verdict, out.reason) == (DROP, "bad-header")


def test_udp_zero_checksum_needs_the_whole_packet():
    assert translate(v4() / UDP(chksum=0) / bytes(1000), contig=256).reason == "not-linear"


def test_icmp_fragments_refused():
    first = translate(v4(flags="MF") / ICMP() / bytes(16))
    assert (first.verdict, first.reason, first.error) == (SEND_ERROR, "icmp-fragment", (3, 13, 0))
    assert translate(v4(frag=2, proto=1) / bytes(16)).verdict == DROP


@pytest.mark.parametrize("data", [b"", b"x", b"ping" * 100])
@pytest.mark.parametrize("six,four", [(ICMPv6EchoRequest, 8), (ICMPv6EchoReply, 0)])
def test_echo(six, four, data):
    verify(same(translate(v4() / ICMP(type=four, id=7, seq=9) / data), v6() / six(id=7, seq=9, data=data)))


def test_echo_reply_of_zeros():
    verify(same(translate(v4() / ICMP(type=0, id=0, seq=0)), v6() / ICMPv6EchoReply(id=0, seq=0)))


@pytest.mark.parametrize("icmp_type", [1, 2, 4, 5, 6, 7, 9, 10, *range(13, 45), 128, 129, 255])
def test_icmp_types_dropped(icmp_type):
    out = translate(v4(proto=1) / Raw(bytes([icmp_type, 0, 0, 0]) + bytes(60)))
    assert (out.verdict, out.reason) == (DROP, "icmp-type")


def error4(type_, code, word, inner, ext=b"", **fields):
    body = bytes([type_, code, 0, 0]) + word.to_bytes(4, "big") + bytes(inner) + ext
    body = body[:2] + (0xFFFF ^ ones_sum(body)).to_bytes(2, "big") + body[4:]
    return bytes(v4(proto=1, **fields) / Raw(body))


def error6(type_, code, word, inner):
    packet = bytearray(
        bytes(v6(nh=58) / Raw(bytes([type_, code, 0, 0]) + word.to_bytes(4, "big") + bytes(inner)))
    )
    body = bytes(packet[40:])
    csum = 0xFFFF ^ ones_sum(bytes(packet[8:40]) + len(body).to_bytes(4, "big") + b"\0\0\0\x3a" + body)
    packet[42:44] = csum.to_bytes(2, "big")
    return bytes(packet)


def inner4(**fields):
    return IP(src=CLIENT4, dst=FIXED4, **({"ttl": 50, "id": 77} | fields))


def inner6(**fields):
    return IPv6(src=CLIENT6, dst=FIP6, hlim=50, **fields)


UNREACHABLE = {
    0: (1, 0),
    1: (1, 0),
    2: (4, 1),
    3: (1, 4),
    5: (1, 0),
    6: (1, 0),
    7: (1, 0),
    8: (1, 0),
    9: (1, 1),
    10: (1, 1),
    11: (1, 0),
    12: (1, 0),
    13: (1, 1),
    15: (1, 1),
}


@pytest.mark.parametrize(
    "four,six",
    [
        *(((3, code, 0), (*want, 6 if want[0] == 4 else 0)) for code, want in UNREACHABLE.items()),
        ((11, 0, 0), (3, 0, 0)),
        ((11, 1, 0), (3, 1, 0)),
        *(
            ((12, code, p << 24), (4, 0, q))
            for code in (0, 2)
            for p, q in [(0, 0), (1, 1), (2, 4), (3, 4), (8, 7), (9, 6), (12, 8), (15, 8), (16, 24), (19, 24)]
        ),
    ],
)
def test_icmp_errors(four, six):
    body = UDP(sport=53, dport=1000) / b"quoted"
    verify(same(translate(error4(*four, inner4(tos=3) / body)), error6(*six, inner6(tc=3) / body)))


@pytest.mark.parametrize(
    "type_,code,word,reason",
    [
        *((3, code, 0, "icmp-code") for code in (14, 16, 255)),
        (12, 1, 0, "icmp-code"),
        (12, 3, 0, "icmp-code"),
        *((12, 0, p << 24, "icmp-pointer") for p in (4, 5, 6, 7, 10, 11, 20, 255)),
    ],
)
def test_icmp_errors_dropped(type_, code, word, reason):
    out = translate(error4(type_, code, word, inner4() / UDP()))
    assert (out.verdict, out.reason) == (DROP, reason)


@pytest.mark.parametrize(
    "told,mtu4,mtu6,want",
    [
        (1400, 1500, 1500, 1420),
        (576, 1500, 1500, 1280),
        (1260, 1500, 1500, 1280),
        (1261, 1500, 1500, 1281),
        (9000, 1500, 1500, 1500),
        (1500, 1400, 1500, 1420),
        (1500, 9000, 1300, 1300),
        (65535, 65535, 65535, 65535),
    ],
)
def test_fragmentation_needed(told, mtu4, mtu6, want):
    packet = error4(3, 4, told, inner4() / UDP())
    same(translate(packet, conf(mtu4=mtu4, mtu6=mtu6)), error6(2, 0, want, inner6() / UDP()))


@pytest.mark.parametrize(
    "total,want",
    [
        (65535, 32020),
        (32000, 17934),
        (9000, 8186),
        (8166, 4372),
        (4352, 2022),
        (2002, 1512),
        (1500, 1512),
        (1493, 1512),
        (1492, 1280),
        (1300, 1280),
        (60, 1280),
    ],
)
def test_plateau(total, want):
    packet = error4(3, 4, 0, bytes(inner4(len=total) / UDP(len=total - 20, chksum=1))[:28])
    got = translate(packet, conf(mtu4=65535, mtu6=65535)).packet
    assert int.from_bytes(got[44:48], "big") == want
    verify(got)


@pytest.mark.parametrize("keep", [0, 1, 6, 7, 8, 16, 17, 18, 20, 30])
@pytest.mark.parametrize(
    "l4", [TCP(sport=80, dport=1) / (b"t" * 100), UDP(sport=80, dport=1) / (b"t" * 100)], ids=["tcp", "udp"]
)
def test_truncated_inner(l4, keep):
    four, six = bytes(inner4() / l4), bytearray(bytes(inner6() / l4))
    at = 16 if isinstance(l4, TCP) else 6
    if keep < at + 2:
        six[40 + at : 40 + at + 2] = four[20 + at : 20 + at + 2]
    verify(same(translate(error4(3, 3, 0, four[: 20 + keep])), error6(1, 4, 0, six[: 40 + keep])))


@pytest.mark.parametrize("six,four", [(ICMPv6EchoRequest, 8), (ICMPv6EchoReply, 0)])
def test_inner_echo(six, four):
    packet = error4(3, 1, 0, inner4() / ICMP(type=four, id=3, seq=4) / b"abcdef")
    same(translate(packet), error6(1, 0, 0, inner6() / six(id=3, seq=4, data=b"abcdef")))


def test_inner_fragments():
    first = error4(3, 3, 0, inner4(flags="MF", proto=17) / UDP(sport=1, dport=2, chksum=0) / bytes(8))
    same(
        translate(first),
        error6(
            1,
            4,
            0,
            inner6() / IPv6ExtHdrFragment(nh=17, m=1, id=77) / UDP(sport=1, dport=2, chksum=0) / bytes(8),
        ),
    )
    later = error4(11, 1, 0, inner4(frag=100, proto=6) / Raw(b"z" * 64))
    same(
        translate(later),
        error6(3, 1, 0, inner6() / IPv6ExtHdrFragment(nh=6, offset=100, id=77) / Raw(b"z" * 64)),
    )


def test_inner_options_skipped():
    packet = error4(3, 3, 0, inner4(options=[IPOption_RR(routers=["1.1.1.1"] * 4)]) / UDP(sport=9) / b"q")
    same(translate(packet), error6(1, 4, 0, inner6() / UDP(sport=9) / b"q"))


def test_inner_udp_without_checksum():
    packet = error4(3, 3, 0, inner4() / UDP(sport=9, chksum=0) / b"q")
    same(translate(packet), error6(1, 4, 0, inner6() / UDP(sport=9, chksum=0) / b"q"))


@pytest.mark.parametrize(
    "inner,reason",
    [
        (inner4() / ICMP(type=3) / (IP() / UDP()), "inner-icmp"),
        (inner4() / ICMP(type=13), "inner-icmp"),
        (inner4(proto=2) / Raw(bytes(8)), "inner-untranslatable"),
        (inner4(proto=44) / Raw(bytes(8)), "inner-untranslatable"),
        (inner4(proto=58) / Raw(bytes(8)), "inner-untranslatable"),
        (b"", "inner-bad"),
        (b"\x45" + bytes(18), "inner-bad"),
        (b"\x60" + bytes(60), "inner-bad"),
        (b"\x44" + bytes(60), "inner-bad"),
        (bytes(inner4(len=19) / UDP()), "inner-bad"),
        (bytes(inner4() / ICMP())[:23], "inner-bad"),
    ],
)
def test_inner_refused(inner, reason):
    out = translate(error4(3, 0, 0, inner))
    assert (out.verdict, out.reason) == (DROP, reason)


def quoted(size):
    """The same packet in both families, with size bytes of IPv4."""
    body = UDP(sport=1, dport=2) / (b"q" * (size - 28))
    return bytes(inner4() / body), bytes(inner6() / body)


@pytest.mark.parametrize("size,pad", [(128, 4), (132, 0), (200, 4), (540, 0)])
@pytest.mark.parametrize("ext", [b"\x20\0\0\0" + bytes(8), b"E" * 13])
@pytest.mark.parametrize("kind4,kind6", [((11, 0), (3, 0)), ((3, 3), (1, 4))], ids=["time", "unreachable"])
def test_rfc4884_extension(size, pad, ext, kind4, kind6):
    four, six = quoted(size)
    six += bytes(pad)
    packet = error4(*kind4, (len(four) // 4) << 16, four, ext)
    verify(same(translate(packet), error6(*kind6, (len(six) // 8) << 24, six + ext)))


def test_rfc4884_extension_cut_for_types_that_cannot_carry_it():
    four, six = quoted(128)
    same(translate(error4(3, 4, 32 << 16 | 1400, four, bytes(12))), error6(2, 0, 1420, six))
    same(translate(error4(12, 0, 9 << 24 | 32 << 16, four, bytes(12))), error6(4, 0, 6, six))
    same(translate(error4(3, 2, 32 << 16, four, bytes(12))), error6(4, 1, 6, six))


def test_rfc4884_extension_without_room_is_cut_whole():
    four, six = quoted(1000)
    packet = error4(11, 0, 250 << 16, four, bytes(300))
    same(translate(packet), error6(3, 0, 0, six))


@pytest.mark.parametrize("claimed", [1, 31, 200])
def test_rfc4884_nonsense_length_ignored(claimed):
    four, six = quoted(160)
    same(translate(error4(11, 0, claimed << 16, four)), error6(3, 0, 0, six))


@pytest.mark.parametrize("size", [1212, 1213, 1214, 1300, 1452])
def test_error_is_cut_to_1280(size):
    four, six = quoted(size)
    got = same(translate(error4(3, 3, 0, four)), error6(1, 4, 0, six[:1232]))
    assert len(got) == min(1280, 48 + len(six))
    verify(got)


def test_cutting_needs_the_whole_packet():
    four, _ = quoted(1400)
    assert translate(error4(3, 3, 0, four), contig=256).reason == "not-linear"
    four, _ = quoted(160)
    assert translate(error4(11, 0, 40 << 16, four, b"EXTE"), contig=190).reason == "not-linear"


def test_damage_stays_visible():
    """Also where the message is cut: the sum of what is cut comes off, it is not made new."""
    for packet in (
        v4() / UDP() / b"data",
        v4() / ICMP() / b"data",
        error4(3, 3, 0, quoted(200)[0]),
        error4(3, 3, 0, quoted(1400)[0]),
    ):
        raw = bytearray(bytes(packet))
        raw[-1] ^= 1
        with pytest.raises(AssertionError):
            verify(translate(raw).packet)


@pytest.mark.parametrize(
    "change,reason",
    [
        ((0, 0x44), "bad-header"),
        ((0, 0x4F), "bad-header"),
        ((3, 19), "bad-header"),
        ((3, 99), "truncated"),
        ((0, 0x65), "bad-version"),
    ],
)
def test_malformed(change, reason):
    raw = bytearray(bytes(v4() / UDP() / b"0123456789"))
    raw[change[0]] = change[1]
    out = translate(raw, version=4)
    assert (out.verdict, out.reason) == (DROP, reason)


def test_link_padding_trimmed():
    same(translate(bytes(v4() / UDP() / b"1") + b"\0" * 17), v6() / UDP() / b"1")


@pytest.mark.parametrize("proto,size", [(6, 19), (17, 7), (1, 7), (136, 7)])
def test_short_transport_header(proto, size):
    out = translate(v4(proto=proto, flags="MF") / Raw(bytes(size)))
    assert (out.verdict, out.reason) == (DROP, "short-l4")


def test_fragment_beyond_64k():
    out = translate(v4(proto=99, frag=8191) / Raw(bytes(100)))
    assert (out.verdict, out.reason) == (DROP, "bad-fragment")


@pytest.mark.parametrize(
    "packet",
    [
        error4(3, 0, 0, inner4() / UDP()),
        v4(frag=1, proto=17) / Raw(bytes(20)),
        IP(src="0.0.0.0", dst=CLIENT4) / UDP(),
        IP(src="127.0.0.1", dst=CLIENT4) / UDP(),
        IP(src="224.0.0.1", dst=CLIENT4) / UDP(),
        IP(src=FIXED4, dst="224.0.0.1") / UDP(),
        IP(src=FIXED4, dst="255.255.255.255") / UDP(),
    ],
    ids=[
        "icmp-error",
        "later-fragment",
        "this-host",
        "loopback",
        "multicast-source",
        "multicast",
        "broadcast",
    ],
)
def test_no_error_about(packet):
    raw = bytearray(bytes(packet))
    raw[8] = 1
    out = translate(raw)
    assert (out.verdict, out.reason, out.packets) == (DROP, "ttl-exceeded", [])


def test_refuse():
    out = translate(v4() / UDP(), flags=REFUSE)
    assert (out.verdict, out.reason, out.error) == (SEND_ERROR, "no-mapping", (3, 13, 0))
    assert translate(error4(3, 0, 0, inner4() / UDP()), flags=REFUSE).verdict == DROP


def test_no_headroom():
    out = translate(v4() / UDP(), flags=NO_HEADROOM)
    assert (out.verdict, out.reason) == (DROP, "no-headroom")


@pytest.mark.parametrize(
    "packet",
    [
        v4() / UDP(sport=1) / bytes(1000),
        v4(flags="DF") / TCP() / bytes(1400),
        v4() / ICMP() / bytes(1400),
        error4(11, 0, 0, inner4() / UDP(sport=4) / bytes(1000)),
        v4() / UDP(sport=1) / bytes(1400),
    ],
    ids=["udp", "tcp", "echo-fragmented", "error", "udp-fragmented"],
)
def test_only_the_front_is_needed(packet):
    assert translate(packet, contig=256) == translate(packet)


def test_udp_checksum_that_becomes_zero():
    """All ones on the wire: in IPv6 zero is not allowed."""
    base = int.from_bytes(bytes(v6() / UDP(sport=0) / b"\0\0")[46:48], "big")
    body = UDP(sport=0) / base.to_bytes(2, "big")
    got = same(translate(v4() / body), v6() / body)
    assert got[46:48] == b"\xff\xff"
    zero = UDP(sport=0, chksum=0) / base.to_bytes(2, "big")
    assert translate(v4() / zero).packet == got


@pytest.mark.parametrize("contig,reason", [(19, "not-linear"), (27, "not-linear"), (28, "ok")])
def test_beyond_the_first_buffer(contig, reason):
    assert translate(v4() / UDP() / bytes(50), contig=contig).reason == reason


@pytest.mark.parametrize(
    "icmp_type,error", [(3, 0), (4, 0), (5, 0), (11, 0), (12, 0), (8, 1), (0, 1), (13, 1), (42, 1)]
)
def test_no_error_about_icmp_errors(icmp_type, error):
    out = translate(v4(proto=1, ttl=1) / Raw(bytes([icmp_type, 0, 0, 0]) + bytes(30)))
    assert (out.verdict, len(out.packets)) == (SEND_ERROR if error else DROP, error)


@pytest.mark.parametrize("contig,reason", [(28, "not-linear"), (39, "not-linear"), (40, "ok")])
def test_tcp_header_beyond_the_first_buffer(contig, reason):
    assert translate(v4() / TCP() / bytes(50), contig=contig).reason == reason


@pytest.mark.parametrize(
    "offset,size,reason",
    [
        (65496, 19, "ok"),
        (65496, 20, "bad-fragment"),
        (65504, 8, "ok"),
        (65512, 3, "ok"),
        (65512, 4, "bad-fragment"),
        (65512, 8, "bad-fragment"),
        (65520, 15, "bad-fragment"),
        (65528, 7, "bad-fragment"),
        (65528, 8, "bad-fragment"),
    ],
)
@pytest.mark.parametrize("proto", [17, 99])
def test_fragment_ends_at_64k(offset, size, proto, reason):
    """Longer than a total length can say: no IPv4 host can have sent it whole."""
    for flags in ("", "MF") if size % 8 == 0 else ("",):
        out = translate(v4(proto=proto, frag=offset // 8, flags=flags) / Raw(bytes(size)))
        assert out.reason == reason
        assert (out.verdict, len(out.packets)) == ((PASS, 1) if reason == "ok" else (DROP, 0))


@pytest.mark.parametrize("size,reason", [(15, "ok"), (16, "bad-fragment")])
def test_fragment_with_options_ends_at_64k(size, reason):
    """The first fragment has all options of a later one, so the whole packet has them."""
    packet = v4(proto=99, frag=65496 // 8, options=[IPOption_NOP()] * 4) / Raw(bytes(size))
    assert translate(packet).reason == reason


@pytest.mark.parametrize("size,reason", [(11, "ok"), (12, "inner-bad")])
def test_inner_fragment_ends_at_64k(size, reason):
    inner = inner4(proto=99, frag=65504 // 8) / Raw(bytes(size))
    assert translate(error4(11, 0, 0, inner)).reason == reason


@pytest.mark.parametrize("pointer,reason", [(4, "source-route"), (7, "source-route"), (8, "ok")])
def test_source_route_pointer(pointer, reason):
    packet = v4(options=[IPOption_LSRR(routers=["1.2.3.4"], pointer=pointer)]) / UDP()
    assert translate(packet).reason == reason
