# SPDX-License-Identifier: Apache-2.0
"""One module per feature: pure functions from the plan's objects to flows. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.desired import Gateway, Host, Mapping64, PlanObject, Tenant, Uplink
from fip64agent.switch.flows.arp import arp
from fip64agent.switch.flows.back import back
from fip64agent.switch.flows.default import default
from fip64agent.switch.flows.deliver import deliver
from fip64agent.switch.flows.flow import Flow
from fip64agent.switch.flows.guard import guard
from fip64agent.switch.flows.isolation import isolate, isolation
from fip64agent.switch.flows.neighbor import neighbor, neighbor_one
from fip64agent.switch.flows.redirect import redirect, redirect_one

FEATURES = {
    Host: (default, guard, isolation),
    Uplink: (redirect, neighbor, guard),
    Tenant: (guard,),
    Mapping64: (neighbor_one, redirect_one, deliver, back),
    Gateway: (arp, isolate),
}


def flows_of(obj: PlanObject) -> Iterator[Flow]:
    """Yield all flows of an object. What needs an OpenFlow port that is not known yet is left out."""
    for feature in FEATURES[type(obj)]:
        yield from feature(obj)
