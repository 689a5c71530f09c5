# SPDX-License-Identifier: Apache-2.0
"""Exceptions of VPP's API, and the meanings of VPP's return values.

VPP's API does not explain its return values, so those that an operator may see are listed here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from fip64agent.exceptions import EnvironmentMissing, Fip64Error, NotReady

EAGAIN = -165
"""The return value of a cursor stream that has more details."""

_MEANINGS: dict[int, tuple[str, str]] = {
    -1: ("UNSPECIFIED", "VPP does not say why"),
    -2: ("INVALID_SW_IF_INDEX", "there is no such interface"),
    -3: ("NO_SUCH_FIB", "there is no such IP table"),
    -6: ("NO_SUCH_ENTRY", "there is no such entry"),
    -7: ("INVALID_VALUE", "a value is not allowed"),
    -8: ("INVALID_VALUE_2", "a second value is not allowed"),
    -9: ("UNIMPLEMENTED", "this VPP does not implement it"),
    -11: ("SYSCALL_ERROR_1", "a system call of VPP failed: its log says which"),
    -12: ("SYSCALL_ERROR_2", "a system call of VPP failed: its log says which"),
    -13: ("SYSCALL_ERROR_3", "a system call of VPP failed: its log says which"),
    -30: ("FEATURE_DISABLED", "VPP's configuration has it off"),
    -31: ("INVALID_REGISTRATION", "VPP does not know this API client any more"),
    -52: ("NO_PATHS_IN_ROUTE", "the route has no path"),
    -54: ("NO_MATCHING_INTERFACE", "no interface matches"),
    -55: ("INVALID_VLAN", "the VLAN ID is not allowed"),
    -56: ("VLAN_ALREADY_EXISTS", "the interface has a sub-interface with this VLAN ID"),
    -57: ("INVALID_SRC_ADDRESS", "the source address is not allowed"),
    -58: ("INVALID_DST_ADDRESS", "the destination address is not allowed"),
    -59: ("ADDRESS_LENGTH_MISMATCH", "the interface has this address with another prefix length"),
    -60: ("ADDRESS_NOT_FOUND_FOR_INTERFACE", "the interface does not have this address"),
    -62: ("IP6_NOT_ENABLED", "IPv6 is not enabled on the interface"),
    -65: ("NO_SUCH_TABLE", "there is no such table"),
    -68: ("SUBIF_ALREADY_EXISTS", "the sub-interface exists"),
    -69: ("SUBIF_CREATE_FAILED", "the sub-interface could not be made"),
    -70: ("INVALID_MEMORY_SIZE", "not enough memory, or a size that is not allowed"),
    -71: ("INVALID_INTERFACE", "the interface is not one this can be done with"),
    -73: ("INVALID_ARGUMENT", "an argument is not allowed"),
    -74: ("UNEXPECTED_INTF_STATE", "the interface is not in the state this needs"),
    -79: ("IF_ALREADY_EXISTS", "the interface exists"),
    -81: ("VALUE_EXIST", "it exists"),
    -88: ("IP_PREFIX_INVALID", "the prefix has bits set behind its length"),
    -97: ("INVALID_ADDRESS_FAMILY", "the address family is wrong"),
    -98: ("INVALID_SUB_SW_IF_INDEX", "there is no such sub-interface"),
    -99: ("TABLE_TOO_BIG", "the table would become too big"),
    -105: ("ADDRESS_IN_USE", "the address is in use"),
    -106: ("ADDRESS_NOT_IN_USE", "the address is not in use"),
    -107: ("QUEUE_FULL", "VPP's queue is full"),
    -114: ("ADDRESS_FOUND_FOR_INTERFACE", "the interface has the address"),
    -116: ("ENTRY_ALREADY_EXISTS", "the entry exists"),
    -123: ("SUBIF_DOESNT_EXIST", "there is no such sub-interface"),
    -126: ("UNSUPPORTED", "this VPP does not support it"),
    -127: ("DUPLICATE_IF_ADDRESS", "an interface of the same table has the address, or one of a prefix "
           "that overlaps"),
    -144: ("INIT_FAILED", "it could not be set up"),
    -147: ("INSTANCE_IN_USE", "it is in use"),
    -150: ("INVALID_VALUE_3", "a third value is not allowed"),
    -153: ("INVALID_PROTOCOL", "the protocol is not allowed"),
    -155: ("RSRC_IN_USE", "it is in use"),
    -157: ("FIB_PATH_UNSUPPORTED_NH_PROTO", "the route's next hop has a protocol that is not supported"),
    -159: ("API_ENDIAN_FAILED", "VPP could not decode the message"),
    -160: ("NO_CHANGE", "nothing would change"),
    -162: ("LIMIT_EXCEEDED", "a limit is reached"),
    EAGAIN: ("EAGAIN", "there is more to come"),
    -166: ("INVALID_VALUE_4", "a fourth value is not allowed"),
    -167: ("BUSY", "VPP is busy"),
    -168: ("BUG", "a fault in VPP"),
    -171: ("INVALID_PREFIX_LENGTH", "the prefix length is not allowed"),
}


_NUMBERS = {name: number for number, (name, _) in _MEANINGS.items()}


def number(name: str) -> int:
    """Return the return value VNET_API_ERROR_`name`. Raises: KeyError when it is not listed here."""
    return _NUMBERS[name]


def explain(retval: int) -> str:
    """Return a return value in words: "NAME (-6): what it means"."""
    name, meaning = _MEANINGS.get(retval, ("VPP's error", "see vnet/error.h of this VPP"))
    return f"{name} ({retval}): {meaning}"


class VppUnavailable(EnvironmentMissing, NotReady):
    """There is no connection to VPP; the text names the socket and the reason."""


class VppIncompatible(VppUnavailable):
    """VPP answers, but has other messages than this agent was written for; the text names them."""


class VppGone(NotReady):
    """The connection to VPP was lost, before or while a call waited for its answer."""


class VppTimeout(NotReady):
    """VPP did not answer in time; whether it did what was requested is not known."""


@dataclasses.dataclass
class VppError(Fip64Error):
    """VPP refused a request."""

    message: str
    """Name of the request, ip_route_add_del for instance."""
    retval: int
    about: str
    """The request's fields in words: which object it was about."""
    reply: Any = None
    """The whole reply; that to a message with several items has a return value for each (`retvals`)."""

    def __post_init__(self) -> None:
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"VPP refused {self.message} {self.about}: {explain(self.retval)}"

    __hash__ = Exception.__hash__


_LONGEST = 200


def about(fields: Mapping[str, Any]) -> str:
    """Return a request's fields in words, those that are not zero: "(table_id=7, is_add)"."""
    text = f"({', '.join(_pieces(fields))})"
    return text if len(text) <= _LONGEST else text[:_LONGEST - 4] + " …)"


def _pieces(fields: Mapping[str, Any]):
    for name, value in fields.items():
        if value is True:
            yield name
        elif isinstance(value, Mapping):
            yield f"{name}={about(value)}"
        elif isinstance(value, (list, tuple)):
            if value:
                shown = ", ".join(about(item) if isinstance(item, Mapping) else str(item)
                                  for item in value[:3])
                yield f"{name}=[{shown}{', …' if len(value) > 3 else ''}]"
        elif isinstance(value, bytes):
            if value.strip(b"\0"):
                yield f"{name}={value.hex()}"
        elif value not in (0, "", None):
            yield f"{name}={value}"
