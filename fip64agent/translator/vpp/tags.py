# SPDX-License-Identifier: Apache-2.0
"""Marks on VPP's objects: the tags of interfaces and tenants, and the names of tables. Pure.

An object without such a mark is not this agent's. Ids have at most 48 characters (topology.values), so a mark
fits into the 63 characters that VPP keeps.
"""

from __future__ import annotations

import hashlib
import re

OURS = "fip64:"
UPLINK = f"{OURS}uplink:"
TENANT = f"{OURS}tenant:"
DOWNLINK = f"{OURS}downlink:"
"""The whole tag of the host-interface that all tenants share."""
LONGEST = 63

_PLAIN = re.compile(r"[\x21-\x7e]+")


def _mark(begin: str, name: str) -> str:
    if _PLAIN.fullmatch(name) and len(begin) + len(name) <= LONGEST:
        return begin + name
    # Only for an id that the topology's rules have not checked. Its mark does not contain the id, so its
    # number may change when the agent restarts.
    digest = hashlib.sha1(name.encode("utf-8", "backslashreplace"), usedforsecurity=False)
    return f"{begin}+{digest.hexdigest()}"


def uplink(port_id: str) -> str:
    """Return the mark of an uplink's interface and table."""
    return _mark(UPLINK, port_id)


def tenant(router_id: str) -> str:
    """Return the mark of a tenant, its interface and its table."""
    return _mark(TENANT, router_id)


def is_ours(mark: str) -> bool:
    """Return whether a tag or name is a mark of this agent's."""
    return mark.startswith(OURS)


def uplink_of(mark: str) -> str | None:
    """Return the port id of an uplink's mark, None for any other."""
    return mark.removeprefix(UPLINK) if mark.startswith(UPLINK) else None


def tenant_of(mark: str) -> str | None:
    """Return the router id of a tenant's mark, None for any other."""
    return mark.removeprefix(TENANT) if mark.startswith(TENANT) else None
