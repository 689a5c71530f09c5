# SPDX-License-Identifier: Apache-2.0
"""Checks for `fip64ctl trace` that are the same for every driver."""

from __future__ import annotations

from fip64agent.reconcile.explain import NOTE, OK, Check, Outcome, PacketStopped, TracedPath


def check_installed(room, traced: TracedPath) -> Check:
    """Return the check that `room` has installed what the mapping and its tenant need."""
    def check() -> Outcome:
        looked_at = f"translator of tenant {traced.tenant.router_id}, read back"
        if reason := room.ready():
            raise PacketStopped(looked_at, reason)
        there = room.actual()
        for obj in (traced.tenant, traced.mapping):
            for item in room.expand(obj):
                if item.key not in there:
                    raise PacketStopped(looked_at, f"{item} is not there")
                if there[item.key] != item:
                    raise PacketStopped(looked_at, f"{item} is there, but not as planned: "
                                                   f"{there[item.key]!r}")
        text = f"{traced.mapping.floating_ip} <-> {traced.mapping.fixed_ip} is installed"
        if trouble := room.healthy():
            return NOTE, looked_at, f"{text}, but {trouble}"
        return OK, looked_at, text

    return Check("translate", "the translator knows the mapping", check)


def check_client_binding(room, traced: TracedPath) -> Check:
    """Return the check which pool address the client has; later checks use that address."""
    def check() -> Outcome:
        looked_at = f"client bindings of tenant {traced.tenant.router_id}"
        for binding in room.clients(traced.tenant.router_id):
            if binding.client == traced.client:
                traced.pool_address = binding.pool_address
                return OK, looked_at, f"{binding.pool_address}{', static' if binding.static else ''}"
        return OK, looked_at, "none of this client is known: it gets a pool address with its first packet"

    return Check("client", "a pool address stands in for the client", check)
