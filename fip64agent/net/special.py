# SPDX-License-Identifier: Apache-2.0
"""Addresses by which no host on another link is reached (RFC 6890, RFC 4291): they are not translated.

A translator may end when its configuration has one of them, except those in 0.0.0.0/8.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

RESERVED_IPV4 = {
    IPv4Network("0.0.0.0/8"): "a host of this network (0.0.0.0/8)",
    IPv4Network("127.0.0.0/8"): "a loopback address (127.0.0.0/8)",
    IPv4Network("169.254.0.0/16"): "a link-local address (169.254.0.0/16)",
    IPv4Network("224.0.0.0/4"): "a multicast address (224.0.0.0/4)",
    IPv4Network("240.0.0.0/4"): "a reserved address (240.0.0.0/4)",
}
RESERVED_IPV6 = {
    IPv6Network("::/8"): "a reserved address (::/8)",
    IPv6Network("fe80::/10"): "a link-local address (fe80::/10)",
    IPv6Network("ff00::/8"): "a multicast address (ff00::/8)",
}


def _by_first_octet(kinds: dict) -> list[list[tuple[int, int, str]]]:
    """Return, for each value of an address's first octet, (first, last, words) of what is reserved there."""
    found: list[list[tuple[int, int, str]]] = [[] for _ in range(256)]
    for prefix, words in kinds.items():
        for octet in range(prefix[0].packed[0], prefix[-1].packed[0] + 1):
            found[octet].append((int(prefix[0]), int(prefix[-1]), words))
    return found


_IPV4, _IPV6 = _by_first_octet(RESERVED_IPV4), _by_first_octet(RESERVED_IPV6)


def reserved(address: IPv4Address | IPv6Address) -> str:
    """Return, in words, why `address` is not that of a host; "" when it can be."""
    number = int(address)  # comparing integers is much faster than address in prefix
    for first, last, words in _IPV4[number >> 24] if address.version == 4 else _IPV6[number >> 120]:
        if first <= number <= last:
            return words
    return ""
