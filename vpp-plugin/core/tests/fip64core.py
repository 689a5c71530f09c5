# SPDX-License-Identifier: Apache-2.0
"""The core as a Python function, and an independent judge of packets: checksums are verified by plain RFC
1071 here and packets are built by scapy, so that nothing is compared with itself."""

import ctypes
import os
import struct
from dataclasses import dataclass, field
from hashlib import sha1
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

PASS, SEND_ERROR, DROP = 0, 1, 2
SLOW, REFUSE, NO_HEADROOM = 1, 2, 4

CLIENT6, CLIENT4 = "2001:db8:c::17", "100.64.0.23"
FIP6, FIXED4 = "2001:db8:f::5", "10.0.0.5"
ROUTER6, ROUTER4 = "2001:db8:ff::1", "100.64.0.1"
HOP4, HOP6 = "10.0.0.1", "2001:db8:f::fffe"  # a router beside the virtual machine
OWN6, OWN4 = "2001:db8:99::99", "192.0.2.99"
MAP = {CLIENT6: CLIENT4, FIP6: FIXED4, ROUTER6: ROUTER4, HOP6: HOP4}
BACK = {v4: v6 for v6, v4 in MAP.items()}


class Conf(ctypes.Structure):
    _fields_ = (
        ("mtu4", ctypes.c_uint16),
        ("mtu6", ctypes.c_uint16),
        ("lowest_ipv6_mtu", ctypes.c_uint16),
        ("ttl_dec", ctypes.c_uint8),
        ("tos_mask_4to6", ctypes.c_uint8),
        ("tos_mask_6to4", ctypes.c_uint8),
        ("udp_zero_drop", ctypes.c_uint8),
    )


class Result(ctypes.Structure):
    _fields_ = (
        ("verdict", ctypes.c_int32),
        ("reason", ctypes.c_int32),
        ("frag_mtu", ctypes.c_uint32),
        ("n_out", ctypes.c_uint32),
        ("err_type", ctypes.c_uint32),
        ("err_code", ctypes.c_uint32),
        ("err_arg", ctypes.c_uint32),
        ("is_icmp_error", ctypes.c_uint32),
        ("plain", ctypes.c_uint32),
        ("inner_src", ctypes.c_uint8 * 16),
        ("inner_dst", ctypes.c_uint8 * 16),
    )


def _library() -> ctypes.CDLL:
    path = os.environ.get("FIP64_TEST_LIBRARY")
    if not path:
        found = sorted(Path(__file__).parent.parent.glob("build*/libfip64test.so"))
        if not found:
            pytest.skip(
                "libfip64test.so is not built: cmake -S . -B build && make -C build", allow_module_level=True
            )
        path = str(found[0])
    library = ctypes.CDLL(path)
    library.shim_reason.restype = ctypes.c_char_p
    library.shim_conf_check.restype = ctypes.c_char_p
    return library


LIB = _library()
SEEDS = os.environ.get("FIP64_SEEDS")  # directory for a fuzzing corpus made of all packets of the tests


def conf(**changes: int) -> Conf:
    values = {
        "mtu4": 1500,
        "mtu6": 1500,
        "lowest_ipv6_mtu": 1280,
        "ttl_dec": 1,
        "tos_mask_4to6": 255,
        "tos_mask_6to4": 255,
        "udp_zero_drop": 0,
    } | changes
    return Conf(**values)


@dataclass
class Outcome:
    verdict: int
    reason: str
    packets: list[bytes] = field(default_factory=list)
    frag_mtu: int = 0
    error: tuple[int, int, int] = (0, 0, 0)
    inline: bool = field(default=False, compare=False)

    @property
    def packet(self) -> bytes:
        assert (self.verdict, self.reason) == (PASS, "ok"), self
        assert len(self.packets) == 1
        return self.packets[0]


def _addresses(packet: bytes, version: int) -> tuple[str, str] | None:
    if version == 6 and len(packet) >= 40:
        return str(IPv6Address(packet[8:24])), str(IPv6Address(packet[24:40]))
    if version == 4 and len(packet) >= 20:
        return str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20]))
    return None


def _pair(address: str) -> bytes:
    """20 bytes: IPv6, then IPv4. Addresses without mapping get something odd."""
    v6, v4 = (
        (address, MAP.get(address, "203.0.113.77"))
        if ":" in address
        else (BACK.get(address, "2001:db8::77"), address)
    )
    return IPv6Address(v6).packed + IPv4Address(v4).packed


def _run_raw(version, packet, config, contig, ident, flags, addresses):
    out = ctypes.create_string_buffer(1 << 18)
    lens = (ctypes.c_uint32 * 2048)()
    result = Result()
    own = IPv6Address(OWN6).packed if version == 6 else IPv4Address(OWN4).packed
    ok = LIB.shim_run(
        version,
        packet,
        len(packet),
        contig,
        ctypes.byref(config),
        b"".join(map(_pair, addresses)),
        ident,
        flags,
        own,
        out,
        len(out),
        lens,
        len(lens),
        ctypes.byref(result),
    )
    assert ok
    packets, at = [], 0
    for n in range(result.n_out):
        packets.append(out.raw[at : at + lens[n]])
        at += lens[n]
    return result, packets


def translate(
    packet: bytes,
    config: Conf | None = None,
    *,
    contig: int = 1 << 30,
    ident: int = 0x1234,
    flags: int = 0,
    version: int | None = None,
) -> Outcome:
    """Runs the packet through the core as the plugin would: the inline and the full path must agree."""
    packet = bytes(packet)
    version = version or (packet[0] >> 4)
    if SEEDS:
        choices = bytes([0, (4 if version == 4 else 0) | 1, 0, 0, 0, 0, 0, 0])
        (Path(SEEDS) / sha1(packet).hexdigest()).write_bytes(choices + packet)
    config = config or conf()
    outer = _addresses(packet, version) or (FIP6, FIP6)
    outcomes = []
    for path in (0, SLOW):
        inner = (FIP6, FIP6)
        for _ in range(2):  # the first run tells the inner addresses
            result, packets = _run_raw(version, packet, config, contig, ident, flags | path, (*outer, *inner))
            if not result.is_icmp_error:
                break
            kind, size = (IPv6Address, 16) if version == 6 else (IPv4Address, 4)
            inner = (str(kind(bytes(result.inner_src[:size]))), str(kind(bytes(result.inner_dst[:size]))))
        reason = LIB.shim_reason(result.reason).decode()
        outcomes.append(
            Outcome(
                result.verdict,
                reason,
                packets,
                result.frag_mtu,
                (result.err_type, result.err_code, result.err_arg),
                bool(result.plain),
            )
        )
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


def ones_sum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def verify(packet: bytes) -> None:
    """Lengths, IPv4 header checksum and the transport checksum of a whole (not fragmented) packet."""
    if packet[0] >> 4 == 4:
        header = (packet[0] & 15) * 4
        assert struct.unpack_from("!H", packet, 2)[0] == len(packet)
        assert ones_sum(packet[:header]) == 0xFFFF
        proto, payload = packet[9], packet[header:]
        pseudo = packet[12:20] + struct.pack("!HH", proto, len(payload))
        if struct.unpack_from("!H", packet, 6)[0] & 0x3FFF:
            return
    else:
        assert struct.unpack_from("!H", packet, 4)[0] == len(packet) - 40
        proto, payload = packet[6], packet[40:]
        if proto == 44:
            if struct.unpack_from("!H", payload, 2)[0]:
                return
            proto, payload = payload[0], payload[8:]
        pseudo = packet[8:40] + struct.pack("!II", len(payload), proto)
    if proto == 1:
        assert ones_sum(payload) == 0xFFFF
    elif proto in (6, 17, 33, 58, 136):
        if proto == 17 and packet[0] >> 4 == 4 and payload[6:8] == b"\0\0":
            return
        assert ones_sum(pseudo + payload) == 0xFFFF
