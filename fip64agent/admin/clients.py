# SPDX-License-Identifier: Apache-2.0
"""The client bindings of the tenants, as the translator has them now."""

from __future__ import annotations

import time
from ipaddress import IPv6Network
from typing import Any

from fip64agent import hub
from fip64agent.admin.answers import name_of, timestamp
from fip64agent.admin.listings import tenants
from fip64agent.admin.state import States


def find_router(states: States, what: str) -> str | None:
    """Return the id of the router with that id or, if only one has it, that name."""
    if what in states.topology.routers or states.object(tenants.LISTING.kind, what) is not None:
        return what
    named = [router.id for router in states.topology.routers.values() if router.name == what]
    return named[0] if len(named) == 1 else None


def rows(agent, router_id: str | None = None, within: IPv6Network | None = None) -> list[dict[str, Any]]:
    """Return a row for each client binding: of one tenant, or of all on this host; in `within`, or anywhere.

    Raises: NotReady when the translator cannot be asked.
    """
    states, now = States(agent), time.time()
    found = []
    for name in sorted(states.desired.of(tenants.LISTING.kind)) if router_id is None else [router_id]:
        router = name_of(states.topology.routers.get(name), name)
        for binding in hub.yielding(agent.rooms["translator"].clients(name)):
            if within is not None and binding.client not in within:
                continue
            used = binding.last_seen
            found.append({"router_id": name, "router": router,
                          "client": str(binding.client), "pool_address": str(binding.pool_address),
                          "static": binding.static, "last_seen": timestamp(used),
                          "idle_seconds": max(0, round(now - used)) if used is not None else None})
    return found
