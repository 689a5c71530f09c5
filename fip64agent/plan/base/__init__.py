# SPDX-License-Identifier: Apache-2.0
"""What every feature builds on: the interfaces that ports are bound to, the routers, uplinks, the host."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.base.host import HOST
from fip64agent.plan.base.objects import Host, Uplink
from fip64agent.plan.base.uplinks import TABLES, UPLINKS
from fip64agent.plan.kinds import Feature, Kind


def _host_waits(host: Host) -> Iterator[str]:
    if host.downlink and host.downlink_ofport is None:
        yield host.downlink


def _uplink_waits(uplink: Uplink) -> Iterator[str]:
    if uplink.veth_ofport is None:
        yield uplink.veth
    if uplink.nd_veth_ofport is None:
        yield uplink.nd_veth


def _describe_uplink(uplink: Uplink) -> str:
    addresses = ", ".join(map(str, uplink.addresses))
    return f"port {uplink.port_id} on interface {uplink.interface} with {addresses}"


FEATURE = Feature(
    "base",
    kinds=(
        Kind(Host.kind, "host", "hosts", listed=False,
             ports=lambda host: (host.downlink,) if host.downlink else (), waits=_host_waits),
        Kind(Uplink.kind, "uplink", "uplinks", after=(Host.kind,), numbers=((TABLES, "table"),),
             describe=_describe_uplink, ports=lambda uplink: uplink.veths, waits=_uplink_waits,
             stands_on=lambda uplink: ((Host.kind,),))),
    planners=(HOST, UPLINKS),
    numbers=(TABLES,))
