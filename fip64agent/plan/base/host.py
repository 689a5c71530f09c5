# SPDX-License-Identifier: Apache-2.0
"""What this host has once, as soon as it has an uplink."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Network, collapse_addresses

from fip64agent.plan import allocate
from fip64agent.plan.base.bindings import open_ofport
from fip64agent.plan.base.objects import Host, Uplink
from fip64agent.plan.base.uplinks import ALL_UPLINKS, UPLINKS
from fip64agent.plan.inputs import INTERFACES, SETTINGS, Settings
from fip64agent.plan.nodes import Derived, Objects


def _guarded(uplinks: Iterable[Uplink]) -> tuple[IPv6Network, ...]:
    """Return the addresses, as prefixes, that belong to uplinks, gateways and floating IPs.

    A prefix that is everything belongs to nobody: it would take all IPv6 from the VMs.
    """
    prefixes: set[IPv6Network] = set()
    for uplink in uplinks:
        prefixes.update(uplink.onlink, uplink.routed, (IPv6Network(nexthop) for _, nexthop in uplink.routes))
    return tuple(prefix for prefix in collapse_addresses(prefixes) if prefix.prefixlen)


def _host(ask, key: str, uplink_ids: tuple[str, ...]) -> tuple[Host, None]:
    settings: Settings = ask(SETTINGS, "")
    uplinks = [ask(UPLINKS, port_id) for port_id in uplink_ids]
    nd_netns = allocate.nd_netns(settings.netns_prefix)
    guarded, macs = _guarded(uplinks), tuple(sorted({uplink.mac for uplink in uplinks}))
    if not settings.capabilities.shared_downlink:
        return Host(nd_netns=nd_netns, guarded=guarded, guarded_macs=macs), None
    return Host(allocate.DOWNLINK, allocate.DOWNLINK_PEER, allocate.DOWNLINK_MAC,
                open_ofport(ask(INTERFACES, allocate.DOWNLINK)), nd_netns, guarded, macs), None


HOST = Objects(Host.kind, _host, each=ALL_UPLINKS, reads=(SETTINGS, UPLINKS, INTERFACES))


def _guarded_prefixes(ask, key: str) -> tuple[IPv6Network, ...]:
    host = ask(HOST, "")
    return host.guarded if host is not None else ()


GUARDED = Derived("guarded prefixes", _guarded_prefixes, (HOST,))
"""Under the key "": in whose name no VM may send."""
