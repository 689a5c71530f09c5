# SPDX-License-Identifier: Apache-2.0
"""Tenants: counted, but not listed, as `fip64ctl fip list` names the router of each floating IP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fip64agent.admin.listing import Listing
from fip64agent.admin.tables import printable

if TYPE_CHECKING:
    from fip64agent.admin.state import States


def _label(states: States, name: str) -> str:
    router = states.topology.routers.get(name)
    return f"{printable(router.name)} ({name})" if router and router.name else name


LISTING = Listing(
    kind="tenant", title="tenant", titles="tenants",
    label=_label,
    # It has no flows. Those of its floating IPs need its interface, and wait for it.
    waits=lambda states, tenant: (),
    shares_problems=False,
)
