# SPDX-License-Identifier: Apache-2.0
"""From an object of the plan to the links and addresses that it needs, whichever translator there is. Pure.

That is the Neighbor Discovery link of each uplink, and its namespace. The translator's driver adds all else
(`model.Layout`).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Interface

from fip64agent.links import marks
from fip64agent.links.model import ROUTER, Address, Layout, LinkItem, Namespace, Veth
from fip64agent.net.addresses import link_local
from fip64agent.plan.desired import Host, Mapping64, ObjectKey, PlanObject, Uplink


def expand(prefix: str, layout: Layout, obj: PlanObject) -> Iterator[LinkItem]:
    """Yield the items for `obj`. prefix: the agent's namespace prefix, for the marks."""
    mark = marks.of(prefix, obj)
    if isinstance(obj, Host):
        yield Namespace(obj.nd_netns, ROUTER, owner=obj.key)
    yield from layout.links(obj, mark)
    if isinstance(obj, Uplink):
        yield from _neighbor_discovery(obj, mark)
    elif isinstance(obj, Mapping64) and obj.on_link:
        yield _answering_address(obj.nd_netns, obj.nd_peer, obj.floating_ip, obj.key)


def _neighbor_discovery(uplink: Uplink, mark: str) -> Iterator[LinkItem]:
    """Yield the link whose far end answers for the uplink: the kernel there has its MAC and its addresses.

    Neighbor Discovery and MLD are all that the flows bring there. So the kernel's own implementation
    serves every translator and every datapath, and works on while the agent and the translator do not run.
    """
    yield Veth("", uplink.nd_veth, uplink.nd_netns, uplink.nd_peer, mark, uplink.mtu, uplink.mac, True,
               owner=uplink.key)
    for address in uplink.addresses:
        if address.ip != link_local(uplink.mac):  # the kernel has that one by itself
            yield _answering_address(uplink.nd_netns, uplink.nd_peer, address.ip, uplink.key)


def _answering_address(netns: str, link: str, address: IPv6Address, owner: ObjectKey) -> Address:
    return Address(netns, link, IPv6Interface((address, 128)), owner)
