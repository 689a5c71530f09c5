# SPDX-License-Identifier: Apache-2.0
"""Drops what comes from our own veths and no other feature matches.

The namespaces behind them send Router Solicitations, MLD reports and other packets, which NORMAL would flood
to the VMs.
"""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.desired import Host, ObjectKey, Tenant, Uplink
from fip64agent.switch import pipeline
from fip64agent.switch.examples import HOST_SHARED, TENANT, UPLINK
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import DROP, Flow


def _drop(ofport: int, owner: ObjectKey) -> Flow:
    return Flow(pipeline.CLASSIFIER, pipeline.GUARD, (("in_port", ofport),), DROP, "guard", owner)


def guard(obj: Host | Tenant | Uplink) -> Iterator[Flow]:
    """Yield the drop for both veths of an uplink, for a tenant's veth, for the one that all tenants share."""
    if isinstance(obj, Uplink):
        ofports = (obj.veth_ofport, obj.nd_veth_ofport)
    elif isinstance(obj, Tenant):
        ofports = (obj.interface_ofport if obj.own_interface else None,)  # else the veth is the host's
    else:
        ofports = (obj.downlink_ofport,)
    for ofport in ofports:
        if ofport is not None:
            yield _drop(ofport, obj.key)


FEATURE = FlowFeature(
    "guard", 8, "Drops whatever else our own veths send.",
    {Host.kind: guard, Uplink.kind: guard, Tenant.kind: guard},
    (Example("Per veth of ours", "Both of an uplink, 11 and 14; a tenant's downlink, 12, or the one that all "
             "tenants share, 13:", (UPLINK, TENANT, HOST_SHARED)),))
