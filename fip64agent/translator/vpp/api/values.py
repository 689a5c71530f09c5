# SPDX-License-Identifier: Apache-2.0
"""Checks of single values for VPP's API.

Each takes a value and returns it in the form that vpp_papi packs fastest, or raises Invalid. An address may
be an `ipaddress` object, text or bytes; a member of an enumeration its name or its number.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], Any]

_RANGES = {f"u{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32, 64)} | {
    f"i{bits}": (-1 << (bits - 1), (1 << (bits - 1)) - 1) for bits in (8, 16, 32, 64)}
_FAMILY = {4: (0, "ip4"), 6: (1, "ip6")}
_MAC = re.compile(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}")


class Invalid(ValueError):
    """What is wrong with a value, and the path to its field: ["route", "paths", "[0]", "sw_if_index"]."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []

    def inside(self, field: str) -> Invalid:
        """Put the field that contains the value at the beginning of the path, and return the exception."""
        self.path.insert(0, field)
        return self

    def text(self, message: str) -> str:
        """Return the fault in words. message: name of the request."""
        path = ".".join(self.path).replace(".[", "[")
        return f"{message}: {path + ': ' if path else ''}{self.reason}"


# -- simple types ---------------------------------------------------------------------------------


def _integer(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if not isinstance(value, int):
            raise Invalid(f"an integer is needed, not {value!r}")
        if not low <= value <= high:
            raise Invalid(f"{value} is not within {low} to {high}")
        return value

    return check


def _boolean(value: Any) -> bool:
    if value is True or value is False or (type(value) is int and value in (0, 1)):
        return bool(value)
    raise Invalid(f"true or false is needed, not {value!r}")


def _float(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise Invalid(f"a number is needed, not {value!r}")


def string(length: int) -> Check:
    """Return a check of text. length: of the field in bytes, with the NUL at its end; 0: any."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise Invalid(f"text is needed, not {value!r}")
        if not value.isascii() or "\0" in value:
            raise Invalid(f"{value!r} is not plain ASCII")
        if length and len(value) > length - 1:
            raise Invalid(f"{value!r} has {len(value)} characters, {length - 1} are possible")
        return value

    return check


def octets(length: int | None) -> Check:
    """Return a check of bytes. length: how many; None: any number."""

    def check(value: Any) -> bytes:
        if not isinstance(value, (bytes, bytearray)):
            raise Invalid(f"bytes are needed, not {value!r}")
        if length is not None and len(value) != length:
            raise Invalid(f"{len(value)} bytes, {length} are needed")
        return bytes(value)

    return check


def list_of(element: Check, length: int | None) -> Check:
    """Return a check of a list. element: the check of each item; length: how many; None: any number."""

    def check(value: Any) -> list:
        if not isinstance(value, (list, tuple)):
            raise Invalid(f"a list is needed, not {value!r}")
        if length is not None and len(value) != length:
            raise Invalid(f"{len(value)} items, {length} are needed")
        out = []
        for item in value:
            try:
                out.append(element(item))
            except Invalid as error:
                raise error.inside(f"[{len(out)}]") from None
        return out

    return check


def enumeration(members: Mapping[str, int]) -> Check:
    """Return a check of one member of an enumeration."""
    values = set(members.values())

    def check(value: Any) -> int:
        if isinstance(value, str) and value in members:
            return members[value]
        if not isinstance(value, int) or value not in values:
            raise Invalid(f"{value!r} is none of {', '.join(members)}")
        return int(value)

    return check


def flags(members: Mapping[str, int]) -> Check:
    """Return a check of any combination of flags: names in a list, or a number."""
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
                    raise Invalid(f"{name!r} is none of {', '.join(members)}")
                bits |= members[name]
            return bits
        if not isinstance(value, int) or value & ~every:
            raise Invalid(f"{value!r} is no combination of {', '.join(members)}")
        return int(value)

    return check


def union(arms: Mapping[str, Check]) -> Check:
    """Return a check of a union: a mapping with one of its arms, or None for zeros."""

    def check(value: Any) -> dict[str, Any] | None:
        if value is None:
            return None  # vpp_papi packs zeros
        if not isinstance(value, Mapping) or len(value) != 1:
            raise Invalid(f"exactly one of {', '.join(arms)} is needed, not {value!r}")
        (name, arm), = value.items()
        if name not in arms:
            raise Invalid(f"{name!r} is none of {', '.join(arms)}")
        try:
            return {name: arms[name](arm)}
        except Invalid as error:
            raise error.inside(name) from None

    return check


# -- addresses ------------------------------------------------------------------------------------


def _address(version: int | None) -> Callable[[Any], Any]:
    """Return a check that gives an ipaddress object. version: 4 or 6; None: either."""

    def check(value: Any):
        try:
            address = value if hasattr(value, "packed") and hasattr(value, "version") else \
                ipaddress.ip_address(value)
        except ValueError:
            raise Invalid(f"an {'IP' if version is None else f'IPv{version}'} address is needed, "
                           f"not {value!r}") from None
        if hasattr(address, "network"):
            raise Invalid(f"an address without a prefix length is needed, not {value}")
        if version is not None and address.version != version:
            raise Invalid(f"an IPv{version} address is needed, not {address}")
        return address

    return check


def _packed(version: int) -> Check:
    parse = _address(version)
    kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address

    def check(value: Any) -> bytes:
        if type(value) is kind:
            return value.packed
        if isinstance(value, int):
            raise Invalid(f"an IPv{version} address is needed, not {value!r}")
        if isinstance(value, str) and "%" in value:
            raise Invalid(f"an address without a scope is needed, not {value!r}")
        return parse(value).packed

    return check


_IP4 = _packed(4)
_IP6 = _packed(6)


def _any_address(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        raise Invalid("an ipaddress object or text is needed")
    if isinstance(value, int) or (isinstance(value, str) and "%" in value):
        raise Invalid(f"an IP address is needed, not {value!r}")
    address = _address(None)(value)
    family, arm = _FAMILY[address.version]
    return {"af": family, "un": {arm: address.packed}}


def _prefix(version: int | None, host_bits: bool) -> Check:
    """Return a check of a prefix.

    version: 4 or 6; None: either. host_bits: it is an interface's address, so bits behind the prefix length
    may be set.
    """
    network = (ipaddress.IPv4Network, ipaddress.IPv6Network)
    interface = (ipaddress.IPv4Interface, ipaddress.IPv6Interface)

    def check(value: Any) -> dict[str, Any]:
        try:
            if isinstance(value, str) and "/" in value:
                value = (ipaddress.ip_interface if host_bits else ipaddress.ip_network)(value)
        except ValueError as error:
            raise Invalid(str(error)) from None
        if isinstance(value, interface) and host_bits:
            address, length = value.ip, value.network.prefixlen
        elif isinstance(value, network):
            address, length = value.network_address, value.prefixlen
        else:
            raise Invalid(f"{'an address with its' if host_bits else 'a prefix with its'} length is needed, "
                           f"not {value!r}")
        if version is not None and address.version != version:
            raise Invalid(f"IPv{version} is needed, not {value}")
        if version is not None:
            return {"address": address.packed, "len": length}
        return {"address": _any_address(address), "len": length}

    return check


def _mac(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray)) and len(value) == 6:
        return bytes(value)
    text = str(value)
    if not _MAC.fullmatch(text):
        raise Invalid(f"a MAC address is needed, not {value!r}")
    return bytes.fromhex(text.replace(":", "").replace("-", ""))


BASE: dict[str, Check] = {"bool": _boolean, "f64": _float, "string": string(0),
                           **{name: _integer(*limits) for name, limits in _RANGES.items()}}
WELL_KNOWN: dict[str, Check] = {
    "vl_api_ip4_address_t": _IP4, "vl_api_ip6_address_t": _IP6, "vl_api_address_t": _any_address,
    "vl_api_mac_address_t": _mac,
    "vl_api_prefix_t": _prefix(None, False), "vl_api_address_with_prefix_t": _prefix(None, True),
    "vl_api_ip4_prefix_t": _prefix(4, False), "vl_api_ip4_address_with_prefix_t": _prefix(4, True),
    "vl_api_ip6_prefix_t": _prefix(6, False), "vl_api_ip6_address_with_prefix_t": _prefix(6, True),
}
