# SPDX-License-Identifier: Apache-2.0
"""Which way the kernel sends a packet through our namespaces: asks the kernel itself."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

from fip64agent import hub
from fip64agent.links import layout, ways
from fip64agent.reconcile.explain import NOTE, OK, Check, Explanation, Journey, Outcome, Stops


def explain(journey: Journey) -> Explanation:
    """Return the checks. Only tayga's packets meet routes of ours: VPP routes by itself."""
    kernel = _Kernel(journey)
    before = (Check("advertise", "the kernel answers solicitations for its address", kernel.answers),)
    before = before if journey.mapping.on_link else ()
    if journey.mapping.translator != "tayga":
        return Explanation(before)
    return Explanation(
        before,
        there=(Check("route", "the core namespace routes it to the tenant", kernel.to_tenant),
               Check("tenant-route", "the tenant's namespace hands it to the translator", kernel.to_tun)),
        back=(Check("route-back", "the core namespace routes the answer to the uplink", kernel.back),
              Check("next-hop", "the next hop towards the client", kernel.neighbour)))


class _Kernel:
    def __init__(self, journey: Journey) -> None:
        self._journey = journey
        self._next_hop = journey.client

    def answers(self) -> Outcome:
        mapping = self._journey.mapping
        looked_at = f"address {mapping.floating_ip} on {mapping.nd_peer} in namespace {mapping.nd_netns}"
        if not _asked(looked_at, ways.has_address, mapping.nd_netns, mapping.nd_peer, mapping.floating_ip):
            raise Stops(looked_at, "it is not there: nobody answers")
        return OK, looked_at, f"answered with {mapping.uplink_mac}"

    def to_tenant(self) -> Outcome:
        mapping = self._journey.mapping
        looked_at, way = self._way(mapping.core_netns, self._journey.client, mapping.floating_ip,
                                   self._journey.uplink.peer, mapping.core_link)
        return OK, looked_at, str(way)

    def to_tun(self) -> Outcome:
        looked_at, way = self._way(self._journey.tenant.netns, self._journey.client,
                                   self._journey.mapping.floating_ip, layout.CORE, layout.TUN)
        return OK, looked_at, str(way)

    def back(self) -> Outcome:
        mapping = self._journey.mapping
        looked_at, way = self._way(mapping.core_netns, mapping.floating_ip, self._journey.client,
                                   mapping.core_link, self._journey.uplink.peer)
        self._next_hop = IPv6Address(way.via) if way.via else self._journey.client
        return OK, looked_at, str(way)

    def neighbour(self) -> Outcome:
        netns, device = self._journey.mapping.core_netns, self._journey.uplink.peer
        looked_at = f"neighbor {self._next_hop} on {device} in namespace {netns}"
        known = _asked(looked_at, ways.neighbour, netns, device, self._next_hop)
        if known is None:
            return OK, looked_at, "not known yet: resolved when the first packet is sent"
        state, mac = known
        if state in ("FAILED", "INCOMPLETE"):
            return NOTE, looked_at, f"{state}: nobody answered the last Neighbor Solicitation"
        return OK, looked_at, f"{state}, {mac}"

    @staticmethod
    def _way(netns: str, source: IPv6Address, destination: IPv6Address, device: str,
             expected: str) -> tuple[str, ways.Way]:
        looked_at = f"route of {destination} from {source} iif {device} in namespace {netns}"
        way = _asked(looked_at, ways.route, netns, source, destination, device)
        if way.device != expected:
            raise Stops(looked_at, f"leads to {way}, and not to {expected}")
        return looked_at, way


def _asked(looked_at: str, question: Callable, *args):
    try:
        return hub.offload(question, *args)
    except ways.NoWay as error:
        raise Stops(looked_at, str(error)) from error
