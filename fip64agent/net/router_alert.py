# SPDX-License-Identifier: Apache-2.0
"""The Router Alert option of the Hop-by-Hop Options header (RFC 2711), which MLD and RFC 4286 demand."""

from __future__ import annotations

from fip64agent.net.ipv6 import HOP_BY_HOP, Extension, IPv6

MLD = 0
"""The value for MLD, and for Multicast Router Discovery (RFC 4286, section 3)."""

_PAD1, _ROUTER_ALERT = 0, 5


def extension(value: int = MLD) -> Extension:
    """Return the Hop-by-Hop Options header with this Router Alert, and two octets of padding (PadN).

    Raises: OverflowError when `value` is not one of 16 bits.
    """
    return Extension(HOP_BY_HOP, bytes((_ROUTER_ALERT, 2)) + value.to_bytes(2) + b"\x01\x00")


def value_of(header: IPv6) -> int | None:
    """Return the value of the packet's Router Alert.

    None: there is none, or its Hop-by-Hop Options are not formed as they must be, or that header is not the
    first one (RFC 8200, section 4.1).
    """
    if not header.extensions or header.extensions[0].kind != HOP_BY_HOP:
        return None
    data, position, found = header.extensions[0].data, 0, None
    while position < len(data):
        if data[position] == _PAD1:
            position += 1
            continue
        size = 2 + data[position + 1] if position + 1 < len(data) else 0
        if not size or position + size > len(data):
            return None
        if data[position] == _ROUTER_ALERT:
            if found is not None or size != 4:
                return None
            found = int.from_bytes(data[position + 2:position + 4])
        position += size
    return found
