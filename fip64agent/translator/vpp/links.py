# SPDX-License-Identifier: Apache-2.0
"""The links that VPP needs: veth pairs whose far ends it reads as packet sockets. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.links.model import DOWNLINK_MTU, KernelPath, LinkItem, Veth
from fip64agent.plan.desired import Host, PlanObject, Uplink
from fip64agent.reconcile.explain import TracedPath


class VppLayout:
    """One veth pair for each uplink, one for all tenants: both ends in the agent's namespace, as is VPP."""

    def links(self, obj: PlanObject, mark: str) -> Iterator[LinkItem]:
        """Yield what `obj` needs beside what every translator has; links carry `mark`."""
        match obj:
            case Host():
                yield Veth("", obj.downlink, "", obj.downlink_peer, mark, DOWNLINK_MTU,
                           kernel_mac(obj.downlink_mac), True, peer_without_ipv6=True, owner=obj.key)
            case Uplink():
                yield Veth("", obj.veth, "", obj.peer, mark, obj.mtu, kernel_mac(obj.mac), True,
                           peer_without_ipv6=True, owner=obj.key)

    def path(self, traced: TracedPath) -> KernelPath:
        """VPP routes by itself: the kernel is not asked."""
        return KernelPath()


def kernel_mac(mac: str) -> str:
    """Return a MAC for the kernel where VPP has `mac`: so packets to VPP are none of the kernel's."""
    first = "06" if mac[:2] != "06" else "0a"
    return first + mac[2:]
