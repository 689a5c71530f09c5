# SPDX-License-Identifier: Apache-2.0
"""IPv6 of VM ports: the ports that the agent serves, their networks, addresses and gateways."""

from __future__ import annotations

from fip64agent.plan.base.objects import Uplink
from fip64agent.plan.kinds import Feature, Kind
from fip64agent.plan.ports.addresses import ADDRESSES
from fip64agent.plan.ports.bound import NETWORK_NUMBERS
from fip64agent.plan.ports.external import EXTERNAL_ROUTES6
from fip64agent.plan.ports.objects import (
    FILTER,
    ZONE,
    AllServedPorts,
    ExternalRoute6,
    Route6,
    RouterInterface6,
    ServedAddress,
    ServedNetwork,
    ServedPort,
    ServedRouter,
)
from fip64agent.plan.ports.routers import INTERFACES6, ROUTER_NUMBERS
from fip64agent.plan.ports.routes import ROUTES6, SERVED_ROUTERS
from fip64agent.plan.ports.served import ALL_PORTS, SERVED_NETWORKS, SERVED_PORTS
from fip64agent.plan.problems import ObjectKey


def _describe_port(port: ServedPort) -> str:
    addresses = ", ".join(map(str, port.addresses)) or "no IPv6 address"
    return f"{port.port_id} (OpenFlow port {port.ofport}) with {addresses}"


def _describe_interface(interface: RouterInterface6) -> str:
    addresses = ", ".join(map(str, (*interface.addresses, interface.link_local)))
    return f"port {interface.port_id} of router {interface.router_id} with {addresses}"


def _on_network(obj: ServedPort | RouterInterface6) -> tuple[ObjectKey, ...]:
    return ((ServedNetwork.kind, obj.network_id),)


def _port_stands_on(port: ServedPort) -> tuple[ObjectKey, ...]:
    filtering = ((FILTER, port.port_id), (ZONE, port.network_id))
    return (AllServedPorts.kind,), *_on_network(port), *(filtering if port.filtered else ())


FEATURE = Feature(
    "ports",
    kinds=(
        Kind(AllServedPorts.kind, "part that all served ports share", "parts that all served ports share",
             listed=False),
        Kind(ServedNetwork.kind, "network", "networks", numbers=((NETWORK_NUMBERS, "number"),), listed=False),
        Kind(ServedPort.kind, "port", "ports", after=(AllServedPorts.kind, ServedNetwork.kind),
             describe=_describe_port, stands_on=_port_stands_on),
        Kind(ServedAddress.kind, "address", "addresses", after=(ServedPort.kind,), listed=False),
        Kind(RouterInterface6.kind, "router interface", "router interfaces", after=(ServedNetwork.kind,),
             listed=False, describe=_describe_interface, stands_on=_on_network),
        Kind(ServedRouter.kind, "router", "routers", after=(RouterInterface6.kind,),
             numbers=((ROUTER_NUMBERS, "number"),), listed=False),
        Kind(Route6.kind, "route", "routes", after=(ServedRouter.kind, ServedAddress.kind), listed=False),
        Kind(ExternalRoute6.kind, "external route", "external routes", after=(ServedRouter.kind, Uplink.kind),
             listed=False)),
    planners=(ALL_PORTS, SERVED_NETWORKS, SERVED_PORTS, ADDRESSES, INTERFACES6, SERVED_ROUTERS, ROUTES6,
              EXTERNAL_ROUTES6),
    numbers=(NETWORK_NUMBERS, ROUTER_NUMBERS))
