# SPDX-License-Identifier: Apache-2.0
"""VPP's API socket (`socksvr`): sends and receives frames, and reports when the connection ends.

A frame is a header of 16 bytes (big endian: 8 bytes that are not used, the message's length, 4 bytes that are
not used) and a message. Only the hub's thread may use it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterable

from fip64agent import hub
from fip64agent.translator.vpp.api.errors import VppGone, VppTimeout, VppUnavailable

_HEADER = struct.Struct(">QII")
_CREDENTIALS = struct.Struct("3i")
"""What SO_PEERCRED gives, see unix(7): process, user, group."""
_SHORTEST = 2
"""Bytes of the shortest message, which has only its number."""
LONGEST_FRAME = 64 << 20
"""Bytes. VPP's longest answer, its API as JSON, has 5 MB with all plugins."""
_READ = 256 << 10
"""Bytes that are read at a time."""
_MESSAGES_AT_ONCE = 200
"""Messages that are handed on before other greenthreads run."""
_RETRY = 0.05
"""Seconds before a new attempt to connect."""


class FramingError(ValueError):
    """The bytes from the socket do not follow VPP's protocol."""


class _TimeOver(Exception):
    """VPP took longer than the caller allowed."""


class FrameReader:
    """Cuts a stream of bytes, which arrives in pieces of any length, into messages. Pure."""

    def __init__(self, longest: int = LONGEST_FRAME) -> None:
        self._longest = longest
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take `data` and return the messages that are complete now.

        Raises: FramingError; the reader cannot be used any more then.
        """
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
    """Return the frame of a message."""
    return _HEADER.pack(0, len(message), 0) + message


class Transport:
    """One connection.

    `on_message` is called with each message in the order of arrival, in the greenthread that reads, and must
    not wait. `on_closed` is called once, with the reason, when the connection ends other than by close().
    """

    def __init__(self, path: str, on_message: Callable[[bytes], None],
                 on_closed: Callable[[str], None]) -> None:
        self.path = path
        self._on_message = on_message
        self._on_closed = on_closed
        self.peer: int | None = None
        """Process id of VPP in the agent's PID namespace; None when VPP's process is not visible there."""
        self._sock = None
        self._end_reason = "closed by the agent"
        self._writing = hub.Semaphore(1)

    def connect(self, timeout: float) -> None:
        """Connect within `timeout` seconds. Raises: VppUnavailable naming the socket and the reason."""
        try:
            with hub.Timeout(timeout, TimeoutError(f"no connection within {timeout:g} s")):
                while self._sock is None:
                    try:
                        self._sock = hub.connect_unix(self.path)
                    except BlockingIOError:  # VPP's queue of connections is full
                        hub.sleep(_RETRY)
        except OSError as error:  # TimeoutError is one
            raise VppUnavailable(f"VPP's API socket {self.path}: {_reason(error)}") from error
        pid, _, _ = _CREDENTIALS.unpack(
            self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        self.peer = pid or None
        hub.spawn(self._read, self._sock)

    def send(self, messages: Iterable[bytes], timeout: float) -> None:
        """Send messages together. Waits while VPP does not read, `timeout` seconds at most.

        Raises: VppGone; VppTimeout when nothing was sent, or when a part was, which ends the connection.
        """
        data = b"".join(map(frame, messages))
        over = _TimeOver()
        try:
            with hub.Timeout(timeout, over):
                self._writing.acquire()
        except _TimeOver:
            raise VppTimeout(f"VPP has not read what it was sent for {timeout:g} s") from None
        try:
            if (sock := self._sock) is None:
                raise VppGone(f"not connected to VPP's API socket {self.path}")
            try:
                with hub.Timeout(timeout, over):
                    sock.sendall(data)
            except _TimeOver:  # a part of a message may have been sent
                self._closed(sock, f"VPP has not read what it was sent for {timeout:g} s")
                raise VppTimeout(f"VPP's API socket {self.path}: {self._end_reason}") from None
            except OSError as error:
                hub.sleep(0.01)  # VPP's last message may contain the reason
                self._closed(sock, f"sending failed: {_reason(error)}")
                raise VppGone(f"VPP's API socket {self.path}: {self._end_reason}") from error
            except BaseException:  # this greenthread was killed, and VPP waits for the rest of the message
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
                    if count % _MESSAGES_AT_ONCE == 0:  # VPP may send replies faster than they are handled
                        hub.sleep(0)
                        if self._sock is not sock:
                            break
        except OSError as error:
            reason = f"reading failed: {_reason(error)}"
        except FramingError as error:
            reason = f"this is not VPP's API protocol: {error}"
        self._closed(sock, reason)
        sock.close()  # not earlier: no greenthread waits for it any more

    def _closed(self, sock, reason: str) -> None:
        if self._sock is sock:  # otherwise close() or the other direction has ended it already
            self._sock, self._end_reason = None, reason
            _shut(sock)
            self._on_closed(reason)


def _reason(error: OSError) -> str:
    """Return the reason in words; the text of eventlet's connect() has only the errno's name."""
    return os.strerror(error.errno) if error.errno else str(error)


def _shut(sock) -> None:
    """End a socket, so that recv() and sendall() return in the greenthreads that wait there."""
    with contextlib.suppress(OSError):
        sock.shutdown(2)
