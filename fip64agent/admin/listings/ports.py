# SPDX-License-Identifier: Apache-2.0
"""VM ports that the agent serves with IPv6."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from fip64agent.admin.answers import json_value, name_of
from fip64agent.admin.listing import STATE_COLUMNS, Details, Listing
from fip64agent.admin.tables import printable

if TYPE_CHECKING:
    from fip64agent.admin.state import States
    from fip64agent.plan.ports.objects import RouterInterface6

KIND, NETWORK = "port", "network"


def _row(states: States, name: str) -> dict[str, Any]:
    port, served = states.topology.ports.get(name), states.object(KIND, name)
    network_id = port.network_id if port else None
    return {
        "port_id": name, "port": name_of(port, name),
        "network_id": network_id, "network": name_of(states.topology.networks.get(network_id), network_id),
        "interface": states.interface_of(served.ofport) if served else None,
        "ofport": served.ofport if served else None,
        "mac_address": port.mac_address if port else None,
        "addresses": json_value(served.addresses) if served else [],
        "gateways": [str(gateway.link_local) for gateway in served.gateways] if served else [],
    }


def _label(states: States, name: str) -> str:
    port = states.topology.ports.get(name)
    return f"{printable(port.name)} ({name})" if port and port.name else name


def _find(states: States, what: str) -> str | None:
    """Return the port with this id, name, MAC, interface, or address; the lowest id, if several have it."""
    known = states.names(KIND)
    if what in known:
        return what
    try:
        address = ip_address(what)
    except ValueError:
        address = None
    for name in known:
        port, served = states.topology.ports.get(name), states.object(KIND, name)
        called = {port.name, port.mac_address} if port else set()
        if what in called or (served and (what == states.interface_of(served.ofport)
                                          or address in served.addresses)):
            return name
    return None


def _gateway(gateway: RouterInterface6) -> dict[str, Any]:
    told = gateway.advertising
    return {
        "router_id": gateway.router_id, "port_id": gateway.port_id, "mac_address": gateway.mac,
        "link_local": str(gateway.link_local), "addresses": json_value(gateway.addresses),
        "advertises": told is not None,
        "prefixes": [f"{prefix.prefix}/{prefix.length}" for prefix in told.prefixes] if told else [],
        "router_lifetime": told.router_lifetime if told else None,
        "dns_servers": json_value(told.dns_servers) if told else [],
        "search_domains": list(told.search_domains) if told else [],
    }


def _details(states: States, name: str) -> dict[str, Any]:
    served = states.object(KIND, name)
    if served is None:
        return {}
    network = states.object(NETWORK, served.network_id)
    return {
        "vlan": served.vlan,
        "mtu": network.mtu if network else None,
        "network_number": served.network,
        "allowed_address_pairs": [f"{pair.prefix} {pair.mac}" for pair in served.pairs],
        "port_security_enabled": served.secured,
        "security_groups": list(states.topology.ports[name].security_groups) if served.filtered else [],
        "routers": [_gateway(gateway) for gateway in served.gateways],
        "failures": states.failures_of((KIND, name)),
    }


LISTING = Listing(
    kind=KIND, title="port", titles="ports", path="ports",
    help="""List the VM ports that the agent serves with IPv6, and why not.

    States: active (installed), pending (waits for something that is expected to come), error (somebody
    must act).
    """,
    columns=("port_id", "port", "network_id", "network", "interface", "ofport", "mac_address", "addresses",
             "gateways", *STATE_COLUMNS),
    short=("port_id", "port", "network", "interface", "addresses", "state", "reason"),
    table=("port", "state", "addresses", "network", "interface", "port_id"),
    by_state=True, row=_row, label=_label,
    details=Details("Show all about one port: its state and why, addresses, routers.",
                    "PORT", ("id", "name", "address", "MAC", "interface"), _find, _details,
                    completed_from="port_id"),
)
