# SPDX-License-Identifier: Apache-2.0
"""How the kernel forwards a packet through our namespaces: asks the kernel itself."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

from fip64agent import hub
from fip64agent.links import lookup
from fip64agent.links.model import Hop, Layout
from fip64agent.reconcile.explain import NOTE, OK, Check, Explanation, Outcome, PacketStopped, TracedPath


def explain(layout: Layout, traced: TracedPath) -> Explanation:
    """Return the checks of the hops that the driver's layout names, and of the next hop after them."""
    kernel = _Kernel(traced)
    before = (Check("advertise", "the kernel answers solicitations for its address", kernel.answers),)
    path = layout.path(traced)
    there = tuple(Check(hop.name, hop.title, lambda hop=hop: kernel.there(hop)) for hop in path.there)
    back = tuple(Check(hop.name, hop.title, lambda hop=hop: kernel.back(hop)) for hop in path.back)
    if path.back:
        last = path.back[-1]
        back += (Check("next-hop", "the next hop towards the client", lambda: kernel.neighbor(last)),)
    return Explanation(before if traced.mapping.on_link else (), there, back)


class _Kernel:
    def __init__(self, traced: TracedPath) -> None:
        self._traced = traced
        self._next_hop = traced.client

    def answers(self) -> Outcome:
        mapping = self._traced.mapping
        looked_at = f"address {mapping.floating_ip} on {mapping.nd_peer} in namespace {mapping.nd_netns}"
        if not _asked(looked_at, lookup.has_address, mapping.nd_netns, mapping.nd_peer, mapping.floating_ip):
            raise PacketStopped(looked_at, "it is not there: nobody answers")
        return OK, looked_at, f"answered with {mapping.uplink_mac}"

    def there(self, hop: Hop) -> Outcome:
        looked_at, found = self._forwarded(hop, self._traced.client, self._traced.mapping.floating_ip)
        return OK, looked_at, str(found)

    def back(self, hop: Hop) -> Outcome:
        looked_at, found = self._forwarded(hop, self._traced.mapping.floating_ip, self._traced.client)
        self._next_hop = IPv6Address(found.via) if found.via else self._traced.client
        return OK, looked_at, str(found)

    def neighbor(self, hop: Hop) -> Outcome:
        looked_at = f"neighbor {self._next_hop} on {hop.link_out} in namespace {hop.netns}"
        known = _asked(looked_at, lookup.neighbor, hop.netns, hop.link_out, self._next_hop)
        if known is None:
            return OK, looked_at, "not known yet: resolved when the first packet is sent"
        state, mac = known
        if state in ("FAILED", "INCOMPLETE"):
            return NOTE, looked_at, f"{state}: nobody answered the last Neighbor Solicitation"
        return OK, looked_at, f"{state}, {mac}"

    @staticmethod
    def _forwarded(hop: Hop, source: IPv6Address, destination: IPv6Address) -> tuple[str, lookup.NextHop]:
        looked_at = f"route of {destination} from {source} iif {hop.link_in} in namespace {hop.netns}"
        found = _asked(looked_at, lookup.route, hop.netns, source, destination, hop.link_in)
        if found.device != hop.link_out:
            raise PacketStopped(looked_at, f"leads to {found}, and not to {hop.link_out}")
        return looked_at, found


def _asked(looked_at: str, question: Callable, *args):
    try:
        return hub.offload(question, *args)
    except lookup.LookupFailed as error:
        raise PacketStopped(looked_at, str(error)) from error
