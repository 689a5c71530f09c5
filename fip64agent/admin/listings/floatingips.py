# SPDX-License-Identifier: Apache-2.0
"""Floating IPs."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from fip64agent.admin.answers import json_value, name_of
from fip64agent.admin.listing import STATE_COLUMNS, Details, Listing

if TYPE_CHECKING:
    from fip64agent.admin.state import State, States
    from fip64agent.plan.desired import Mapping64

KIND, UPLINK, TENANT, GATEWAY = "fip", "uplink", "tenant", "gateway"


def _row(states: States, name: str) -> dict[str, Any]:
    fip, mapping = states.topology.known("floatingips", name), states.object(KIND, name)
    known = mapping or fip
    router_id, port_id = (known.router_id, known.port_id) if known else (None, None)
    address = mapping.floating_ip if mapping else fip and fip.floating_ip_address
    fixed = mapping.fixed_ip if mapping else fip and fip.fixed_ip_address
    return {
        "id": name, "floating_ip_address": json_value(address), "fixed_ip_address": json_value(fixed),
        "router_id": router_id, "router": name_of(states.topology.routers.get(router_id), router_id),
        "port_id": port_id, "port": name_of(states.topology.ports.get(port_id), port_id),
        "uplink_id": mapping.uplink_id if mapping else None,
    }


def _label(states: States, name: str) -> str:
    fip = states.topology.known("floatingips", name)
    return str(fip.floating_ip_address) if fip else name


def _find(states: States, what: str) -> str | None:
    known = states.names(KIND)
    if what in known or states.object(KIND, what) is not None:
        return what
    try:
        address = IPv6Address(what)
    except ValueError:
        return None
    fips = (states.topology.known("floatingips", name) for name in known)
    return next((fip.id for fip in fips if fip is not None and fip.floating_ip_address == address), None)


def _details(states: States, name: str) -> dict[str, Any]:
    mapping = states.object(KIND, name)
    if mapping is None:
        return {}
    uplink, tenant = states.object(UPLINK, mapping.uplink_id), states.object(TENANT, mapping.router_id)
    return {
        "vm_interface": states.interface_of(mapping.vm_ofport),
        "vm_ofport": mapping.vm_ofport,
        "vm_mac": mapping.vm_mac,
        "gateways": [str(gateway.address) for gateway in states.parts_of((GATEWAY, mapping.port_id))],
        "gateway_mac": mapping.gateway_mac,
        "nat64_pool": str(mapping.pool),
        "nat64_addresses": f"{tenant.pool_first}-{tenant.pool_last}" if tenant else None,
        "on_link": mapping.on_link,
        "uplink_interface": uplink.interface if uplink else None,
        "uplink_ofport": mapping.uplink_ofport,
        "uplink_veth": uplink.veth if uplink else None,
        "uplink_mac": mapping.uplink_mac,
        "uplink_table": mapping.table,
        "downlink_interface": tenant.interface if tenant else None,
        "downlink_ofport": mapping.downlink_ofport,
        "tenant_netns": states.rooms["translator"].netns(tenant.router_id) if tenant else None,
        "tenant_vlan": tenant.vlan if tenant else None,
        "tenant_state": states.state(TENANT, mapping.router_id).state,
        "uplink_state": states.state(UPLINK, mapping.uplink_id).state,
        "failures": states.failures_of((KIND, name), *_parts(states, mapping)),
    }


def _absent(states: States, name: str) -> State | None:
    fip = states.topology.floatingips.get(name)
    return states.down("not associated with a port") if fip is not None and fip.port_id is None else None


def _common(states: States, name: str, reason: str) -> str:
    fip = states.topology.floatingips.get(name)
    return reason.replace(f"port {fip.port_id} ", "its port ") if fip is not None and fip.port_id else ""


def _parts(states: States, mapping: Mapping64) -> Iterable[tuple[str, str]]:
    # The flows of its VM port, which are made for each address of the router that the port sees.
    return ((GATEWAY, mapping.port_id),)


def _waits(states: States, mapping: Mapping64) -> Iterable[str]:
    if mapping.downlink_ofport is not None:
        return ()
    tenant = states.object(TENANT, mapping.router_id)
    return (tenant.interface if tenant else "of the downlink",)


LISTING = Listing(
    kind=KIND, title="floating IP", titles="floating IPs", path="fips",
    help="""List the floating IPs, with their state on this host and why.

    States: active (installed), pending (waits for something that is expected to come), error (somebody
    must act), down (not associated with a port).
    """,
    columns=("id", "floating_ip_address", "fixed_ip_address", "router_id", "router", "port_id", "port",
             "uplink_id", *STATE_COLUMNS),
    short=("id", "floating_ip_address", "fixed_ip_address", "router", "port", "state", "reason"),
    table=("floating_ip_address", "state", "fixed_ip_address", "router", "port", "id"),
    by_state=True, headline=True,
    row=_row, label=_label, absent=_absent, common=_common, parts=_parts, waits=_waits,
    details=Details("Show all about one floating IP: its state and why, VM, uplink.", "FIP",
                    ("id", "address"), _find, _details, completed_from="floating_ip_address"),
)
