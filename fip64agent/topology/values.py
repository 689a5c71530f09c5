# SPDX-License-Identifier: Apache-2.0
"""The kinds of values a topology document has, and what makes one valid.

Each validator takes a value as read from YAML and returns it in the model's form.
Raises: ValueError with a reason an operator can act on.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any

from pydantic import PlainValidator

from fip64agent.net.special import RESERVED_IPV4
from fip64agent.topology.model import DIRECTIONS, ETHERTYPES, IPV6_MODES
from fip64agent.topology.words import shown

MAX_ID = 48
"""A VPP interface tag has 64 bytes: ``fip64:<role>:<id>`` must fit. Neutron's ids have 36."""
MIN_MTU, MAX_MTU = 68, 65535
"""RFC 791: the smallest MTU of IPv4; the largest IPv4 packet."""

_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MAX_ID - 1}}}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_DNS_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_DNS_KEYWORD = re.compile(r"<(project|user)_(id|name)>")
MAX_DNS_NAME = 253
"""RFC 1035, section 2.3.4: 255 bytes with the length of the first label and the empty last one."""
PROTOCOLS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "icmpv6": 58, "igmp": 2,
    "ipip": 4, "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
    "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136,
    "vrrp": 112}
"""The names that Neutron has for IP protocols."""
_ANY_PROTOCOL = ("any", "ip")


def _string(value: Any, what: str) -> str:
    if not isinstance(value, str):
        hint = "; put it into quotes" if isinstance(value, bool | int) else ""
        raise ValueError(f"must be {what}, is {shown(value)}{hint}")
    return value


def text(value: Any) -> str:
    return _string(value, "a string")


def resource_id(value: Any) -> str:
    value = _string(value, "an id")
    if not _ID.fullmatch(value):
        raise ValueError(f"{shown(value)} is not an id: 1 to {MAX_ID} letters, digits, '_', '.' and '-', "
                         "the first a letter or digit")
    return sys.intern(value)


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, is {shown(value)}")
    return value


def integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"must be a whole number, is {shown(value)}")
    return value


def mtu(value: Any) -> int:
    if not MIN_MTU <= integer(value) <= MAX_MTU:
        raise ValueError(f"must be between {MIN_MTU} and {MAX_MTU}, is {value}")
    return value


def port_number(value: Any) -> int:
    if not 0 <= integer(value) <= 65535:
        raise ValueError(f"must be between 0 and 65535, is {value}")
    return value


def protocol(value: Any) -> int | None:
    """The number of an IP protocol, which may be given by name; None: any protocol."""
    name = str(value) if isinstance(value, int) and not isinstance(value, bool) else (
        _string(value, "the name or number of an IP protocol").lower())
    if name in _ANY_PROTOCOL:
        return None
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if name.isascii() and name.isdigit() and len(name) <= 3 and int(name) <= 255:
        return int(name)
    raise ValueError(f"{shown(value)} is no IP protocol: any, a number from 0 to 255, or one of "
                     f"{', '.join(PROTOCOLS)}")


def one_of(*choices: str) -> Callable[[Any], str]:
    """Return the validator of a value that is one of some words, in upper or lower case."""
    words = {choice.lower(): choice for choice in choices}
    listed = f"{', '.join(choices[:-1])} or {choices[-1]}"

    def word(value: Any) -> str:
        found = words.get(value.lower()) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"must be {listed}, is {shown(value)}")
        return found

    return word


def dns_name(value: Any) -> str:
    """A DNS name in lower case, without a dot at its end; "": none.

    One with keywords that only Neutron can replace ("<project_id>.example.org.") counts as none.
    """
    name = _string(value, "a DNS name").lower().removesuffix(".")
    filled = _DNS_KEYWORD.sub("x", name)
    if filled and not all(map(_DNS_LABEL.fullmatch, filled.split("."))):
        raise ValueError(f"{shown(value)} is not a DNS name: labels of 1 to 63 letters, digits, '-' and '_', "
                         "with dots between them")
    if len(filled) > MAX_DNS_NAME:
        raise ValueError(f"{shown(value)} is too long: a DNS name has at most {MAX_DNS_NAME} characters")
    return name if filled == name else ""


def ip_version(value: Any) -> int:
    if integer(value) not in (4, 6):
        raise ValueError(f"must be 4 or 6, is {value}")
    return value


def mac_address(value: Any) -> str:
    mac = _string(value, "a MAC address").lower()
    if not _MAC.fullmatch(mac):
        raise ValueError(f"{shown(value)} is not a MAC address like fa:16:3e:00:00:01")
    if int(mac[:2], 16) & 1:
        raise ValueError(f"{mac} is a group address, no single interface can have it")
    if mac == "00:00:00:00:00:00":
        raise ValueError("must not be all zeros")
    return mac


def _parsed(version: int, value: str, what: str):
    """Return the address of one IP version, without a zone."""
    try:
        if "%" not in value:
            return (IPv6Address if version == 6 else IPv4Address)(value)
    except ValueError:
        pass
    other = 10 - version
    try:
        (IPv6Address if other == 6 else IPv4Address)(value)
    except ValueError:
        raise ValueError(f"{shown(value)} is not {what}") from None
    raise ValueError(f"must be IPv{version}, {shown(value)} is an IPv{other} address")


def ip_address(value: Any) -> IPv4Address | IPv6Address:
    value = _string(value, "an IP address")
    return _parsed(6 if ":" in value else 4, value, "an IP address")


def ipv4_address(value: Any) -> IPv4Address:
    return _parsed(4, _string(value, "an IPv4 address"), "an IPv4 address")


def floating_address(value: Any) -> IPv6Address:
    """A floating IPv6 address: one that clients anywhere can reach (RFC 4291, section 2.4)."""
    address = _parsed(6, _string(value, "an IPv6 address"), "an IPv6 address")
    for name, refused in (("multicast", address.is_multicast), ("the unspecified address",
                          address.is_unspecified), ("link-local", address.is_link_local),
                          ("the loopback address", address.is_loopback),
                          ("IPv4-mapped", address.ipv4_mapped is not None)):
        if refused:
            raise ValueError(f"{address} is {name}, which cannot be a floating IP address")
    return address


@functools.lru_cache(maxsize=1024)
def _network(value: str, host_bits: bool = False) -> IPv4Network | IPv6Network:
    """Return a prefix. host_bits: whether it may have some; they do not count."""
    try:
        if "/" not in value or "%" in value:
            raise ValueError
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{shown(value)} is not a prefix in CIDR form, like 10.0.0.0/24 "
                         "or 2001:db8::/64") from None
    if not host_bits and ipaddress.ip_address(value.partition("/")[0]) != network.network_address:
        raise ValueError(f"{shown(value)} has host bits set; the prefix is {network}")
    return network


def cidr(value: Any) -> IPv4Network | IPv6Network:
    return _network(_string(value, "a prefix"))


def address_or_prefix(value: Any, host_bits: bool = False) -> IPv4Network | IPv6Network:
    """A prefix; a single address is one of its whole length."""
    value = _string(value, "an IP address or a prefix")
    return _network(value, host_bits) if "/" in value else ipaddress.ip_network(ip_address(value))


def remote_prefix(value: Any) -> IPv4Network | IPv6Network:
    """An address or a prefix of a security group's or address group's remote hosts; as in Neutron, what is
    behind the prefix does not count."""
    return address_or_prefix(value, host_bits=True)


def nat64_pool(value: Any) -> IPv4Network:
    pool = cidr(value)
    if not isinstance(pool, IPv4Network):
        raise ValueError(f"must be IPv4, {pool} is an IPv6 prefix")
    if pool.prefixlen > 30:
        raise ValueError(f"{pool} is too small: a pool is a /30 or larger")
    for reserved in RESERVED_IPV4:
        if pool.overlaps(reserved):
            raise ValueError(f"{pool} overlaps {reserved}, which hosts do not answer to")
    return pool


def client_address(value: Any) -> IPv6Address:
    """An IPv6 client's address: one that packets come from and go to (RFC 4291, section 2.4)."""
    address = _parsed(6, _string(value, "an IPv6 address"), "an IPv6 address")
    if address.is_multicast or address.is_unspecified or address.is_link_local or address.is_loopback:
        raise ValueError(f"{address} is no address that a client elsewhere can have")
    return address


def strings(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        found = "" if isinstance(value, list) else f", is {shown(value)}"
        raise ValueError(f"must be a list of strings{found}")
    return value


def anything(value: Any) -> Any:
    return value


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: its name in the reference, and the type that pydantic checks."""

    label: str
    annotation: Any
    build: Callable[[Any], Any] | None = None
    """Makes of a checked value what the model has; None: it is that already."""
    inner: Any = None
    """The attributes.Resource that each item of a list of mappings is."""


def _kind(label: str, validator) -> Kind:
    return Kind(label, Annotated[Any, PlainValidator(validator)])


ID = _kind("id", resource_id)
TEXT = _kind("string", text)
BOOLEAN = _kind("boolean", boolean)
INTEGER = _kind("integer", integer)
MTU = _kind("integer", mtu)
IP_VERSION = _kind("4 or 6", ip_version)
MAC = _kind("MAC address", mac_address)
ADDRESS = _kind("IP address", ip_address)
IPV4 = _kind("IPv4 address", ipv4_address)
FLOATING = _kind("IPv6 address", floating_address)
CLIENT = _kind("IPv6 address", client_address)
CIDR = _kind("prefix", cidr)
ADDRESS_OR_PREFIX = _kind("IP address or prefix", address_or_prefix)
REMOTE_PREFIX = _kind("IP address or prefix", remote_prefix)
POOL = _kind("IPv4 prefix", nat64_pool)
DNS_NAME = _kind("DNS name", dns_name)
PORT_NUMBER = _kind("integer", port_number)
PROTOCOL = _kind("protocol", protocol)
IPV6_MODE = _kind("IPv6 mode", one_of(*IPV6_MODES))
DIRECTION = _kind("ingress or egress", one_of(*DIRECTIONS))
ETHERTYPE = _kind("IPv4 or IPv6", one_of(*ETHERTYPES))
STRINGS = _kind("list of strings", strings)
ANYTHING = _kind("anything", anything)
