# SPDX-License-Identifier: Apache-2.0
"""The Neighbor Discovery link of each uplink, and its namespace, whichever translator there is. Pure.

Its far end answers for the uplink: the kernel there has its MAC and its addresses. Neighbor Discovery and MLD
are all that the flows bring there. So the kernel's own implementation serves every translator and every
datapath, and works on while the agent and the translator do not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Interface

from fip64agent.links.model import ROUTER, Address, LinkFeature, LinkItem, Namespace, Veth
from fip64agent.net.addresses import link_local
from fip64agent.plan.desired import Host, Mapping64, ObjectKey, Uplink


def _namespace(host: Host, mark: str) -> Iterator[LinkItem]:
    yield Namespace(host.nd_netns, ROUTER, owner=host.key)


def _link(uplink: Uplink, mark: str) -> Iterator[LinkItem]:
    yield Veth("", uplink.nd_veth, uplink.nd_netns, uplink.nd_peer, mark, uplink.mtu, uplink.mac, True,
               owner=uplink.key)
    for address in uplink.addresses:
        if address.ip != link_local(uplink.mac):  # the kernel has that one by itself
            yield _answering_address(uplink.nd_netns, uplink.nd_peer, address.ip, uplink.key)


def _floating_address(mapping: Mapping64, mark: str) -> Iterator[LinkItem]:
    if mapping.on_link:
        yield _answering_address(mapping.nd_netns, mapping.nd_peer, mapping.floating_ip, mapping.key)


def _answering_address(netns: str, link: str, address: IPv6Address, owner: ObjectKey) -> Address:
    return Address(netns, link, IPv6Interface((address, 128)), owner)


FEATURE = LinkFeature({Host.kind: _namespace, Uplink.kind: _link, Mapping64.kind: _floating_address})
