# SPDX-License-Identifier: Apache-2.0
"""Marks on VPP's objects: the tags of interfaces and tenants, and the names of tables. Pure.

An object without such a mark is not this agent's. Ids have at most 48 characters (topology.values), so a mark
fits into the 63 characters that VPP keeps.
"""

from __future__ import annotations

import hashlib
import re

from fip64agent.plan.desired import Tenant, Uplink

OURS = "fip64:"
DOWNLINK = f"{OURS}downlink:"
"""The whole tag of the host-interface that all tenants share."""
LONGEST = 63

_PLAIN = re.compile(r"[\x21-\x7e]+")


def _mark(kind: str, name: str) -> str:
    begin = f"{OURS}{kind}:"
    if _PLAIN.fullmatch(name) and len(begin) + len(name) <= LONGEST:
        return begin + name
    # Only for an id that the topology's rules have not checked. Its mark does not contain the id, so its
    # number may change when the agent restarts.
    digest = hashlib.sha1(name.encode("utf-8", "backslashreplace"), usedforsecurity=False)
    return f"{begin}+{digest.hexdigest()}"


def uplink(port_id: str) -> str:
    """Return the mark of an uplink's interface and table."""
    return _mark(Uplink.kind, port_id)


def tenant(router_id: str) -> str:
    """Return the mark of a tenant, its interface and its table."""
    return _mark(Tenant.kind, router_id)


def is_ours(mark: str) -> bool:
    """Return whether a tag or name is a mark of this agent's."""
    return mark.startswith(OURS)


def object_of(mark: str) -> tuple[str, str]:
    """Return the kind and the id of the plan's object that a mark of this agent's names; ("", "") for any
    other mark. A mark can name no object: DOWNLINK has a kind that the plan does not know, and no id."""
    if not is_ours(mark):
        return "", ""
    kind, _, name = mark.removeprefix(OURS).partition(":")
    return kind, name


def tenant_of(mark: str) -> str | None:
    """Return the router id of a tenant's mark, None for any other."""
    kind, name = object_of(mark)
    return name if kind == Tenant.kind else None
