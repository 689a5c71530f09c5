# SPDX-License-Identifier: Apache-2.0
"""VPP's binary API with nothing around it: vpp_papi packs and unpacks, a blocking socket carries it.

What the agent's driver is compared with, and what the benchmarks look into VPP with from outside. Quicker
than vpp_papi's own client, which has a reader thread and a queue between the socket and its caller.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from vpp_papi.vpp_papi import VPPApiJSONFiles

_HEADER = struct.Struct(">QII")
_CREATE = 15
"""Number of sockclnt_create, the same in every VPP."""
_CHUNK = 64 << 10
"""Bytes that are sent in one go."""


class Wire:
    """One connection. Use as a context manager; raises OSError when VPP is not there or goes."""

    def __init__(self, path: str, timeout: float = 30) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(timeout)
        self._pending = bytearray()
        self._contexts = itertools.count(1)
        try:
            self._sock.connect(path)
            self._introduce()
        except BaseException:
            self._sock.close()
            raise

    def _introduce(self) -> None:
        text = resources.files("vpp_papi.data").joinpath("memclnt.api.json").read_text()
        self._messages, _ = VPPApiJSONFiles.process_json_str(text)
        self._numbers = {"sockclnt_create": _CREATE}
        self._index = 0
        reply = self.call("sockclnt_create", name="bench")
        self._index = reply.index
        self._learn(reply.message_table)
        answer = self.call("get_api_json")
        messages, _ = VPPApiJSONFiles.process_json_array_str(answer.json)
        self._messages.update(messages)
        self._learn(reply.message_table)

    def _learn(self, table: Sequence[Any]) -> None:
        numbers = {entry.name: entry.index for entry in table}
        self._numbers = {name: numbers[key] for name, message in self._messages.items()
                         if (key := f"{name}_{message.crc[2:]}") in numbers}
        self._names = {number: name for name, number in self._numbers.items()}

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_exc) -> None:
        try:  # else VPP may not see the end, and look for it all the time
            self.call("sockclnt_delete", index=self._index)
        except OSError:
            pass  # VPP is gone
        finally:
            self._sock.close()

    # One at a time

    def call(self, name: str, /, **fields: Any) -> Any:
        """Send a request and return its reply."""
        self._send([self.pack(name, fields)])
        return self.unpack(self._receive(), f"{name}_reply")

    def dump(self, name: str, /, **fields: Any) -> list[Any]:
        """Send a dump request and return its details."""
        self._send([self.pack(name, fields), self.pack("control_ping", {})])
        end = self._numbers["control_ping_reply"]
        data = iter(self._receive, None)
        return [self.unpack(message) for message in itertools.takewhile(
            lambda message: message[0] << 8 | message[1] != end, data)]

    # Many at a time

    def pipeline(self, requests: Sequence[tuple[str, Mapping[str, Any]]], window: int) -> list[Any]:
        """Send requests, up to `window` ahead of the answers, and return these."""
        answers: list[Any] = []
        pending, size, sent = [], 0, 0
        for name, fields in requests:
            packed = self.pack(name, fields)
            pending.append(packed)
            size += len(packed)
            if size >= _CHUNK or sent + len(pending) - len(answers) >= window:
                self._send(pending)
                sent += len(pending)
                pending, size = [], 0
                while sent - len(answers) >= window:
                    answers.append(self.unpack(self._receive()))
        if pending:
            self._send(pending)
        while len(answers) < len(requests):
            answers.append(self.unpack(self._receive()))
        return answers

    def pack(self, name: str, fields: Mapping[str, Any]) -> bytes:
        """Return a request as octets, with the number of its message and a context of its own."""
        return self._messages[name].pack({"_vl_msg_id": self._numbers[name], "client_index": self._index,
                                          "context": next(self._contexts), **fields})

    def unpack(self, data: bytes, name: str = "") -> Any:
        """Return the fields of a message; `name`: its name, "": as its number says."""
        return self._messages[name or self._names[data[0] << 8 | data[1]]].unpack(data)[0]

    def _send(self, messages: Sequence[bytes]) -> None:
        self._sock.sendall(b"".join(_HEADER.pack(0, len(message), 0) + message for message in messages))

    def _receive(self) -> bytes:
        size = _HEADER.size
        while len(self._pending) < _HEADER.size or len(self._pending) < (
                size := _HEADER.size + _HEADER.unpack_from(self._pending)[1]):
            if not (data := self._sock.recv(256 << 10)):
                raise ConnectionError("VPP closed the connection")
            self._pending += data
        message = bytes(self._pending[_HEADER.size:size])
        del self._pending[:size]
        return message


def mapping_count(path: str) -> int:
    """Return how many mappings VPP has, as its tenants tell. Raises: OSError."""
    with Wire(path, 5) as wire:
        return sum(detail.n_mappings for detail in wire.dump("fip64_tenant_dump"))


def mappings(path: str) -> Iterator[Any]:
    """Yield VPP's mappings."""
    with Wire(path) as wire:
        yield from (detail.mapping for detail in wire.dump("fip64_mapping_dump", table_id=0xFFFFFFFF))
