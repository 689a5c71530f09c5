# SPDX-License-Identifier: Apache-2.0
"""A stand-in for VPP's API socket, for what a real VPP does not do on command: hang, lie, die at a byte.

It runs in a native thread, speaks the protocol with vpp_papi's packers, and has a few messages of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fip64agent.translator.vpp.api.definitions import Definitions

MODULE: dict[str, Any] = {
    "enums": [["address_family", ["ADDRESS_IP4", 0], ["ADDRESS_IP6", 1], {"enumtype": "u8"}],
              ["color", ["RED", 1], ["GREEN", 2], {"enumtype": "u32"}],
              ["fib_path_type", ["NORMAL", 0], ["DROP", 2], ["UDP_ENCAP", 3], {"enumtype": "u32"}],
              ["fib_path_nh_proto", ["IP4", 0], ["IP6", 1], ["MPLS", 2], {"enumtype": "u32"}]],
    "enumflags": [["sides", ["LEFT", 1], ["RIGHT", 2], {"enumtype": "u8"}]],
    "unions": [["address_union", ["vl_api_ip4_address_t", "ip4"], ["vl_api_ip6_address_t", "ip6"]]],
    "types": [["address", ["vl_api_address_family_t", "af"], ["vl_api_address_union_t", "un"]],
              ["prefix", ["vl_api_address_t", "address"], ["u8", "len"]],
              ["thing", ["u32", "number"], ["vl_api_ip4_address_t", "fixed"],
               ["vl_api_ip6_address_t", "floating"]],
              ["fib_path_nh", ["vl_api_address_union_t", "address"], ["u32", "via_label"]],
              ["fib_path", ["vl_api_fib_path_type_t", "type"], ["vl_api_fib_path_nh_proto_t", "proto"],
               ["vl_api_fib_path_nh_t", "nh"], ["u8", "n_labels"]],
              ["ip_route", ["vl_api_prefix_t", "prefix"], ["u8", "n_paths"],
               ["vl_api_fib_path_t", "paths", 0, "n_paths"]]],
    "aliases": {"ip4_address": {"type": "u8", "length": 4}, "ip6_address": {"type": "u8", "length": 16},
                "mac_address": {"type": "u8", "length": 6}, "interface_index": {"type": "u32"},
                "address_with_prefix": {"type": "vl_api_prefix_t"}},
    "messages": [
        ["things_add_del", ["u16", "_vl_msg_id"], ["u32", "client_index"], ["u32", "context"],
         ["bool", "is_add", {"default": "true"}], ["u8", "count"], ["vl_api_thing_t", "things", 0, "count"],
         {"crc": "0x00000001"}],
        ["things_add_del_reply", ["u16", "_vl_msg_id"], ["u32", "context"], ["i32", "retval"],
         {"crc": "0x00000002"}],
        ["thing_dump", ["u16", "_vl_msg_id"], ["u32", "client_index"], ["u32", "context"],
         {"crc": "0x00000003"}],
        ["thing_details", ["u16", "_vl_msg_id"], ["u32", "context"], ["vl_api_thing_t", "thing"],
         ["string", "tag", 16], {"crc": "0x00000004"}],
        ["thing_get", ["u16", "_vl_msg_id"], ["u32", "client_index"], ["u32", "context"], ["u32", "cursor"],
         {"crc": "0x00000005"}],
        ["thing_get_reply", ["u16", "_vl_msg_id"], ["u32", "context"], ["i32", "retval"], ["u32", "cursor"],
         {"crc": "0x00000006"}],
        ["everything", ["u16", "_vl_msg_id"], ["u32", "client_index"], ["u32", "context"],
         ["u8", "small"], ["i32", "signed"], ["f64", "real"], ["bool", "flag"], ["string", "name", 8],
         ["string", "text", 0], {"crc": "0x00000007"}],
        ["typed", ["u16", "_vl_msg_id"], ["u32", "client_index"], ["u32", "context"],
         ["vl_api_color_t", "color"], ["vl_api_sides_t", "sides"], ["vl_api_address_t", "address"],
         ["vl_api_prefix_t", "prefix"], ["vl_api_address_with_prefix_t", "interface"],
         ["vl_api_mac_address_t", "mac"], ["vl_api_interface_index_t", "index"], ["u32", "four", 4],
         ["u8", "octets", 4], {"crc": "0x00000008"}],
        ["route", ["u16", "_vl_msg_id"], ["u32", "client_index"], ["u32", "context"],
         ["vl_api_ip_route_t", "route"], {"crc": "0x00000009"}],
        ["thing_event", ["u16", "_vl_msg_id"], ["u32", "client_index"], ["u32", "pid"], ["u32", "number"],
         {"crc": "0x0000000a"}],
    ],
    "services": {"things_add_del": {"reply": "things_add_del_reply"},
                 "thing_dump": {"reply": "thing_details", "stream": True},
                 "thing_get": {"reply": "thing_get_reply", "stream": True, "stream_msg": "thing_details"}},
}

Answer = Callable[["FakeVpp", Any], None]


def definitions() -> Definitions:
    return Definitions.bootstrap().extended(json.dumps([MODULE]))


class FakeVpp:
    """Answers the handshake and control_ping; `answers` has what it does with other requests, by name.

    An answer is called in the server's thread with the server and the unpacked request.
    """

    def __init__(self, directory: Path, **answers: Answer) -> None:
        self.path = str(directory / "api.sock")
        self.answers = answers
        self.seen: list[str] = []
        """Names of the requests, in order."""
        self.definitions = definitions()
        self.numbers = {name: number for number, name in enumerate(self.definitions.raw_messages, 100)}
        self.numbers |= {"sockclnt_create": 15, "sockclnt_create_reply": 16}
        self.table = {f"{name}_{self.definitions.crc(name)}": number for name, number in self.numbers.items()}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(8)
        self._conn: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> FakeVpp:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        for sock in (self._listener, self._conn):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
        self._thread.join(5)

    # -- for answers ------------------------------------------------------------------------------

    def send(self, name: str, **fields: Any) -> None:
        message = self.definitions.message(name).pack({"_vl_msg_id": self.numbers[name], **fields})
        self.raw(struct.pack(">QII", 0, len(message), 0) + message)

    def raw(self, data: bytes) -> None:
        assert self._conn is not None
        self._conn.sendall(data)

    def die(self) -> None:
        """Close the connection, as the kernel does for a process that was killed."""
        assert self._conn is not None
        self._conn.shutdown(socket.SHUT_RDWR)

    # -- serving ----------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            try:
                self._conn, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                while (message := self._receive()) is not None:
                    self._answer(message)

    def _receive(self) -> bytes | None:
        header = self._exactly(16)
        return None if header is None else self._exactly(struct.unpack(">QII", header)[1])

    def _exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            assert self._conn is not None
            if not (piece := self._conn.recv(size - len(data))):
                return None
            data += piece
        return data

    def _answer(self, data: bytes) -> None:
        names = {number: name for name, number in self.numbers.items()}
        name = names[struct.unpack_from(">H", data)[0]]
        request = self.definitions.message(name).unpack(data)[0]
        self.seen.append(name)
        if name in self.answers:
            self.answers[name](self, request)
        elif name == "sockclnt_create":
            table = [{"index": number, "name": entry} for entry, number in self.table.items()]
            self.send("sockclnt_create_reply", context=request.context, index=7, count=len(table),
                      message_table=table)
        elif name == "get_api_json":
            self.send("get_api_json_reply", context=request.context, json=json.dumps([MODULE]))
        elif name == "control_ping":
            self.send("control_ping_reply", context=request.context, vpe_pid=os.getpid())
        elif name == "things_add_del":
            self.send("things_add_del_reply", context=request.context)
