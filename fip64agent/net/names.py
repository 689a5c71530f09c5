# SPDX-License-Identifier: Apache-2.0
"""DNS names as lists of labels, without compression (RFC 1035, section 3.1; RFC 8106, section 5.2)."""

from __future__ import annotations

from fip64agent.net.ipv6 import PacketError

LONGEST_LABEL, LONGEST_NAME = 63, 255
"""Octets of a label, and of a name with the octets that state lengths (RFC 1035, section 2.3.4)."""
MOST = 32
"""One list of more names is refused: those who read it must not take long."""

_LABEL = frozenset(range(0x21, 0x7F)) - {0x2E}
"""Octets of a label: those that stand for themselves in text. Other names would be ambiguous as text."""


def encode(name: str) -> bytes:
    """Return a name as labels, with the empty label at its end.

    `name`: ASCII, such as "example.org"; a dot at the end, as Neutron's dns_domain has it, changes nothing.
    Raises: PacketError when it is no name, also for that of the root.
    """
    try:
        labels = name.removesuffix(".").encode("ascii").split(b".")
    except UnicodeEncodeError as error:
        raise PacketError(f"{name!r} is no name of DNS: it is not ASCII") from error
    for label in labels:
        if not 1 <= len(label) <= LONGEST_LABEL or not _LABEL.issuperset(label):
            raise PacketError(f"{name!r} is no name of DNS: label {label.decode()!r}")
    encoded = b"".join([bytes((len(label),)) + label for label in labels]) + b"\0"
    if len(encoded) > LONGEST_NAME:
        raise PacketError(f"{name!r} is no name of DNS: {len(encoded)} octets")
    return encoded


def decode(data: bytes) -> tuple[str, ...]:
    """Return the names in `data`, one after the other; octets of 0 after the last one are padding.

    Raises: PacketError when there is no name, or more than MOST, or something else: compression, a name that
    is too long or not whole, octets that are not text.
    """
    names: list[str] = []
    position, end = 0, len(data)
    while position < end and data[position]:
        labels: list[str] = []
        start = position
        while size := data[position]:
            position += 1 + size
            label = data[position - size:position]
            if size > LONGEST_LABEL or position >= end or position - start >= LONGEST_NAME:
                raise PacketError(f"a label of {size} octets, {end - start} octets from the end")
            if not _LABEL.issuperset(label):
                raise PacketError(f"a label that is not text: {label.hex()}")
            labels.append(label.decode())
        position += 1
        names.append(".".join(labels))
        if len(names) > MOST:
            raise PacketError(f"more than {MOST} names")
    if not names or any(data[position:]):
        raise PacketError("no name of DNS, or something after the last one")
    return tuple(names)
