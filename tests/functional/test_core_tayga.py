# SPDX-License-Identifier: Apache-2.0
"""The same packets through the plugin's core and through a real tayga give the same translations.

The packets are those of the core's own tests and made-up ones. What RFC 7915 leaves open (the identification
of unfragmented packets; TTL, traffic class and length of the translator's own errors) is not compared. Every
other difference must be one of DIFFERENCES, which vpp-plugin/core/doc/tayga.rst argues; each must occur.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.packet import Raw

from lab import netns
from lab.shell import popen, run
from tests.conftest import require_programs, require_root

CORE = Path(__file__).parents[2] / "vpp-plugin" / "core"
MTU = 1500
RANDOM_PACKETS = 1500
MARK = b"end-of-answer"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def core(tmp_path_factory) -> Iterator[ModuleType]:
    """The core as a Python function: vpp-plugin/core/tests/fip64core.py with a library built here."""
    require_programs("cmake")
    if not shutil.which("gcc") and not shutil.which("clang"):
        require_programs("gcc")
    build = tmp_path_factory.mktemp("core")
    compiler = "gcc" if shutil.which("gcc") else "clang"
    for command in (["cmake", "-S", CORE, "-B", build, f"-DCMAKE_C_COMPILER={compiler}"],
                    ["cmake", "--build", build, "-j", "2", "--target", "fip64test"]):
        run(*map(str, command), timeout=200)
    os.environ["FIP64_TEST_LIBRARY"] = str(build / "libfip64test.so")
    sys.path.insert(0, str(CORE / "tests"))
    try:
        yield importlib.import_module("fip64core")
    finally:
        sys.path.remove(str(CORE / "tests"))


class Tayga:
    """A tayga in a namespace of its own, and a packet socket on its TUN device: bytes in, bytes out."""

    def __init__(self, core: ModuleType, directory: Path) -> None:
        self._namespace = f"f64d{os.getpid()}-{next(_numbers)}"
        self._process: subprocess.Popen | None = None
        # After each packet a marker: when it comes out, all that came of the packet has. No two are alike.
        self._marked = (bytes(IPv6(src=core.CLIENT6, dst=core.FIP6) / UDP(sport=1, dport=2)
                              / struct.pack("!I", number) / MARK) for number in itertools.count())
        netns.add(self._namespace)
        try:
            netns.ip(self._namespace, "tuntap add nat64 mode tun", f"link set nat64 up mtu {MTU}")
            conf = directory / "tayga.conf"
            conf.write_text("\n".join(["tun-device nat64", f"ipv4-addr {core.OWN4}", f"ipv6-addr {core.OWN6}",
                                       f"data-dir {directory}",
                                       *(f"map {v4} {v6}" for v6, v4 in core.MAP.items()), ""]))
            self._process = popen("tayga", "-c", str(conf), "--nodetach", netns=self._namespace,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self._socket = netns.call_in(self._namespace, self._open)
            self._wait()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _open() -> socket.socket:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        opened.bind(("nat64", 3))
        return opened

    def _wait(self) -> None:
        self._socket.settimeout(0.1)
        for _ in range(100):
            try:
                self.translate()
                break
            except (TimeoutError, OSError):
                time.sleep(0.05)
        else:
            pytest.fail("tayga translated nothing within 15 s")
        self._socket.settimeout(60)

    def translate(self, *packets: bytes) -> list[bytes]:
        marker = next(self._marked)
        for each in (*packets, marker):
            protocol = 0x0800 if each[0] >> 4 == 4 else 0x86DD
            self._socket.sendto(each, ("nat64", protocol, 0, 0, b""))
        out = []
        while True:
            data, (_, _, kind, *_) = self._socket.recvfrom(65536)
            if kind == socket.PACKET_OUTGOING:
                continue
            if data.endswith(marker[-4 - len(MARK):]):
                return out
            if not data.endswith(MARK):  # of one that was given up
                out.append(data)

    def close(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)
        netns.delete(self._namespace)


@pytest.fixture(scope="module")
def tayga(core, tmp_path_factory) -> Iterator[Tayga]:
    require_root()
    require_programs("ip", "nsenter", "tayga")
    made = Tayga(core, tmp_path_factory.mktemp("tayga"))
    try:
        yield made
    finally:
        made.close()


# Packets


def packets_of_the_tests(directory: Path) -> Iterator[bytes]:
    """Every packet that the core's packet tests translate: they write them down as a fuzzing corpus."""
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_4to6.py",
                    "test_6to4.py"], cwd=CORE / "tests", env=os.environ | {"FIP64_SEEDS": str(directory)},
                   check=True, stdout=subprocess.DEVNULL)
    for file in sorted(directory.iterdir()):
        packet = file.read_bytes()[8:]
        if 20 <= len(packet) <= MTU and packet[0] >> 4 in (4, 6):
            yield packet


def made_up_packets(core: ModuleType, number: int) -> Iterator[bytes]:
    """Valid packets of all kinds, the same in every run."""
    rng = random.Random(7915)

    def transport(v6: bool) -> Any:
        data = rng.randbytes(rng.choice((0, 1, 7, 8, 100, 557, 1150)))
        match rng.randrange(5):
            case 0 | 1:
                return TCP(sport=rng.randrange(65536), dport=80, seq=rng.randrange(1 << 32)) / data
            case 2 | 3:
                return UDP(sport=rng.randrange(1, 65536), dport=53) / data
            case _:
                echo = dict(id=rng.randrange(65536), seq=rng.randrange(65536))
                if v6:
                    return rng.choice((ICMPv6EchoRequest, ICMPv6EchoReply))(**echo, data=data)
                return ICMP(type=rng.choice((0, 8)), **echo) / data

    def error(v6: bool) -> Any:
        quoted = packet(v6, back=True)[:rng.choice((48 if v6 else 28, 80, 200, 400))]
        if v6:
            return rng.choice((
                ICMPv6DestUnreach(code=rng.randrange(8)), ICMPv6TimeExceeded(code=rng.randrange(2)),
                ICMPv6PacketTooBig(mtu=rng.choice((1280, 1300, 1400, 1480, 1500, 9000))),
                ICMPv6ParamProblem(code=rng.randrange(4), ptr=rng.randrange(50)))) / Raw(quoted)
        return rng.choice((
            ICMP(type=3, code=rng.choice((0, 1, 2, 3, *range(5, 17)))), ICMP(type=11, code=rng.randrange(2)),
            ICMP(type=3, code=4, nexthopmtu=rng.choice((0, 68, 576, 1260, 1300, 1400, 1480, 1500))),
            ICMP(type=12, code=rng.randrange(4), ptr=rng.randrange(24)))) / Raw(quoted)

    def packet(v6: bool, back: bool = False) -> bytes:
        hop = rng.choice((1, 2, 64, 255)) if not back else rng.choice((1, 50))
        inner = error(v6) if not back and rng.randrange(3) == 0 else transport(v6)
        if v6:
            ends = (core.FIP6, core.CLIENT6) if back else (core.CLIENT6, core.FIP6)
            built: Any = IPv6(src=ends[0], dst=ends[1], hlim=hop, tc=rng.randrange(256),
                              fl=rng.randrange(1 << 20))
            whole = bytes(built / inner)
            if rng.randrange(6) == 0:  # checksums are over the packet without extension headers
                built = built / rng.choice((IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt))()
                built.payload.nh = whole[6]
                return bytes(built / Raw(whole[40:]))
            if rng.randrange(8) == 0 and whole[6] != 58 and len(whole) > 120:
                cut = 40 + rng.choice((24, 48))
                offset, more, part = rng.choice(((0, 1, whole[40:cut]), (cut - 40, 0, whole[cut:])))
                fragment = IPv6ExtHdrFragment(nh=whole[6], offset=offset // 8, m=more,
                                              id=rng.randrange(1 << 32))
                return bytes(IPv6(src=ends[0], dst=ends[1], hlim=hop) / fragment / Raw(part))
            return whole
        ends = (core.CLIENT4, core.FIXED4) if back else (core.FIXED4, core.CLIENT4)
        options = [IPOption_NOP(), IPOption_RR(routers=["192.0.2.1"])] if rng.randrange(10) == 0 else []
        built = IP(src=ends[0], dst=ends[1], ttl=hop, tos=rng.randrange(256), id=rng.randrange(1, 65536),
                   flags=rng.choice(("", "DF")), options=options)
        whole = bytes(built / inner)
        header = 4 * (whole[0] & 15)
        if rng.randrange(8) == 0 and whole[9] != 1 and len(whole) > header + 100:
            cut = header + rng.choice((24, 48))
            offset, more, part = rng.choice(((0, "MF", whole[header:cut]), (cut - header, "", whole[cut:])))
            return bytes(IP(src=ends[0], dst=ends[1], ttl=hop, id=rng.randrange(1, 65536), flags=more,
                            frag=offset // 8, proto=whole[9]) / Raw(part))
        return whole

    for n in range(number):
        yield packet(v6=n % 2 == 0)


# What is compared


def ones_complement(data: bytes) -> int:
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def anatomy(packet: bytes, prefix: str = "") -> dict[str, object]:
    """A packet's fields by name. The identification counts in fragments; ICMP checksums are right or not."""
    found: dict[str, object] = {}

    def put(name: str, value: object) -> None:
        found[prefix + name] = value

    if packet[0] >> 4 == 4:
        header = 4 * (packet[0] & 15)
        tos, length, ident, flags, ttl, proto = struct.unpack_from("!xBHHHBB", packet)
        fragment, pseudo = flags & 0x3FFF, b""
        put("df", flags >> 14 & 1)
        put("header checksum", ones_complement(packet[:header]) == 0xFFFF)
        put("addresses", packet[12:20])
    else:
        header = 40
        first, length, proto, ttl = struct.unpack_from("!IHBB", packet)
        tos, fragment, ident = first >> 20 & 0xFF, None, 0
        pseudo = packet[8:40] + struct.pack("!II", length, 58)
        put("flow label", first & 0xFFFFF)
        put("addresses", packet[8:40])
        if proto == 44:
            proto, (fragment, ident), header = packet[40], struct.unpack_from("!HI", packet, 42), 48
    put("traffic class", tos)
    put("length", length)
    put("ttl", ttl)
    put("protocol", proto)
    put("fragment", fragment)
    if fragment:
        put("identification", ident)
    rest = packet[header:]
    if fragment and (fragment & 0x1FFF if packet[0] >> 4 == 4 else fragment & 0xFFF8):
        put("payload", rest)
    elif proto in (1, 58) and len(rest) >= 8:
        error = rest[0] in ((3, 11, 12) if packet[0] >> 4 == 4 else (1, 2, 3, 4)) and not prefix
        put("icmp type", tuple(rest[:2]))
        put("icmp word", rest[4:8])
        if not prefix:
            put("icmp checksum", ones_complement(pseudo + rest) == 0xFFFF)
        else:
            put("checksum", rest[2:4])
        if error and len(rest) >= 28:
            found.update(anatomy(rest[8:], "quoted "))
        else:
            put("payload", rest[8:])
    else:
        at = {6: 16, 17: 6, 33: 6, 136: 6}.get(proto)
        if at is not None and len(rest) >= at + 2:
            put("checksum", rest[at:at + 2])
            rest = rest[:at] + rest[at + 2:]
        put("payload", rest)
    return found


def transport_of(packet: bytes) -> tuple[int, bytes]:
    """The transport protocol, and all from its header on; behind IPv6 options and routing headers."""
    if packet[0] >> 4 == 4:
        return packet[9], packet[4 * (packet[0] & 15):]
    protocol, at = packet[6], 40
    while protocol in (0, 43, 60) and at + 8 <= len(packet):
        protocol, at = packet[at], at + 8 + 8 * packet[at + 1]
    return protocol, packet[at:]


@dataclasses.dataclass(frozen=True)
class Case:
    """One packet, and what came of it: "drop", "error T/C", "translated" or "N fragments"."""

    packet: bytes
    reason: str
    ours: str
    theirs: str
    fields: frozenset[str]
    """That differ where both translated, or where both sent an error."""

    @property
    def version(self) -> int:
        return self.packet[0] >> 4

    @property
    def payload(self) -> bytes:
        return transport_of(self.packet)[1]

    @property
    def protocol(self) -> int:
        return transport_of(self.packet)[0]

    @property
    def icmp(self) -> bool:
        return self.protocol == (1 if self.version == 4 else 58)

    @property
    def is_error(self) -> bool:
        errors = b"\3\13\14" if self.version == 4 else b"\1\2\3\4"
        return self.icmp and len(self.payload) > 8 and self.payload[0] in errors

    @property
    def ttl(self) -> int:
        return self.packet[8 if self.version == 4 else 7]

    @property
    def offset(self) -> int:
        """Of a fragment."""
        if self.version == 4:
            return struct.unpack_from("!H", self.packet, 6)[0] & 0x1FFF
        return struct.unpack_from("!H", self.packet, 42)[0] >> 3 if self.packet[6] == 44 else 0

    @property
    def claimed(self) -> int:
        """Length of the quoted packet, by RFC 4884; 0: no extension."""
        return self.payload[5] * 4 if self.version == 4 else self.payload[4] * 8

    def __str__(self) -> str:
        return (f"{self.packet[:96].hex()} ({len(self.packet)} bytes): core: {self.ours} ({self.reason}), "
                f"tayga: {self.theirs}, differing: {', '.join(sorted(self.fields)) or '-'}")


OPEN_IN_ERRORS = {"ttl", "traffic class", "length", "df", "payload", "quoted payload", "identification"}
"""Of errors that the translator itself sends: its choice."""


def compare(core: ModuleType, packet: bytes, theirs: list[bytes]) -> Case | None:
    outcome = core.translate(packet)

    def kind(packets: list[bytes]) -> str:
        if not packets:
            return "drop"
        own = core.IPv4Address(core.OWN4).packed, core.IPv6Address(core.OWN6).packed
        if packets[0][12:16] == own[0] or packets[0][8:24] == own[1]:
            error = packets[0][20 if packets[0][0] >> 4 == 4 else 40:]
            return f"error {error[0]}/{error[1]}"
        return "translated" if len(packets) == 1 else f"{len(packets)} fragments"

    ours = outcome.packets if outcome.verdict != core.DROP else []
    kinds = kind(ours), kind(theirs)
    differing: set[str] = set()
    if kinds[0] == kinds[1]:
        for one, other in zip(ours, theirs, strict=True):
            a, b = anatomy(one), anatomy(other)
            differing |= {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}
        if kinds[0].startswith("error"):
            differing -= OPEN_IN_ERRORS
        if not differing:
            return None
    return Case(packet, outcome.reason, *kinds, frozenset(differing))


# What may differ, and why: each is argued under its name in vpp-plugin/core/doc/tayga.rst

DF = {"df", "quoted df"}
QUOTED = {"length", "quoted length", "quoted payload", "quoted checksum", "quoted fragment",
          "quoted identification"}


def both_translate(case: Case, *fields: str) -> bool:
    """Only these differ, and perhaps DF (towards IPv4)."""
    return (case.ours == case.theirs == "translated"
            and case.fields - (DF if case.version == 6 else set()) <= set(fields))


def only_ours(case: Case) -> bool:
    return case.ours in ("translated", "2 fragments") and case.theirs == "drop"


def bad_checksum(case: Case) -> bool:
    pseudo = case.packet[8:40] + struct.pack("!II", len(case.payload), 58) if case.version == 6 else b""
    return ones_complement(pseudo + case.payload) != 0xFFFF


def bad_header(case: Case) -> bool:
    return case.version == 4 and ones_complement(case.packet[:4 * (case.packet[0] & 15)]) != 0xFFFF


def hard_to_translate(quoted: bytes) -> bool:
    """A quoted packet without a whole transport header, UDP without checksum, or an echo reply."""
    protocol, rest = transport_of(quoted)
    if quoted[0] >> 4 == 6 and protocol == 44:
        protocol, rest = rest[0], rest[8:]
    if protocol in (1, 58) and rest[:1] in (b"\0", b"\x81"):
        return True
    return len(rest) < {6: 20}.get(protocol, 8) or (protocol == 17 and rest[6:8] == b"\0\0")


DIFFERENCES: dict[str, Callable[[Case], bool]] = {
    "damaged-header": lambda c: bad_header(c) and c.theirs == "drop",
    "dont-fragment": lambda c: c.version == 6 and both_translate(c),
    "icmp-extension": lambda c: (c.is_error and c.claimed > 0
                                 and both_translate(c, "icmp word", "length", "quoted payload")),
    "long-icmpv4-error": lambda c: (c.version == 6 and c.is_error and len(c.packet) > 596
                                    and both_translate(c, "length", "quoted payload")),
    "quoted-fragment": lambda c: (c.is_error and c.version == 4 and "quoted fragment" in c.fields
                                  and both_translate(c, *QUOTED)),
    "too-big-about-fragment": lambda c: (c.version == 6 and c.payload[0] == 2 and c.payload[8 + 6] == 44
                                         and both_translate(c, "icmp word")),
    "quoted-length": lambda c: (c.version == 6 and c.is_error and c.payload[12:14] == b"\xff\xff"
                                and both_translate(c, "quoted length")),
    "dccp-udplite": lambda c: c.protocol in (33, 136) and both_translate(c, "checksum"),
    "udp-checksum-zero": lambda c: c.protocol == 17 and both_translate(c, "checksum"),
    "echo-checksum-zero": lambda c: c.icmp and not c.is_error and both_translate(c, "icmp checksum"),
    "udp-without-checksum": lambda c: c.protocol == 17 and c.payload[6:8] == b"\0\0" and only_ours(c),
    "damaged-icmp": lambda c: c.icmp and only_ours(c) and bad_checksum(c),
    "parameter-problem": lambda c: c.is_error and c.payload[0] in (4, 12) and only_ours(c),
    "address-unreachable": lambda c: (c.version == 6 and c.is_error and c.payload[:2] == b"\1\3"
                                      and only_ours(c)),
    "too-big-without-mtu": lambda c: (c.version == 6 and c.is_error and c.payload[0] == 2
                                      and c.payload[4:8] == bytes(4) and only_ours(c)),
    "nonsense-length": lambda c: (c.is_error and only_ours(c)
                                  and (0 < c.claimed < 128 or c.claimed > len(c.payload) - 8)),
    "quoted-transport": lambda c: c.is_error and only_ours(c) and hard_to_translate(c.payload[8:]),
    "time-exceeded-about-echo": lambda c: (c.reason == "ttl-exceeded" and c.icmp and not c.is_error
                                           and c.ours.startswith("error") and c.theirs == "drop"),
    "ttl-zero": lambda c: c.ttl == 0 and c.ours.startswith("error") and c.theirs == "drop",
    "error-about-later-fragment": lambda c: (c.reason == "ttl-exceeded" and c.offset > 0 and c.ours == "drop"
                                             and c.theirs.startswith("error")),
    "header-behind-fragment-header": lambda c: (c.reason == "fragment-extension-header"
                                                and c.ours in ("error 1/1", "drop")
                                                and c.theirs == "translated"),
    "fragment-beyond-64k": lambda c: (c.reason in ("bad-fragment", "inner-bad") and c.ours == "drop"
                                      and c.theirs == "translated"),
    "source-route": lambda c: (c.reason == "source-route" and c.ours.startswith("error")
                               and c.theirs in ("drop", "translated")),
    "protocol-of-one-family": lambda c: (
        c.reason in ("untranslatable-protocol", "igmp", "inner-untranslatable")
        and c.ours != "translated" and c.theirs == "translated"),
    "icmp-fragment": lambda c: (c.reason == "icmp-fragment" and c.ours.startswith("error")
                                and c.theirs == "drop"),
    "fragment-with-df": lambda c: (c.version == 4 and c.packet[6] & 0x40 and c.theirs == "2 fragments"
                                   and c.ours in ("translated", "error 3/4")),
}


def test_same_translations_as_tayga(core, tayga, tmp_path):
    same, seen, unexpected = 0, dict.fromkeys(DIFFERENCES, 0), []
    for packet in [*packets_of_the_tests(tmp_path), *made_up_packets(core, RANDOM_PACKETS)]:
        if len(packet) > MTU:
            continue
        case = compare(core, packet, tayga.translate(packet))
        if case is None:
            same += 1
            continue
        name = next((name for name, matches in DIFFERENCES.items() if matches(case)), None)
        if name:
            seen[name] += 1
        else:
            unexpected.append(str(case))
    assert not unexpected, "differences that nobody has argued:\n" + "\n".join(unexpected[:20])
    assert same > RANDOM_PACKETS
    assert not [name for name, count in seen.items() if not count], f"no longer different: {seen}"


def test_every_difference_is_argued():
    page = (CORE / "doc" / "tayga.rst").read_text()
    argued = [line for line in page.splitlines() if line and line.strip() in DIFFERENCES]
    assert sorted(argued) == sorted(DIFFERENCES)
