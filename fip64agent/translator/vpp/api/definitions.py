# SPDX-License-Identifier: Apache-2.0
"""VPP's own definitions of its API messages, as vpp_papi's packers.

VPP returns them as JSON (get_api_json), so no files are needed, and they always fit the running VPP. vpp_papi
keeps all types in one table per process and does not replace a type of the same name: an agent that runs on
through an upgrade of VPP would pack messages for the old VPP. So each Definitions keeps its own types, and
puts them into vpp_papi's table only while it builds a packer. Packers are built when they are first needed.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import vpp_papi.vpp_serializer as papi

_BASE = {name: papi.types[name] for name in
         ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f64", "bool", "string")}
_LOCK = threading.Lock()


class _TolerantString(papi.String):
    """A string with any bytes. vpp_papi's fails on bytes that are not ASCII, and with it the whole dump.

    An interface that is not ours may have such a tag.
    """

    def unpack(self, data, offset=0, result=None, ntc=False):
        if not self.fixed:
            length, size = self.length_field_packer.unpack(data, offset)
            start = offset + size
            return bytes(data[start:start + length]).decode(errors="replace"), size + length
        text = bytes(data[offset:offset + self.num]).split(b"\0", 1)[0]
        return text.decode(errors="replace"), self.num


class Definitions:
    """The messages, types and services of one VPP."""

    def __init__(self, modules: list[Mapping[str, Any]]) -> None:
        self.services: dict[str, Mapping[str, Any]] = {}
        self.types: dict[str, tuple[str, Any]] = {}
        """{name with vl_api_ and _t: (enums, enumflags, unions, types or aliases; its definition)}"""
        self.raw_messages: dict[str, list] = {}
        self._packers: dict[str, Any] = {}
        self._messages: dict[str, papi.VPPMessage] = {}
        for module in modules:
            self.services.update(module.get("services", {}))
            for kind in ("enums", "enumflags", "unions", "types"):
                for name, *fields in module.get(kind, ()):
                    self.types.setdefault(f"vl_api_{name}_t", (kind, fields))
            for name, alias in module.get("aliases", {}).items():
                self.types.setdefault(f"vl_api_{name}_t", ("aliases", alias))
            for name, *fields in module.get("messages", ()):
                self.raw_messages[name] = fields

    @classmethod
    def bootstrap(cls) -> Definitions:
        """Return the definitions, from vpp_papi's files, of the messages that ask VPP for all others."""
        text = importlib.resources.files("vpp_papi.data").joinpath("memclnt.api.json").read_text()
        return cls([json.loads(text)])

    def extended(self, text: str) -> Definitions:
        """Return these definitions with those in `text` added, which is VPP's answer to get_api_json.

        Raises: ValueError.
        """
        own = {"messages": [[name, *fields] for name, fields in self.raw_messages.items()],
               "services": self.services,
               **{kind: [[name[7:-2], *fields] for name, (its_kind, fields) in self.types.items()
                         if its_kind == kind] for kind in ("enums", "enumflags", "unions", "types")}}
        return Definitions([*json.loads(text), own])

    def crc(self, name: str) -> str:
        """Return a message's CRC as 8 hexadecimal digits. Raises: KeyError."""
        return next(field["crc"] for field in self.raw_messages[name] if isinstance(field, dict))[2:]

    def message(self, name: str) -> papi.VPPMessage:
        """Return the packer of a message. Raises: KeyError when VPP has no such message."""
        if (message := self._messages.get(name)) is None:
            fields = self.raw_messages[name]
            with self._in_papi():
                self._build_all(fields)
                message = papi.VPPMessage(name, fields)
            _tolerate_any_bytes(message)
            self._messages[name] = message
        return message

    def packer(self, name: str) -> Any:
        """Return the packer of a type that a built message uses. Raises: KeyError."""
        return _BASE.get(name) or self._packers[name]

    @contextlib.contextmanager
    def _in_papi(self) -> Iterator[None]:
        """Put these types, and no other VPP's, into vpp_papi's table while the context lasts."""
        with _LOCK:
            others = dict(papi.types)
            papi.types.clear()
            papi.types.update(_BASE)
            papi.types.update(self._packers)
            try:
                yield
            finally:
                papi.types.clear()
                papi.types.update(others)

    def _build_all(self, fields: list) -> None:
        for field in fields:
            if isinstance(field, list):
                self._build(field[0])

    def _build(self, name: str) -> None:
        if name in _BASE or name in self._packers:
            return
        kind, fields = self.types[name]
        match kind:
            case "enums":
                packer = papi.VPPEnumType(name, fields)
            case "enumflags":
                packer = papi.VPPEnumFlagType(name, fields)
            case "aliases":
                self._build(fields["type"])
                packer = papi.VPPTypeAlias(name, fields)
            case _:
                self._build_all(fields)
                packer = (papi.VPPUnionType if kind == "unions" else papi.VPPType)(name, fields)
                _tolerate_any_bytes(packer)
        self._packers[name] = packer


def _tolerate_any_bytes(packer: Any) -> None:
    """Replace the decoders of a structure's strings."""
    if isinstance(packer, papi.VPPType):
        for index, one in enumerate(packer.packers):
            if type(one) is papi.String:
                one.__class__ = _TolerantString
                packer.packers[index] = one
