# SPDX-License-Identifier: Apache-2.0
"""Which items can be wanted: those that the kernel's dumps show as they were stated. Pure.

Another one would be made, and found missing or different at each read-back, without end. So it is refused.
"""

from __future__ import annotations

from fip64agent.links import marks
from fip64agent.links.model import (
    BLACKHOLE,
    DEFAULT_METRIC6,
    ROUTER,
    UNICAST,
    Address,
    LinkItem,
    Namespace,
    Route,
    Rule,
    Tun,
    Veth,
)

_SYSCTLS = tuple(name for name, _ in ROUTER)


def why_unreadable(prefix: str, item: LinkItem) -> str:
    """Return why an item would not be read back as it is; "" when it would.

    prefix: the agent's namespace prefix.
    """
    match item:
        case Namespace():
            if tuple(name for name, _ in item.sysctls) != _SYSCTLS:
                return "its sysctls are not the ones that are read back, which model.ROUTER names"
            return _why_elsewhere(prefix, item.name) or _why_down(item)
        case Veth():
            return (_why_elsewhere(prefix, item.netns, item.peer_netns) or _why_down(item)
                    or _why_unreadable_pair(prefix, item))
    if not item.netns:
        return "in the agent's own namespace nothing but links is read back"
    if reason := _why_elsewhere(prefix, item.netns):
        return reason
    match item:
        case Tun():
            return _why_down(item)
        case Address():
            return "addresses of the loopback are not read back" if item.link == "lo" else ""
        case Route():
            return _why_unreadable_route(item)
        case Rule():
            everything = item.source is not None and not item.source.prefixlen
            return "a source that is everything is read back as none" if everything else ""
    return ""


def _why_elsewhere(prefix: str, *names: str) -> str:
    for name in names:
        if name and not name.startswith(prefix):
            return f"network namespace {name} is not looked at: its name does not begin with {prefix}"
    return ""


def _why_down(item: Namespace | Veth | Tun) -> str:
    return "" if item.up else "what is made is always set up"


def _why_unreadable_pair(prefix: str, item: Veth) -> str:
    if not item.alias.startswith(marks.begin(prefix)):
        return f"its mark {item.alias!r} is not one of this agent's"
    if not item.same_mtu:
        return "both ends get the same MTU"
    if not item.netns:
        if not item.peer_mac:
            return "its far end needs a MAC address, as the first end is in the agent's own namespace"
        return "IPv6 cannot be off on a far end in a namespace of ours" \
            if item.peer_without_ipv6 and item.peer_netns else ""
    if item.peer_mac or item.switched or item.peer_without_ipv6:
        return "of a pair whose first end is in a namespace of ours, neither the far end's MAC address nor " \
            "whether it is for a switch or without IPv6 is read back"
    return ""


def _why_unreadable_route(item: Route) -> str:
    if item.kind not in (UNICAST, BLACKHOLE):
        return f"routes of kind {item.kind} are not made"
    if item.kind == BLACKHOLE and (item.link or item.via):
        return "a blackhole has no link and no next hop"
    if item.destination.version == 6 and item.metric == DEFAULT_METRIC6:
        return f"the metric {DEFAULT_METRIC6} is read back as none"
    return ""
