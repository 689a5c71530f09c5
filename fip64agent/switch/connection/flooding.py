# SPDX-License-Identifier: Apache-2.0
"""Ports that take no part in flooding: OFPPC_NO_FLOOD, which keeps another system's FLOOD action out.

Open vSwitch has this bit, and OpenFlow dropped it in version 1.1. So OpenFlow 1.0 is spoken here, over a
connection of its own each time: ports are few and rarely new. OVSDB does not keep the bit, so it is read back
from the switch, and set again after a restart of ovs-vswitchd.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from collections.abc import Collection, Iterator, Mapping

from fip64agent import hub
from fip64agent.exceptions import Fip64Error, NotReady

# isort: split
from os_ken.ofproto import ofproto_v1_0 as ofp
from os_ken.ofproto import ofproto_v1_3

LOG = logging.getLogger(__name__)

HEADER = struct.Struct("!BBHI")
_STATISTICS = struct.Struct("!HH")
_PORT = struct.Struct("!H6s16sII16x")
_PORT_MOD = struct.Struct("!H6sIII4x")
_ERROR = struct.Struct("!HH")
PORT_DESCRIPTION = ofproto_v1_3.OFPMP_PORT_DESC
"""This type of statistics is OpenFlow 1.3's, but Open vSwitch has it in 1.0 too. Unlike a features reply it
has all ports."""
MORE = ofp.OFPSF_REPLY_MORE


class Unsupported(Fip64Error):
    """The bridge does not speak OpenFlow 1.0."""


class _Conversation:
    """One connection to the bridge's management socket at `path`; use it as a context manager.

    `timeout`: seconds for each answer. Raises: NotReady, Unsupported.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path, self._timeout = path, timeout
        try:
            self._sock = hub.connect_unix(path)
        except OSError as error:
            raise NotReady(f"no OpenFlow connection to {path}: {os.strerror(error.errno or 0)}") from error
        self._sock.settimeout(timeout)
        self._buffer = b""
        self._xid = 0

    def __enter__(self) -> _Conversation:
        self.send(ofp.OFPT_HELLO, b"")
        return self

    def __exit__(self, *_exc) -> None:
        self._sock.close()

    def send(self, kind: int, body: bytes) -> int:
        """Send a message; return its transaction id."""
        self._xid += 1
        try:
            self._sock.sendall(HEADER.pack(ofp.OFP_VERSION, kind, HEADER.size + len(body), self._xid) + body)
        except OSError as error:
            with contextlib.suppress(NotReady):  # the switch may have sent the reason before it closed
                for _message in self.messages():
                    pass
            raise self._lost(error) from error
        return self._xid

    def messages(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (type, transaction id, body) of each message that comes, without end."""
        while True:
            _version, kind, length, xid = HEADER.unpack(self._take(HEADER.size))
            if length < HEADER.size:
                raise NotReady(f"a message of {length} bytes came from {self._path}")
            body = self._take(length - HEADER.size)
            if kind == ofp.OFPT_ERROR and body[:2] == bytes(2):  # OFPET_HELLO_FAILED
                raise Unsupported(f"the bridge at {self._path} does not speak OpenFlow 1.0")
            yield kind, xid, body

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                received = self._sock.recv(65536)
            except OSError as error:
                raise self._lost(error) from error
            if not received:
                raise self._lost(None)
            self._buffer += received
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _lost(self, error: OSError | None) -> NotReady:
        if isinstance(error, TimeoutError):
            return NotReady(f"Open vSwitch did not answer within {self._timeout:g} s on {self._path}")
        return NotReady(f"the connection to {self._path} was lost: {error or 'closed by Open vSwitch'}")

    def ports(self) -> dict[str, tuple[int, bytes, int]]:
        """Return (OpenFlow port, hardware address, configuration bits) by name."""
        wanted = self.send(ofp.OFPT_STATS_REQUEST, _STATISTICS.pack(PORT_DESCRIPTION, 0))
        result = {}
        for kind, xid, body in self.messages():
            if xid != wanted or kind != ofp.OFPT_STATS_REPLY:
                continue
            for position in range(_STATISTICS.size, len(body) - _PORT.size + 1, _PORT.size):
                number, address, name, config, _state = _PORT.unpack_from(body, position)
                result[name.rstrip(b"\0").decode(errors="replace")] = (number, address, config)
            if not _STATISTICS.unpack_from(body)[1] & MORE:
                break
        return result


class Floods:
    """Reads and sets which ports of `bridge`, whose management socket is at `path`, take part in flooding.

    `timeout`: seconds for each answer. When the bridge does not speak OpenFlow 1.0, neither is possible: one
    warning says so, and how to change that.
    """

    def __init__(self, path: str, bridge: str, timeout: float) -> None:
        self._path, self._bridge, self._timeout = path, bridge, timeout
        self.problem = ""
        """Why ports cannot be kept out of flooding, and what to do; "": they can."""

    def flooded(self) -> set[str]:
        """Return the names of the ports that a FLOOD action outputs to. Raises: NotReady."""
        try:
            found = _flooded(self._path, self._timeout)
        except Unsupported as error:
            self._warn(error)
            return set()
        self.problem = ""
        return found

    def keep_out(self, names: Collection[str]) -> Mapping[str, str]:
        """Take these ports out of flooding; return the reason for each name that failed. Raises: NotReady."""
        try:
            return _keep_out(self._path, self._timeout, names) if names else {}
        except Unsupported as error:
            self._warn(error)
            return {}

    def _warn(self, error: Unsupported) -> None:
        problem = (f"{error}: another system's FLOOD action would reach our ports; to let them be kept out: "
                   f"ovs-vsctl add bridge {self._bridge} protocols OpenFlow10")
        if problem != self.problem:
            self.problem = problem
            LOG.warning("%s", problem)


def _flooded(path: str, timeout: float) -> set[str]:
    with _Conversation(path, timeout) as conversation:
        return {name for name, (_number, _address, config) in conversation.ports().items()
                if not config & ofp.OFPPC_NO_FLOOD}


def _keep_out(path: str, timeout: float, names: Collection[str]) -> Mapping[str, str]:
    failed = {}
    with _Conversation(path, timeout) as conversation:
        ports = conversation.ports()
        asked = {}
        for name in names:
            if name not in ports:
                failed[name] = "Open vSwitch has not opened it yet"
                continue
            number, address, config = ports[name]
            if not config & ofp.OFPPC_NO_FLOOD:
                asked[conversation.send(ofp.OFPT_PORT_MOD, _PORT_MOD.pack(
                    number, address, ofp.OFPPC_NO_FLOOD, ofp.OFPPC_NO_FLOOD, 0))] = name
        last = conversation.send(ofp.OFPT_BARRIER_REQUEST, b"")
        for kind, xid, body in conversation.messages():
            if kind == ofp.OFPT_ERROR and xid in asked:
                failed[asked[xid]] = ("Open vSwitch does not take it out of flooding: error "
                                      f"{'/'.join(map(str, _ERROR.unpack_from(body)))}")
            if xid == last:
                break
    return failed
