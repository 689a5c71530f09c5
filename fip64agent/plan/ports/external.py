# SPDX-License-Identifier: Apache-2.0
"""How the IPv6 of served routers leaves by an uplink of this host, and comes back."""

from __future__ import annotations

from fip64agent.plan.base.objects import Uplink
from fip64agent.plan.base.routers import GATEWAY_PORTS
from fip64agent.plan.base.uplinks import ALL_UPLINKS, SERVING, UPLINKS
from fip64agent.plan.inputs import PORTS
from fip64agent.plan.nodes import Objects
from fip64agent.plan.ports.objects import ExternalRoute6, ServedRouter
from fip64agent.plan.ports.routers import SUBNETS_BY_ROUTER
from fip64agent.plan.ports.routes import SERVED_ROUTERS


def _uplink(ask, router_id: str) -> Uplink | None:
    """Return the uplink that is a router's own port, else the one that serves the network of its gateway."""
    for port_id in ask(ALL_UPLINKS, ""):
        uplink = ask(UPLINKS, port_id)
        if uplink is not None and uplink.router_id == router_id:
            return uplink
    for port_id in ask(GATEWAY_PORTS, router_id):
        serving = ask(SERVING, ask(PORTS, port_id).network_id)
        if serving is not None:
            return serving
    return None


def _external(ask, router_id: str, router: ServedRouter) -> tuple[ExternalRoute6 | None, None]:
    uplink = _uplink(ask, router_id)
    if uplink is None:
        return None, None
    return ExternalRoute6(router_id, router.number, uplink.port_id, uplink.ofports, uplink.veth_ofport,
                          uplink.mac, ask(SUBNETS_BY_ROUTER, router_id)), None


EXTERNAL_ROUTES6 = Objects(ExternalRoute6.kind, _external, each=SERVED_ROUTERS, reads=(
    ALL_UPLINKS, UPLINKS, GATEWAY_PORTS, SERVING, PORTS, SUBNETS_BY_ROUTER))
