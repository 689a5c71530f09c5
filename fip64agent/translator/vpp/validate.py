# SPDX-License-Identifier: Apache-2.0
"""Requests are checked before they are sent: a malformed one can kill VPP.

From VPP's own definitions, one function per type is put together once; it checks a value and returns it as
vpp_papi packs it quickest (bytes and dicts). Nothing is left out by accident: a field without a default of
VPP's must be given, only lists of fixed length, strings and counts of lists may be missing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

import vpp_papi.vpp_serializer as papi

from fip64agent.translator.vpp.definitions import Definitions

Check = Callable[[Any], Any]

_RANGES = {f"u{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32, 64)} | {
    f"i{bits}": (-1 << (bits - 1), (1 << (bits - 1)) - 1) for bits in (8, 16, 32, 64)}
_REQUIRED = object()
_HEADER = ("_vl_msg_id", "client_index", "context")
_FAMILY = {4: (0, "ip4"), 6: (1, "ip6")}
_MAC = re.compile(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}")


class _Invalid(ValueError):
    """A fault, and the way to it: ["route", "paths", "[0]", "sw_if_index"]."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []

    def inside(self, field: str) -> _Invalid:
        self.path.insert(0, field)
        return self

    def text(self, message: str) -> str:
        path = ".".join(self.path).replace(".[", "[")
        return f"{message}: {path + ': ' if path else ''}{self.reason}"


class Request:
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
        except _Invalid as error:
            raise ValueError(error.text(self.name)) from None
        values["_vl_msg_id"] = number
        values["client_index"] = client_index
        values["context"] = context
        try:
            return self._message.pack(values)
        except Exception as error:  # of any kind: vpp_papi lets everything through
            raise ValueError(f"{self.name}: vpp_papi cannot pack it: {error.__cause__ or error}") from error


class _Compiler:
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
        return _SPECIAL[name](check) if name in _SPECIAL else check

    def _field(self, field: list, options: Mapping[str, Any]) -> Check:
        type_name, length = field[0], field[2] if len(field) > 2 and isinstance(field[2], int) else None
        variable = len(field) > 3 and isinstance(field[3], str)
        if length is None:
            return self.type(type_name)
        if type_name == "string":
            return _string(options.get("limit") or length)
        if type_name == "u8":
            return _octets(None if variable or not length else length)
        return _list(self.type(type_name), None if variable or not length else length)

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
        if name in _RANGES:
            return _integer(*_RANGES[name])
        if name in _BASE:
            return _BASE[name]
        if name in _WELL_KNOWN:
            return _WELL_KNOWN[name]
        kind, fields = self._definitions.types[name]
        packer = self._definitions.packer(name)
        match kind:
            case "enums":
                return _enum({key: value for key, value in _members(fields)})
            case "enumflags":
                return _flags({key: value for key, value in _members(fields)})
            case "aliases":
                if "length" in fields:
                    return _octets(fields["length"]) if fields["type"] == "u8" else \
                        _list(self.type(fields["type"]), fields["length"])
                return self.type(fields["type"])
            case "unions":
                return _union({field[1]: self.type(field[0]) for field in fields if isinstance(field, list)})
            case _:
                return self.structure(name, fields, packer)


def _members(fields: list):
    return ((field[0], field[1]) for field in fields if isinstance(field, list))


def _constant(type_name: str, text: Any) -> Any:
    """A default: vpp_papi takes the text "false" for true."""
    if type_name == "bool":
        return text in (True, 1, "true", "True")
    return text


def _structure(steps: list[tuple[str, Check, Any, str | None]]) -> Check:
    names = {step[0] for step in steps}

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            if not hasattr(value, "_asdict"):  # what vpp_papi unpacked
                raise _Invalid(f"a mapping of fields is needed, not {value!r}")
            value = value._asdict()
        out: dict[str, Any] = {}
        given = 0
        for name, check_field, default, list_name in steps:
            if name in value:
                given += 1
                try:
                    out[name] = number = check_field(value[name])
                except _Invalid as error:
                    raise error.inside(name) from None
                if list_name is not None and number != len(value.get(list_name) or ()):
                    raise _Invalid(f"{number}, but {list_name} has {len(value.get(list_name) or ())}"
                                   ).inside(name)
            elif list_name is not None:
                try:
                    out[name] = check_field(len(value.get(list_name) or ()))
                except _Invalid:
                    raise _Invalid(f"{len(value[list_name])} are too many").inside(list_name) from None
            elif default is _REQUIRED:
                raise _Invalid("is missing").inside(name)
            else:
                out[name] = default
        if given != len(value):
            unknown = sorted(str(name) for name in value if name not in names)
            raise _Invalid(f"VPP knows no field {', '.join(unknown)}; it knows {', '.join(sorted(names))}")
        return out

    return check


# -- simple types ---------------------------------------------------------------------------------


def _integer(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if not isinstance(value, int):
            raise _Invalid(f"an integer is needed, not {value!r}")
        if not low <= value <= high:
            raise _Invalid(f"{value} is not within {low} to {high}")
        return value

    return check


def _boolean(value: Any) -> bool:
    if value is True or value is False or (type(value) is int and value in (0, 1)):
        return bool(value)
    raise _Invalid(f"true or false is needed, not {value!r}")


def _float(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise _Invalid(f"a number is needed, not {value!r}")


def _string(length: int) -> Check:
    """length: of the field in bytes, with the NUL at its end; 0: any."""
    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise _Invalid(f"text is needed, not {value!r}")
        if not value.isascii() or "\0" in value:
            raise _Invalid(f"{value!r} is not plain ASCII")
        if length and len(value) > length - 1:
            raise _Invalid(f"{value!r} has {len(value)} characters, {length - 1} are possible")
        return value

    return check


def _octets(length: int | None) -> Check:
    def check(value: Any) -> bytes:
        if not isinstance(value, (bytes, bytearray)):
            raise _Invalid(f"bytes are needed, not {value!r}")
        if length is not None and len(value) != length:
            raise _Invalid(f"{len(value)} bytes, {length} are needed")
        return bytes(value)

    return check


def _list(element: Check, length: int | None) -> Check:
    def check(value: Any) -> list:
        if not isinstance(value, (list, tuple)):
            raise _Invalid(f"a list is needed, not {value!r}")
        if length is not None and len(value) != length:
            raise _Invalid(f"{len(value)} items, {length} are needed")
        out = []
        for item in value:
            try:
                out.append(element(item))
            except _Invalid as error:
                raise error.inside(f"[{len(out)}]") from None
        return out

    return check


def _enum(members: Mapping[str, int]) -> Check:
    values = set(members.values())

    def check(value: Any) -> int:
        if isinstance(value, str) and value in members:
            return members[value]
        if not isinstance(value, int) or value not in values:
            raise _Invalid(f"{value!r} is none of {', '.join(members)}")
        return int(value)

    return check


def _flags(members: Mapping[str, int]) -> Check:
    every = 0
    for bit in members.values():
        every |= bit

    def check(value: Any) -> int:
        if isinstance(value, str):
            value = (value,)
        if isinstance(value, (list, tuple, set, frozenset)):
            bits = 0
            for name in value:
                if name not in members:
                    raise _Invalid(f"{name!r} is none of {', '.join(members)}")
                bits |= members[name]
            return bits
        if not isinstance(value, int) or value & ~every:
            raise _Invalid(f"{value!r} is no combination of {', '.join(members)}")
        return int(value)

    return check


def _union(arms: Mapping[str, Check]) -> Check:
    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or len(value) != 1:
            raise _Invalid(f"exactly one of {', '.join(arms)} is needed, not {value!r}")
        (name, arm), = value.items()
        if name not in arms:
            raise _Invalid(f"{name!r} is none of {', '.join(arms)}")
        try:
            return {name: arms[name](arm)}
        except _Invalid as error:
            raise error.inside(name) from None

    return check


# -- addresses ------------------------------------------------------------------------------------


def _address(version: int | None, length: int | None = None) -> Callable[[Any], Any]:
    """Return a check that gives an ipaddress object of one version, or of either."""
    def check(value: Any):
        try:
            address = value if hasattr(value, "packed") and hasattr(value, "version") else \
                ipaddress.ip_address(value)
        except ValueError:
            raise _Invalid(f"an {'IP' if version is None else f'IPv{version}'} address is needed, "
                           f"not {value!r}") from None
        if hasattr(address, "network"):
            raise _Invalid(f"an address without a prefix length is needed, not {value}")
        if version is not None and address.version != version:
            raise _Invalid(f"an IPv{version} address is needed, not {address}")
        return address

    return check


def _packed(version: int) -> Check:
    parse = _address(version)
    kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address

    def check(value: Any) -> bytes:
        if type(value) is kind:
            return value.packed
        if isinstance(value, bool) or isinstance(value, int):
            raise _Invalid(f"an IPv{version} address is needed, not {value!r}")
        if isinstance(value, str) and "%" in value:
            raise _Invalid(f"an address without a scope is needed, not {value!r}")
        return parse(value).packed

    return check


_IP4 = _packed(4)
_IP6 = _packed(6)


def _any_address(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        raise _Invalid("an ipaddress object or text is needed")
    if isinstance(value, int) or (isinstance(value, str) and "%" in value):
        raise _Invalid(f"an IP address is needed, not {value!r}")
    address = _address(None)(value)
    family, arm = _FAMILY[address.version]
    return {"af": family, "un": {arm: address.packed}}


def _prefix(version: int | None, host_bits: bool) -> Check:
    """host_bits: the address is that of an interface, so bits behind the prefix length may be set."""
    network = (ipaddress.IPv4Network, ipaddress.IPv6Network)
    interface = (ipaddress.IPv4Interface, ipaddress.IPv6Interface)

    def check(value: Any) -> dict[str, Any]:
        try:
            if isinstance(value, str) and "/" in value:
                value = (ipaddress.ip_interface if host_bits else ipaddress.ip_network)(value)
        except ValueError as error:
            raise _Invalid(str(error)) from None
        if isinstance(value, interface) and host_bits:
            address, length = value.ip, value.network.prefixlen
        elif isinstance(value, network):
            address, length = value.network_address, value.prefixlen
        else:
            raise _Invalid(f"{'an address with its' if host_bits else 'a prefix with its'} length is needed, "
                           f"not {value!r}")
        if version is not None and address.version != version:
            raise _Invalid(f"IPv{version} is needed, not {value}")
        if version is not None:
            return {"address": address.packed, "len": length}
        return {"address": _any_address(address), "len": length}

    return check


def _mac(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray)) and len(value) == 6:
        return bytes(value)
    text = str(value)
    if not _MAC.fullmatch(text):
        raise _Invalid(f"a MAC address is needed, not {value!r}")
    return bytes.fromhex(text.replace(":", "").replace("-", ""))


_BASE: dict[str, Check] = {"bool": _boolean, "f64": _float, "string": _string(0)}
_WELL_KNOWN: dict[str, Check] = {
    "vl_api_ip4_address_t": _IP4, "vl_api_ip6_address_t": _IP6, "vl_api_address_t": _any_address,
    "vl_api_mac_address_t": _mac,
    "vl_api_prefix_t": _prefix(None, False), "vl_api_address_with_prefix_t": _prefix(None, True),
    "vl_api_ip4_prefix_t": _prefix(4, False), "vl_api_ip4_address_with_prefix_t": _prefix(4, True),
    "vl_api_ip6_prefix_t": _prefix(6, False), "vl_api_ip6_address_with_prefix_t": _prefix(6, True),
}

# -- what VPP's definitions do not say ------------------------------------------------------------


def _path(check: Check) -> Check:
    """A route's path: its next hop's address, which carries no family, must be of the path's."""
    def checked(value: Any) -> dict[str, Any]:
        path = check(value)
        for arm in path["nh"]["address"] or ():
            if path["proto"] not in (0, 1) or arm != ("ip4", "ip6")[path["proto"]]:
                raise _Invalid(f"an {arm} next hop in a path whose proto is {path['proto']}").inside("nh")
        if path["n_labels"] > 16:
            raise _Invalid(f"{path['n_labels']}, 16 are possible").inside("n_labels")
        return path

    return checked


def _route(check: Check) -> Check:
    """A route: its paths are of its prefix's family, as VPP does not check it."""
    def checked(value: Any) -> dict[str, Any]:
        route = check(value)
        for index, path in enumerate(route["paths"]):
            if path["proto"] != route["prefix"]["address"]["af"]:
                raise _Invalid(f"proto {path['proto']} under {value['prefix']}").inside(f"paths[{index}]")
        return route

    return checked


_SPECIAL: dict[str, Callable[[Check], Check]] = {
    "vl_api_fib_path_t": _path, "vl_api_ip_route_t": _route, "vl_api_ip_route_v2_t": _route,
}
