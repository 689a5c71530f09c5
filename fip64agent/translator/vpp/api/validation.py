# SPDX-License-Identifier: Apache-2.0
"""Checks requests before they are sent, since a malformed one can kill VPP.

For each type in VPP's own definitions a function is made once. It checks a value and returns it in the form
(bytes and dicts) that vpp_papi packs fastest. A field that has no default in VPP's definitions must be given;
only lists of fixed length, strings and the counts of lists may be left out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

import vpp_papi.vpp_serializer as papi

from fip64agent.translator.vpp.api import values
from fip64agent.translator.vpp.api.definitions import Definitions
from fip64agent.translator.vpp.api.values import Check, Invalid

_REQUIRED = object()
_HEADER = ("_vl_msg_id", "client_index", "context")


class RequestPacker:
    """Checks and packs one kind of message."""

    def __init__(self, definitions: Definitions, name: str) -> None:
        """Raises: KeyError when VPP has no such message."""
        self.name = name
        self._message = definitions.message(name)
        self._check = _Compiler(definitions).structure(name, definitions.raw_messages[name],
                                                       self._message, skip=_HEADER)

    def pack(self, fields: Mapping[str, Any], number: int, client_index: int, context: int) -> bytes:
        """Return the message. Raises: ValueError naming message, field and fault."""
        try:
            values = self._check(fields)
        except Invalid as error:
            raise ValueError(error.text(self.name)) from None
        values["_vl_msg_id"] = number
        values["client_index"] = client_index
        values["context"] = context
        try:
            return self._message.pack(values)
        except Exception as error:  # vpp_papi raises exceptions of any kind
            raise ValueError(f"{self.name}: vpp_papi cannot pack it: {error.__cause__ or error}") from error


class _Compiler:
    """Makes checks from the definitions of one VPP."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    # -- structures -------------------------------------------------------------------------------

    def structure(self, name: str, raw: list, packer: papi.VPPType, skip: tuple[str, ...] = ()) -> Check:
        """Return the check of a message or a structured type."""
        fields = [field for field in raw if isinstance(field, list) and field[1] not in skip]
        counts = {field[3]: field[1] for field in fields if len(field) > 3 and isinstance(field[3], str)}
        steps = []
        for field in fields:
            options = field[-1] if isinstance(field[-1], dict) else {}
            steps.append((field[1], self._field(field, options),
                          self._default(field, options), counts.get(field[1])))
        check = _structure(steps)
        return _ADDITIONAL[name](check) if name in _ADDITIONAL else check

    def _field(self, field: list, options: Mapping[str, Any]) -> Check:
        type_name, length = field[0], field[2] if len(field) > 2 and isinstance(field[2], int) else None
        variable = len(field) > 3 and isinstance(field[3], str)
        if length is None:
            return self.type(type_name)
        if type_name == "string":
            return values.string(options.get("limit") or length)
        if type_name == "u8":
            return values.octets(None if variable or not length else length)
        return values.list_of(self.type(type_name), None if variable or not length else length)

    def _default(self, field: list, options: Mapping[str, Any]) -> Any:
        if "default" in options:
            return _constant(field[0], options["default"])
        if len(field) > 2 and isinstance(field[2], int):
            if field[0] == "string":
                return ""
            if len(field) > 3 and isinstance(field[3], str):
                return []
            if field[0] == "u8":
                return bytes(field[2])
            return [self._zero(field[0])] * field[2]
        if self._definitions.types.get(field[0], ("", ()))[0] == "unions":
            return None  # vpp_papi packs zeros
        return _REQUIRED

    def _zero(self, name: str) -> Any:
        kind, fields = self._definitions.types.get(name, ("base", ()))
        if kind != "types":
            return None  # vpp_papi packs zeros
        return {field[1]: self._default(field, {}) if len(field) > 2 else self._zero(field[0])
                for field in fields if isinstance(field, list)}

    # -- types ------------------------------------------------------------------------------------

    def type(self, name: str) -> Check:
        if (check := values.BASE.get(name) or values.WELL_KNOWN.get(name)) is not None:
            return check
        kind, fields = self._definitions.types[name]
        packer = self._definitions.packer(name)
        match kind:
            case "enums" if not name.endswith("_flags_t"):  # VPP defines some flags as enums
                return values.enumeration({key: value for key, value in _members(fields)})
            case "enums" | "enumflags":
                return values.flags({key: value for key, value in _members(fields)})
            case "aliases":
                if "length" in fields:
                    return values.octets(fields["length"]) if fields["type"] == "u8" else \
                        values.list_of(self.type(fields["type"]), fields["length"])
                return self.type(fields["type"])
            case "unions":
                return values.union({field[1]: self.type(field[0])
                                     for field in fields if isinstance(field, list)})
            case _:
                return self.structure(name, fields, packer)


def _members(fields: list):
    return ((field[0], field[1]) for field in fields if isinstance(field, list))


def _constant(type_name: str, text: Any) -> Any:
    """Return a field's default as a value: VPP's definitions have the text "false", which counts as true."""
    if type_name == "bool":
        return text in (True, 1, "true", "True")
    return text


def _structure(steps: list[tuple[str, Check, Any, str | None]]) -> Check:
    names = {step[0] for step in steps}

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            if not hasattr(value, "_asdict"):  # what vpp_papi unpacked
                raise Invalid(f"a mapping of fields is needed, not {value!r}")
            value = value._asdict()
        out: dict[str, Any] = {}
        given = 0
        for name, check_field, default, list_name in steps:
            if name in value:
                given += 1
                try:
                    out[name] = number = check_field(value[name])
                except Invalid as error:
                    raise error.inside(name) from None
                if list_name is not None and number != _length(value.get(list_name)):
                    raise Invalid(f"{number}, but {list_name} has {_length(value.get(list_name))}"
                                  ).inside(name)
            elif list_name is not None:
                try:
                    out[name] = check_field(_length(value.get(list_name)))
                except Invalid:
                    raise Invalid(f"{_length(value[list_name])} are too many").inside(list_name) from None
            elif default is _REQUIRED:
                raise Invalid("is missing").inside(name)
            else:
                out[name] = default
        if given != len(value):
            unknown = sorted(str(name) for name in value if name not in names)
            raise Invalid(f"VPP knows no field {', '.join(unknown)}; it knows {', '.join(sorted(names))}")
        return out

    return check


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (list, tuple, bytes)) else 0


# -- checks beyond VPP's definitions ---------------------------------------------------------------


_PATH_TYPES = {0: "normal", 2: "drop", 5: "ICMP unreachable", 6: "ICMP prohibited"}
"""The types of paths that are allowed. Measured: paths of the types UDP encapsulation, BIER and DVR, paths of
protocol MPLS, and local paths of an interface that does not exist kill VPP 26.10."""
_PROTOCOLS = ("ip4", "ip6")


def _path(check: Check) -> Check:
    """Check a route's path. The next hop's address has no family of its own: the path's protocol says it."""
    def checked(value: Any) -> dict[str, Any]:
        path = check(value)
        if path["type"] not in _PATH_TYPES:
            raise Invalid(f"{path['type']} is none of {', '.join(_PATH_TYPES.values())}").inside("type")
        if path["proto"] not in (0, 1):
            raise Invalid(f"{path['proto']} is neither IPv4 nor IPv6").inside("proto")
        for arm in path["nh"]["address"] or ():
            if arm != _PROTOCOLS[path["proto"]]:
                raise Invalid(f"an {arm} address in an {_PROTOCOLS[path['proto']]} path").inside("nh")
        if path["n_labels"]:
            raise Invalid("MPLS labels on a path of this agent").inside("n_labels")
        return path

    return checked


def _route(check: Check) -> Check:
    """Check that a route's paths have the family of its prefix."""
    def checked(value: Any) -> dict[str, Any]:
        route = check(value)
        for index, path in enumerate(route["paths"]):
            if path["proto"] != route["prefix"]["address"]["af"]:
                raise Invalid(f"an {_PROTOCOLS[path['proto']]} path").inside(f"paths[{index}]")
        return route

    return checked


_LONGEST_LINK_NAME = 15
"""Characters of a network interface's name in Linux. Measured: a longer one kills VPP 26.10."""


def _link_name(check: Check) -> Check:
    """Check the name of the Linux interface that a host-interface is made on."""
    def checked(value: Any) -> dict[str, Any]:
        request = check(value)
        if not 0 < len(request["host_if_name"]) <= _LONGEST_LINK_NAME:
            raise Invalid(f"{request['host_if_name']!r} is no interface's name: 1 to {_LONGEST_LINK_NAME} "
                          "characters").inside("host_if_name")
        return request

    return checked


def _host_address(packed: bytes, field: str) -> None:
    """Raise Invalid unless a host can have this address: VPP 26.10 crashed after other ones in a fuzz run."""
    address = ipaddress.ip_address(packed)
    if address.is_unspecified or address.is_multicast or address == _BROADCAST:
        raise Invalid(f"{address} is no host's address").inside(field)


def _interface_address(check: Check) -> Check:
    def checked(value: Any) -> dict[str, Any]:
        request = check(value)
        if not request["del_all"]:
            prefix = request["prefix"]
            (packed,) = prefix["address"]["un"].values()
            _host_address(packed, "prefix")
            if prefix["len"] == 0:
                raise Invalid("a prefix length of 0 covers all addresses").inside("prefix")
        return request

    return checked


def _neighbor(check: Check) -> Check:
    def checked(value: Any) -> dict[str, Any]:
        request = check(value)
        (packed,) = request["neighbor"]["ip_address"]["un"].values()
        _host_address(packed, "neighbor.ip_address")
        return request

    return checked


_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
_ADDITIONAL: dict[str, Callable[[Check], Check]] = {
    "sw_interface_add_del_address": _interface_address, "ip_neighbor_add_del": _neighbor,
    "af_packet_create_v3": _link_name, "af_packet_delete": _link_name,
    "vl_api_fib_path_t": _path, "vl_api_ip_route_t": _route, "vl_api_ip_route_v2_t": _route,
}
