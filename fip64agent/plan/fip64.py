# SPDX-License-Identifier: Apache-2.0
"""The kinds of objects that FIP64 needs."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.desired import Gateway, Host, Mapping64, ObjectKey, Tenant, Uplink
from fip64agent.plan.kinds import Feature, Kind


def _host_waits(host: Host) -> Iterator[str]:
    if host.downlink and host.downlink_ofport is None:
        yield host.downlink


def _uplink_waits(uplink: Uplink) -> Iterator[str]:
    if uplink.veth_ofport is None:
        yield uplink.veth
    if uplink.nd_veth_ofport is None:
        yield uplink.nd_veth


def _tenant_ports(tenant: Tenant) -> tuple[str, ...]:
    return (tenant.interface,) if tenant.own_interface else ()  # else its interface is the host's downlink


def _tenant_waits(tenant: Tenant) -> Iterator[str]:
    if tenant.own_interface and tenant.interface_ofport is None:
        yield tenant.interface


def _describe_uplink(uplink: Uplink) -> str:
    addresses = ", ".join(map(str, uplink.addresses))
    return f"port {uplink.port_id} on interface {uplink.interface} with {addresses}"


def _describe_tenant(tenant: Tenant) -> str:
    return f"router {tenant.router_id}, VLAN {tenant.vlan}, pool {tenant.pool}"


def _describe_mapping(mapping: Mapping64) -> str:
    return (f"{mapping.floating_ip} -> {mapping.fixed_ip} of router {mapping.router_id} "
            f"(VM port {mapping.port_id})")


def _mapping_stands_on(mapping: Mapping64) -> tuple[ObjectKey, ...]:
    return (Tenant.kind, mapping.router_id), (Uplink.kind, mapping.uplink_id)


FEATURE = Feature("fip64", (
    Kind(Host.kind, "host", "hosts", listed=False,
         ports=lambda host: (host.downlink,) if host.downlink else (), waits=_host_waits),
    Kind(Uplink.kind, "uplink", "uplinks", after=(Host.kind,), describe=_describe_uplink,
         ports=lambda uplink: uplink.veths, waits=_uplink_waits, stands_on=lambda uplink: ((Host.kind,),)),
    Kind(Tenant.kind, "tenant", "tenants", after=(Uplink.kind,), describe=_describe_tenant,
         tell_changes=False, ports=_tenant_ports, waits=_tenant_waits,
         stands_on=lambda tenant: ((Host.kind,),)),
    Kind(Mapping64.kind, "floating IP", "floating IPs", after=(Tenant.kind,), resource="floatingips",
         describe=_describe_mapping, stands_on=_mapping_stands_on),
    Kind(Gateway.kind, "VM port", "VM ports", after=(Mapping64.kind,), listed=False),
))
