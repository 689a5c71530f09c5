# SPDX-License-Identifier: Apache-2.0
"""VPP's API socket (`socksvr`): frames out, frames in, and word when it closes.

A frame is a header of 16 bytes (8 bytes that mean nothing here, the payload's length, 4 bytes that mean
nothing here; big endian) and a message. Green: used in the hub's thread only.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterable

from fip64agent import hub
from fip64agent.translator.vpp.errors import VppGone, VppTimeout, VppUnavailable

_HEADER = struct.Struct(">QII")
_CREDENTIALS = struct.Struct("3i")
"""Of SO_PEERCRED, see unix(7): process, user, group."""
_SHORTEST = 2
"""Bytes of a message that has only its number."""
LONGEST_FRAME = 64 << 20
"""Bytes. VPP's longest answer, its API as JSON, has 5 MB with all plugins."""
_READ = 256 << 10
_TURN = 200
"""Messages that are handed on before other greenthreads get their turn."""
_RETRY = 0.05


class FramingError(ValueError):
    """What the socket gave is not VPP's protocol."""


class _Slow(Exception):
    """Time is up."""


class FrameReader:
    """Cuts a stream of bytes, that arrives in any pieces, into messages. Pure."""

    def __init__(self, longest: int = LONGEST_FRAME) -> None:
        self._longest = longest
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete with `data`. Raises: FramingError; use it no more then."""
        pending = self._pending
        pending += data
        messages = []
        position = 0
        while len(pending) - position >= _HEADER.size:
            _, length, _ = _HEADER.unpack_from(pending, position)
            if not _SHORTEST <= length <= self._longest:
                raise FramingError(f"a message of {length} bytes is announced; "
                                   f"{_SHORTEST} to {self._longest} are possible")
            end = position + _HEADER.size + length
            if end > len(pending):
                break
            messages.append(bytes(memoryview(pending)[position + _HEADER.size:end]))
            position = end
        if position:
            del pending[:position]
        return messages


def frame(message: bytes) -> bytes:
    """Return a message as it goes over the socket."""
    return _HEADER.pack(0, len(message), 0) + message


class Transport:
    """One connection.

    `on_message` is called in the order of arrival, from the reading greenthread, and must not wait;
    `on_closed`, once, with the reason, when the connection has ended otherwise than by close().
    """

    def __init__(self, path: str, on_message: Callable[[bytes], None],
                 on_closed: Callable[[str], None]) -> None:
        self.path = path
        self._on_message = on_message
        self._on_closed = on_closed
        self.peer: int | None = None
        """Process id of who listens, as it is known here; None when its process cannot be seen from here."""
        self._sock = None
        self._ended = "closed by the agent"
        self._writing = hub.Semaphore(1)

    def connect(self, timeout: float) -> None:
        """Raises: VppUnavailable naming the socket and the reason."""
        try:
            with hub.Timeout(timeout, TimeoutError(f"no connection within {timeout:g} s")):
                while self._sock is None:
                    try:
                        self._sock = hub.connect_unix(self.path)
                    except BlockingIOError:  # as many as can wait for VPP do
                        hub.sleep(_RETRY)
        except OSError as error:  # TimeoutError is one
            raise VppUnavailable(f"VPP's API socket {self.path}: {_reason(error)}") from error
        pid, _, _ = _CREDENTIALS.unpack(
            self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        self.peer = pid or None
        hub.spawn(self._read, self._sock)

    def send(self, messages: Iterable[bytes], timeout: float) -> None:
        """Send messages in one go; waits while VPP does not read, `timeout` seconds at most.

        Raises: VppGone; VppTimeout, when nothing of it was sent, or the connection had to be ended.
        """
        data = b"".join(map(frame, messages))
        slow = _Slow()
        try:
            with hub.Timeout(timeout, slow):
                self._writing.acquire()
        except _Slow:
            raise VppTimeout(f"VPP has not read what it was sent for {timeout:g} s") from None
        try:
            if (sock := self._sock) is None:
                raise VppGone(f"not connected to VPP's API socket {self.path}")
            try:
                with hub.Timeout(timeout, slow):
                    sock.sendall(data)
            except _Slow:  # a part of a message may be on its way
                self._closed(sock, f"VPP has not read what it was sent for {timeout:g} s")
                raise VppTimeout(f"VPP's API socket {self.path}: {self._ended}") from None
            except OSError as error:
                hub.sleep(0.01)  # what was received last says more
                self._closed(sock, f"sending failed: {_reason(error)}")
                raise VppGone(f"VPP's API socket {self.path}: {self._ended}") from error
            except BaseException:  # it was ended itself: VPP waits for the rest of its message
                self._closed(sock, "a sender was ended in the middle of a message")
                raise
        finally:
            self._writing.release()

    def close(self) -> None:
        """End the connection without calling on_closed."""
        sock, self._sock = self._sock, None
        if sock is not None:
            _shut(sock)

    def _read(self, sock) -> None:
        frames = FrameReader()
        reason = "VPP closed the connection"
        try:
            while (data := sock.recv(_READ)) and self._sock is sock:
                for count, message in enumerate(frames.feed(data), 1):
                    self._on_message(message)
                    if count % _TURN == 0:  # thousands of replies come at once when VPP is quicker than we
                        hub.sleep(0)
                        if self._sock is not sock:
                            break
        except OSError as error:
            reason = f"reading failed: {_reason(error)}"
        except FramingError as error:
            reason = f"this is not VPP's API protocol: {error}"
        self._closed(sock, reason)
        sock.close()  # here and nowhere else: nobody waits for it any more

    def _closed(self, sock, reason: str) -> None:
        if self._sock is sock:  # else close(), or the other direction was quicker
            self._sock, self._ended = None, reason
            _shut(sock)
            self._on_closed(reason)


def _reason(error: OSError) -> str:
    """In words: eventlet's connect() gives only the name of the number."""
    return os.strerror(error.errno) if error.errno else str(error)


def _shut(sock) -> None:
    """Wake whoever waits in recv() or sendall()."""
    with contextlib.suppress(OSError):
        sock.shutdown(2)
