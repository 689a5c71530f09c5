# SPDX-License-Identifier: Apache-2.0
"""Up to a million packets in a capture file, made column by column: Python is slow packet by packet."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

_HEAD = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
_RECORD = 16
"""Bytes in front of each frame in a file."""
_IP = _RECORD + 14
_PAYLOAD = 18
"""Bytes behind the UDP header: 64 bytes of an Ethernet frame with its check sequence, on the IPv4 side."""
_MAPT_HOST = IPv6Address("2001:db8:7::c000:207")
"""192.0.2.7 in 2001:db8:7::/64."""
_PREFIXES = {"fip64": IPv6Address("2001:db8:f::"), "nat64": IPv6Address("64:ff9b::"),
             "map-t": IPv6Address("64:ff9b:1::")}
_FIRST4 = {"fip64": 1, "nat64": int(IPv4Address("10.0.0.1")), "map-t": int(IPv4Address("172.16.0.1"))}


def floating_ip(n: int) -> IPv6Address:
    """Return the n-th floating IP, from 0."""
    return _PREFIXES["fip64"] + _FIRST4["fip64"] + n


def fixed_ip(n: int) -> IPv4Address:
    """Return the IPv4 address of the n-th floating IP."""
    return IPv4Address("10.0.0.1") + n


class Flows:
    """max(clients, floating) flows, each of one client to one floating IP (or IPv4 host), in random order."""

    def __init__(self, clients: int, floating: int) -> None:
        count = max(clients, floating)
        order = list(range(count))
        random.Random(4).shuffle(order)
        self._clients = [n % clients for n in order]
        self._floating = [n % floating for n in order]
        # Ten bytes of each client's address behind the /48, by column; few clients are the first of many.
        self._columns = [random.Random(column).randbytes(clients) for column in range(10)]

    def __len__(self) -> int:
        return len(self._clients)

    def write(self, file: Path, translator: str, mac: bytes) -> None:
        """Write UDP packets, one of each flow, from the client to the floating IP or what stands for it."""
        payload = 8 + _PAYLOAD
        frame = mac + b"\x02\0\0\0\0\x99\x86\xdd" + struct.pack(">IHBB", 6 << 28, payload, 17, 60)
        frame += (_MAPT_HOST if translator == "map-t" else IPv6Address("2001:db8:c::")).packed
        frame += _PREFIXES[translator].packed + struct.pack(">HHHH", 40001, 40002, payload, 0xBEEF)
        frame += bytes(_PAYLOAD)
        record = struct.pack("=IIII", 0, 0, len(frame), len(frame)) + frame
        body = bytearray(record * len(self))
        size = len(record)
        if translator != "map-t":
            for at, column in enumerate(self._columns):
                body[_IP + 8 + 6 + at::size] = bytes(map(column.__getitem__, self._clients))
        first = _FIRST4[translator]
        for at, shift in enumerate((24, 16, 8, 0)):
            body[_IP + 24 + 12 + at::size] = bytes(_column(self._floating, first, shift))
        file.write_bytes(_HEAD + body)


def _column(numbers: Iterable[int], first: int, shift: int) -> Iterable[int]:
    return ((first + n) >> shift & 0xFF for n in numbers)


def _records(file: Path) -> tuple[bytearray, int]:
    """The records of a file whose frames are all of the same length, and that with its record header."""
    body = bytearray(file.read_bytes()[len(_HEAD):]) if file.exists() else bytearray()
    if not body:
        return body, 1
    size = _RECORD + struct.unpack_from("=I", body, 8)[0]
    lengths = {bytes(body[at:at + 4]) for at in range(8, len(body), size)}
    if len(body) % size or len(lengths) != 1:
        raise ValueError(f"{file.name}: frames of different lengths")
    return body, size


def count_frames(file: Path) -> int:
    """Return how many frames a file has; all must have the same length."""
    body, size = _records(file)
    return len(body) // size


def write_answers(captured: Path, file: Path, mac: bytes) -> None:
    """Write the answers to UDP packets, to `mac`: addresses and ports exchanged; no checksum changes."""
    body, size = _records(captured)
    version = body[_IP] >> 4
    width, addresses, ports = (16, _IP + 8, _IP + 40) if version == 6 else (4, _IP + 12, _IP + 20)
    for start, length in ((addresses, width), (ports, 2)):
        for at in range(start, start + length):
            other = at + length
            body[at::size], body[other::size] = body[other::size], body[at::size]
    for at, byte in enumerate(mac):
        body[_RECORD + at::size] = bytes([byte]) * (len(body) // size)
    file.write_bytes(_HEAD + body)
