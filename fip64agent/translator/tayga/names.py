# SPDX-License-Identifier: Apache-2.0
"""Names of tayga's network namespaces, links and files: each follows from an object's id or number alone."""

from __future__ import annotations

import hashlib
import re

from fip64agent.plan.allocate import nd_netns

TUN = "nat64"
"""The TUN device in a tenant's namespace."""
CORE = "core"
"""In a tenant's namespace: the link to the core namespace."""
_ND = nd_netns("")
"""End of the name of the namespace that every translator has, for Neighbor Discovery."""
_PLAIN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def core_netns(prefix: str) -> str:
    """Return the name of the namespace that holds the uplinks, and routes between them and the tenants."""
    return prefix + CORE


def tenant_netns(prefix: str, router_id: str) -> str:
    """Return the name of a tenant's namespace: `prefix` and the router's id.

    An id that cannot be (part of) a file name, or would name another namespace of the agent's, is replaced
    by "+" and its SHA-1; "+" is no character of an id that is used as it is.
    """
    if router_id not in (CORE, _ND) and _PLAIN_ID.fullmatch(router_id):
        return prefix + router_id
    digest = hashlib.sha1(router_id.encode("utf-8", "backslashreplace"), usedforsecurity=False).hexdigest()
    return f"{prefix}+{digest}"


def tenant_link(vlan: int) -> str:
    """Return the name, in the core namespace, of the link to the tenant with this number."""
    return f"tenant-{vlan}"


def downlink_peer(vlan: int) -> str:
    """Return the name, in the tenant's namespace, of the far end of its veth on the bridge."""
    return f"vpp-dl-{vlan}"
