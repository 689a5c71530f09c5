# SPDX-License-Identifier: Apache-2.0
"""Uplinks, and whether their gateways answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from fip64agent.admin.answers import json_value, name_of, timestamp
from fip64agent.admin.listing import STATE_COLUMNS, ExternalFault, Gauge, Listing
from fip64agent.admin.tables import printable

if TYPE_CHECKING:
    from fip64agent.admin.state import State, States

KIND = "uplink"
_ALIVE = {True: "alive", False: "dead", None: "unknown"}


def _row(states: States, name: str) -> dict[str, Any]:
    port, uplink = states.topology.ports.get(name), states.object(KIND, name)
    network_id = port.network_id if port else None
    return {
        "port_id": name, "port": name_of(port, name),
        "network_id": network_id, "network": name_of(states.topology.networks.get(network_id), network_id),
        "router_id": uplink.router_id if uplink else (port.device_id if port else None),
        "interface": uplink.interface if uplink else None,
        "ofport": uplink.ofport if uplink else None,
        "addresses": json_value(uplink.addresses) if uplink else [],
        "veth": uplink.veth if uplink else None,
        "veth_ofport": uplink.veth_ofport if uplink else None,
        "gateways": {str(address): _ALIVE[found.alive] for address, found in next_hops(states, name).items()},
    }


def _label(states: States, name: str) -> str:
    port = states.topology.ports.get(name)
    return f"{printable(port.name)} ({name})" if port and port.name else name


# -- its gateways ---------------------------------------------------------------------------


def next_hops(states: States, name: str) -> dict[IPv6Address, Any]:
    """Return the next hops of an uplink, with what is known of each (links.gateways.Reachability); empty when
    nobody watches them."""
    uplink = states.object(KIND, name)
    found = {address: states.agent.gateways.reachability(uplink, address)
             for address in (uplink.next_hops if uplink else ())}
    return {address: known for address, known in found.items() if known is not None}


def _check(states: States, name: str) -> State | None:
    """One of the next hops must be alive, if it has any."""
    known = next_hops(states, name)
    if not known or any(each.alive for each in known.values()):
        return None
    if all(each.alive is False for each in known.values()):
        return states.error(_silence(name, known), "their gateways do not answer Neighbor Solicitations")
    waited = [address for address, each in known.items() if each.alive is None]
    return states.pending(f"waits for {_gateways(waited)} of uplink {name} to answer Neighbor Solicitations",
                          "wait for their gateways to answer Neighbor Solicitations")


def silent(states: States, name: str) -> str:
    """Say which next hops of an uplink do not answer; "": none is known not to.

    None can answer while what leads there is not installed: then this says nothing.
    """
    dead = {address: known for address, known in next_hops(states, name).items() if known.alive is False}
    return _silence(name, dead) if dead and states.installed(KIND, name) else ""


def _silence(name: str, dead: Mapping[IPv6Address, Any]) -> str:
    """Say that next hops of an uplink do not answer, and since when."""
    verb = "does" if len(dead) == 1 else "do"
    since = timestamp(max(each.since for each in dead.values()))
    return f"{_gateways(dead)} of uplink {name} {verb} not answer Neighbor Solicitations (since {since})"


def _gateways(addresses: Collection[IPv6Address]) -> str:
    """Name gateways: "gateway A", "gateways A and B"."""
    names = [str(address) for address in sorted(addresses)]
    return f"gateway {names[0]}" if len(names) == 1 else f"gateways {', '.join(names[:-1])} and {names[-1]}"


def _external(states: States) -> Mapping[str, ExternalFault]:
    return {name: ExternalFault(reason, f"{reason}; what is routed to another one goes on")
            for name in states.names(KIND) if (reason := silent(states, name))}


def _gauges(states: States) -> Iterator[Gauge]:
    yield Gauge("fip64_gateway_up",
                "1 when a gateway of an uplink answers Neighbor Solicitations, 0 when it does not.",
                ("uplink", "gateway"),
                {(name, str(address)): int(known.alive) for name in states.names(KIND)
                 for address, known in next_hops(states, name).items() if known.alive is not None})


LISTING = Listing(
    kind=KIND, title="uplink", titles="uplinks", path="uplinks",
    help="List the uplinks: router ports with IPv6, bound on this host.",
    columns=("port_id", "port", "network_id", "network", "router_id", "interface", "ofport", "addresses",
             "veth", "veth_ofport", "gateways", *STATE_COLUMNS),
    short=("port_id", "network", "interface", "addresses", "veth", "state", "reason"),
    table=("port_id", "state", "addresses", "interface", "veth", "network"),
    row=_row, label=_label, check=_check, external=_external, gauges=_gauges,
)
