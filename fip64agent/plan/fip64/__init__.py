# SPDX-License-Identifier: Apache-2.0
"""FIP64: floating IPv6 addresses of VMs that only have IPv4."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.base.objects import Host, Uplink
from fip64agent.plan.fip64.mappings import GATEWAYS, MAPPINGS
from fip64agent.plan.fip64.objects import Gateway, Mapping64, Tenant
from fip64agent.plan.fip64.tenants import TENANTS, VLANS
from fip64agent.plan.kinds import Feature, Kind
from fip64agent.plan.problems import ObjectKey


def _tenant_waits(tenant: Tenant) -> Iterator[str]:
    if tenant.own_interface and tenant.interface_ofport is None:
        yield tenant.interface


def _tenant_ports(tenant: Tenant) -> tuple[str, ...]:
    return (tenant.interface,) if tenant.own_interface else ()  # else its interface is the host's downlink


def _describe_tenant(tenant: Tenant) -> str:
    return f"router {tenant.router_id}, VLAN {tenant.vlan}, pool {tenant.pool}"


def _describe_mapping(mapping: Mapping64) -> str:
    return (f"{mapping.floating_ip} -> {mapping.fixed_ip} of router {mapping.router_id} "
            f"(VM port {mapping.port_id})")


def _mapping_stands_on(mapping: Mapping64) -> tuple[ObjectKey, ...]:
    return (Tenant.kind, mapping.router_id), (Uplink.kind, mapping.uplink_id)


FEATURE = Feature(
    "fip64",
    kinds=(
        # A tenant changes with each of its floating IPs, which are told.
        Kind(Tenant.kind, "tenant", "tenants", after=(Uplink.kind,), numbers=((VLANS, "vlan"),),
             describe=_describe_tenant, tell_changes=False, ports=_tenant_ports, waits=_tenant_waits,
             stands_on=lambda tenant: ((Host.kind,),)),
        Kind(Mapping64.kind, "floating IP", "floating IPs", after=(Tenant.kind,), resource="floatingips",
             describe=_describe_mapping, stands_on=_mapping_stands_on),
        Kind(Gateway.kind, "gateway of a VM port", "gateways of VM ports", after=(Mapping64.kind,),
             listed=False)),
    planners=(TENANTS, MAPPINGS, GATEWAYS),
    numbers=(VLANS,))
