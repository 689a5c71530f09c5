# SPDX-License-Identifier: Apache-2.0
"""Which bound ports the agent serves, and the numbers of their networks."""

from __future__ import annotations

from fip64agent.plan.base.bindings import BINDINGS, Bindings, is_open, waiting_for
from fip64agent.plan.inputs import PORTS, SECURITY_GROUPS, SETTINGS
from fip64agent.plan.nodes import Collected, Derived
from fip64agent.plan.numbers import number_space
from fip64agent.plan.ports.objects import ServedNetwork
from fip64agent.plan.problems import Problem
from fip64agent.topology.model import Port

OF_NEUTRON = "network:"
"""What device_owner begins with when a port is not a VM's, but a router's, a DHCP server's and so on."""
FIRST_NETWORK, LAST_NETWORK = 0x8000, 0xBFFF
"""Numbers of networks, and conntrack zones, of which other systems use low ones: Neutron VLAN IDs."""


def _is_served(ask, port: Port) -> bool:
    if port.device_owner.startswith(OF_NEUTRON):
        return False
    return port.has_ipv6 or is_filtered(ask, port)


def is_filtered(ask, port: Port) -> bool:
    """Return whether security groups are in force for a port. Asks SETTINGS and SECURITY_GROUPS."""
    return (ask(SETTINGS, "").ports.security_groups and port.port_security_enabled
            and any(ask(SECURITY_GROUPS, group) is not None for group in port.security_groups))


def _bound(ask, port_id: str, bindings: Bindings) -> Port | Problem | None:
    """Return the port if it is one to serve, or why its interface cannot be used yet."""
    port = ask(PORTS, port_id)
    if port is None or not ask(SETTINGS, "").ports.enabled or not _is_served(ask, port):
        return None
    return port if is_open(bindings[0]) else waiting_for(port_id, bindings[0])


BOUND = Derived("bound ports to serve", _bound, (PORTS, SETTINGS, SECURITY_GROUPS), each=BINDINGS)
"""By port id: the Port, or why its interface cannot be used yet."""
_BOUND_ON = Collected("bound ports to serve on a network", {
    BOUND: lambda port_id, port: ((port.network_id, port_id),) if isinstance(port, Port) else ()})
_NETWORK_IDS = Collected("ids of served networks", {
    _BOUND_ON: lambda network_id, port_ids: (("", network_id),)})
NETWORK_NUMBERS = number_space("networks", _NETWORK_IDS, lambda ask: (FIRST_NETWORK, LAST_NETWORK),
                               kind=ServedNetwork.kind)
