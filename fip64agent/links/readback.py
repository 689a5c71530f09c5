# SPDX-License-Identifier: Apache-2.0
"""What is installed, as items: reads the kernel's dumps, and leaves out what is not ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2.netlink.exceptions import NetlinkDumpInterrupted

from fip64agent.links import layout, marks, rtnetlink
from fip64agent.links import netns as namespaces
from fip64agent.links.kernel import Door, Doors, read_sysctls
from fip64agent.links.model import (
    BLACKHOLE,
    PROTOCOL,
    UNICAST,
    Address,
    LinkItem,
    Namespace,
    Neighbour,
    Route,
    Rule,
    Tun,
    Veth,
)
from fip64agent.links.rtnetlink import RouteRow

_FAMILIES = {AF_INET: 4, AF_INET6: 6}
_IFF_UP = 1
_PERMANENT = 0x80
_RT_SCOPE_KERNEL_LL = 3
"""IFAPROT_KERNEL_LL: a link-local address the kernel made."""
_KINDS = {1: UNICAST, 6: BLACKHOLE}
_TRIES = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """One link as dumped."""

    netns: str
    index: int
    name: str
    kind: str
    up: bool
    mtu: int
    mac: str
    alias: str
    peer_index: int | None
    generates_addresses: bool
    """The kernel gives it a link-local IPv6 address."""


def dump(call, *args: Any, **kwargs: Any) -> list:
    """Return a netlink dump; one that was interrupted by a change is repeated."""
    for _ in range(_TRIES - 1):
        try:
            return list(call(*args, **kwargs))
        except NetlinkDumpInterrupted:
            continue
    return list(call(*args, **kwargs))


def links(door: Door) -> list[Link]:
    """Return all links of a namespace."""
    return [_link(door.name, message) for message in dump(door.route.get_links)]


def _link(netns: str, message) -> Link:
    inet6 = message.get_nested("IFLA_AF_SPEC", "AF_INET6")
    mode = inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE") if inet6 is not None else 1
    return Link(netns, message["index"], message.get_attr("IFLA_IFNAME"),
                message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
                bool(message["flags"] & _IFF_UP), message.get_attr("IFLA_MTU"),
                message.get_attr("IFLA_ADDRESS") or "", message.get_attr("IFLA_IFALIAS") or "",
                message.get_attr("IFLA_LINK"), mode != 1)


def is_ours(prefix: str, name: str, found: list[Link]) -> bool:
    """Whether a namespace carries our mark (on its loopback)."""
    return any(link.name == "lo" and link.alias == marks.namespace(prefix, name) for link in found)


def read(prefix: str, doors: Doors) -> dict[Hashable, LinkItem]:
    """Return all items that are ours, by key."""
    names = namespaces.names(prefix)
    doors.keep_only({"", *names})
    by_namespace = {}
    for name in ["", *names]:
        try:
            by_namespace[name] = links(doors[name])
        except OSError:  # deleted this instant, or no namespace at all
            doors.shut(name)
    ours = {name: found for name, found in by_namespace.items() if name and is_ours(prefix, name, found)}
    for name in by_namespace:
        if name and name not in ours:
            doors.shut(name)
    everything = {name: by_namespace[name] for name in ["", *ours]}
    items = [*_veths(prefix, doors, everything)]
    for name, found in ours.items():
        items.append(_namespace(name, found))
        items += _tuns(name, found)
        items += _layer3(doors[name], found)
    return {item.key: item for item in items}


def _namespace(name: str, found: list[Link]) -> Namespace:
    wanted = dict(layout._ROUTER)
    values = read_sysctls(name, list(wanted))
    loopback = next(link for link in found if link.name == "lo")
    if not loopback.up:
        values = {}
    return Namespace(name, tuple((key, values[key]) for key in wanted if key in values))


def _veths(prefix: str, doors: Doors, everything: dict[str, list[Link]]) -> Iterator[Veth]:
    ends = {}
    for found in everything.values():
        for link in found:
            if link.kind == "veth" and link.peer_index:
                ends.setdefault((link.index, link.peer_index), []).append(link)
    for found in everything.values():
        for link in found:
            if link.name == "lo" or not link.alias.startswith(marks.begin(prefix)):
                continue
            peers = [end for end in ends.get((link.peer_index, link.index), []) if end is not link]
            yield _veth(doors, link, peers[0] if peers else None)


def _veth(doors: Doors, link: Link, peer: Link | None) -> Veth:
    if peer is None:  # its other end is out of our sight: never what we want
        return Veth(link.netns, link.name, "?", "?", link.alias, link.mtu)
    up = link.up and peer.up and link.mtu == peer.mtu
    switched = not link.generates_addresses and not (_offloads(doors, link) or _offloads(doors, peer))
    if link.name.startswith("tenant-"):
        return Veth(link.netns, link.name, peer.netns, peer.name, link.alias, link.mtu if up else 0)
    return Veth(link.netns, link.name, peer.netns, peer.name, link.alias, link.mtu if up else 0, peer.mac,
                switched)


def _offloads(doors: Doors, link: Link) -> bool:
    try:
        return doors[link.netns].tx_checksum(link.name)
    except OSError:
        return True


def _tuns(netns: str, found: list[Link]) -> Iterator[Tun]:
    for link in found:
        if link.name == layout.TUN:
            yield Tun(netns, link.name, link.mtu if link.up else 0)


def _layer3(door: Door, found: list[Link]) -> Iterator[LinkItem]:
    names = {link.index: link.name for link in found}
    macs = {link.index: link.mac for link in found}
    for message in dump(door.route.get_addr):
        address = ip_interface(f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}")
        index = message["index"]
        if names.get(index) in (None, "lo") or _made_by_kernel(message, address, macs[index]):
            continue
        yield Address(door.name, names[index], address)
    for family in (AF_INET, AF_INET6):
        for row in dump(rtnetlink.routes, door.socket, family, PROTOCOL):
            yield _route(door.name, family, row, names)
        for message in dump(door.route.get_rules, family=family):
            if message.get_attr("FRA_PROTOCOL") == PROTOCOL:
                yield _rule(door.name, message)
    for message in dump(door.route.get_neighbours, family=AF_INET):
        if message["state"] & _PERMANENT and message["ifindex"] in names:
            yield Neighbour(door.name, names[message["ifindex"]], ip_address(message.get_attr("NDA_DST")),
                            message.get_attr("NDA_LLADDR"))


def _made_by_kernel(message, address, mac: str) -> bool:
    if message.get_attr("IFA_PROTO") == _RT_SCOPE_KERNEL_LL:
        return True
    return address.is_link_local and address.version == 6 and address.ip == eui64(mac)


def eui64(mac: str) -> IPv6Address | None:
    """Return the link-local address the kernel makes of a MAC (RFC 4291, appendix A)."""
    data = bytes.fromhex(mac.replace(":", ""))
    if len(data) != 6:
        return None
    return IPv6Address(bytes([0xFE, 0x80, *[0] * 6, data[0] ^ 2, *data[1:3], 0xFF, 0xFE, *data[3:]]))


def _route(netns: str, family: int, row: RouteRow, names: dict[int, str]) -> Route:
    destination = row.destination or bytes(4 if family == AF_INET else 16)
    kind = _KINDS.get(row.kind, str(row.kind))
    link = "" if kind == BLACKHOLE else names.get(row.link, "")
    return Route(netns, row.table, ip_network((destination, row.length)), link,
                 ip_address(row.gateway) if row.gateway else None, kind)


def _rule(netns: str, message) -> Rule:
    source = message.get_attr("FRA_SRC")
    prefix = ip_network(f"{source}/{message['src_len']}") if source else None
    return Rule(netns, _FAMILIES[message["family"]], message.get_attr("FRA_PRIORITY") or 0,
                message.get_attr("FRA_TABLE"), prefix, message.get_attr("FRA_IIFNAME") or "")
