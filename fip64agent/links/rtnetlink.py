# SPDX-License-Identifier: Apache-2.0
"""rtnetlink messages, where there are many: thousands of routes, and the kernel's events.

All else goes through pyroute2, which takes 0.8 ms and some kB for each route written or read; this
takes a twentieth of that. Message formats: linux/netlink.h, linux/rtnetlink.h; all in host byte order.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

_SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK, _STRICT_CHECK = 10, 11, 12
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP, DUMP_INTERRUPTED = 0x1, 0x4, 0x300, 0x10
REPLACE, CREATE = 0x100, 0x400
_CAPPED, _HAS_ATTRIBUTES = 0x100, 0x200
"""Flags of an answer: the request is not quoted in full, and attributes follow, with the kernel's message."""
_MESSAGE_OF_KERNEL = 1
_BATCH = 100
"""Requests per send: all their answers must fit into the receive buffer."""
_LARGEST = 1 << 16


class Refusal(Exception):
    """The kernel refused one request; `code` is an errno, the text the kernel's own where it gave one."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text or os.strerror(code))
        self.code = code


class Interrupted(Exception):
    """What was dumped changed meanwhile: the dump may be incomplete."""


def messages(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Yield (type, flags, sequence number, sender's port id, body) of what was received at once."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield kind, flags, sequence, port, data[offset + 16:offset + length]
        offset += (length + 3) & ~3


def attributes(body: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of the attributes from `offset` on."""
    while offset + 4 <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, body[offset + 4:offset + length]
        offset += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute as bytes, padded to a multiple of 4."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


class Socket:
    """Requests to the namespace it was opened in. Blocking; one thread at a time."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        for option in (_CAP_ACK, _EXT_ACK, _STRICT_CHECK):
            with contextlib.suppress(OSError):  # older kernels filter less, and say less of an error
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.settimeout(10)
        self._socket.bind((0, 0))
        self.port: int = self._socket.getsockname()[0]
        """Netlink port id, which the kernel names as the sender of what this socket changes."""
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def change(self, requests: Sequence[tuple[int, int, bytes]]) -> list[Refusal | None]:
        """Send (type, flags, body) requests in order; return what became of each. Raises: OSError."""
        results: list[Refusal | None] = []
        for start in range(0, len(requests), _BATCH):
            results += self._change(requests[start:start + _BATCH])
        return results

    def _change(self, requests: Sequence[tuple[int, int, bytes]]) -> list[Refusal | None]:
        first = self._sequence + 1
        data = bytearray()
        for kind, flags, body in requests:
            self._sequence += 1
            data += _HEADER.pack(16 + len(body), kind, flags | _REQUEST | _ACK, self._sequence, 0) + body
        self._socket.send(data)
        results: dict[int, Refusal | None] = {}
        while len(results) < len(requests):
            for kind, flags, sequence, _port, body in messages(self._socket.recv(_LARGEST)):
                if kind == _ERROR and sequence >= first:
                    results[sequence] = _refusal(flags, body)
        return [results[first + number] for number in range(len(requests))]

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """Yield the bodies of a dump. Raises: OSError, Refusal, Interrupted."""
        self._sequence += 1
        self._socket.send(_HEADER.pack(16 + len(body), kind, _REQUEST | _DUMP, self._sequence, 0) + body)
        interrupted = False
        while True:
            for answer, flags, sequence, _port, found in messages(self._socket.recv(_LARGEST)):
                if sequence != self._sequence:
                    continue
                interrupted |= bool(flags & DUMP_INTERRUPTED)
                if answer == _DONE:
                    code = struct.unpack_from("=i", found)[0] if len(found) >= 4 else 0
                    if code < 0:
                        raise Refusal(-code, "")
                    if interrupted:
                        raise Interrupted
                    return
                if answer == _ERROR:
                    raise _refusal(flags, found) or Refusal(errno.EPROTO, "a dump ended with no end")
                yield found


def _refusal(flags: int, body: bytes) -> Refusal | None:
    code = -struct.unpack_from("=i", body)[0]
    if not code:
        return None
    text = b""
    if flags & _HAS_ATTRIBUTES:
        quoted = 0 if flags & _CAPPED else struct.unpack_from("=I", body, 4)[0] - 16
        text = dict(attributes(body, 20 + ((quoted + 3) & ~3))).get(_MESSAGE_OF_KERNEL, b"")
    return Refusal(code, text.rstrip(b"\0").decode(errors="replace"))
