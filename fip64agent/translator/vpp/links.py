# SPDX-License-Identifier: Apache-2.0
"""The links that VPP needs: veth pairs whose far ends it reads as packet sockets. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.links.model import DOWNLINK_MTU, KernelPath, LinkItem, Veth
from fip64agent.plan.desired import Host, PlanObject, Uplink
from fip64agent.reconcile.explain import TracedPath


class VppLayout:
    """One veth pair for each uplink and one for all tenants, with both ends in the agent's namespace."""

    def links(self, obj: PlanObject, mark: str) -> Iterator[LinkItem]:
        """Yield the veth pair that `obj` needs. See model.Layout."""
        match obj:
            case Host():
                yield Veth("", obj.downlink, "", obj.downlink_peer, mark, DOWNLINK_MTU,
                           kernel_mac(obj.downlink_mac), True, peer_without_ipv6=True, owner=obj.key)
            case Uplink():
                yield Veth("", obj.veth, "", obj.peer, mark, obj.mtu, kernel_mac(obj.mac), True,
                           peer_without_ipv6=True, owner=obj.key)

    def path(self, traced: TracedPath) -> KernelPath:
        """Return no hops: VPP routes, and not the kernel."""
        return KernelPath()


def kernel_mac(mac: str) -> str:
    """Return the MAC of the kernel's interface where VPP has `mac`: so the kernel ignores packets to VPP."""
    first = "06" if mac[:2] != "06" else "0a"
    return first + mac[2:]
