# SPDX-License-Identifier: Apache-2.0
"""What is installed, as items: reads the kernel's dumps, and leaves out what is not ours."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Hashable, Iterator
from ipaddress import ip_address, ip_interface, ip_network
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

from fip64agent.links import marks, routes, rtnetlink
from fip64agent.links import netns as namespaces
from fip64agent.links.kernel import Handle, Handles, free_messages, read_sysctls
from fip64agent.links.model import (
    PROTOCOL,
    ROUTER,
    Address,
    LinkItem,
    Namespace,
    Neighbor,
    Rule,
    Tun,
    Veth,
)
from fip64agent.links.reachability import NUD_PERMANENT
from fip64agent.net.addresses import link_local

_FAMILIES = {AF_INET: 4, AF_INET6: 6}
_IFF_UP = 1
_IFAPROT_KERNEL_LL = 3
"""IFAPROT_KERNEL_LL: a link-local address the kernel made."""
_TRIES = 5
ELSEWHERE = "?"
"""Stands for the namespace and the name of a veth's far end that is in no namespace which is read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """A link as the kernel has it."""

    netns: str
    index: int
    name: str
    kind: str
    up: bool
    mtu: int
    mac: str
    alias: str
    peer_index: int | None
    peer_nsid: int | None
    """What this link's namespace calls the namespace of its peer; None: itself."""
    generates_addresses: bool
    """The kernel gives it a link-local IPv6 address."""


def dump(call, *args: Any, **kwargs: Any) -> list:
    """Return a netlink dump; one that was interrupted by a change is repeated."""
    for _ in range(_TRIES - 1):
        try:
            return list(call(*args, **kwargs))
        except (NetlinkDumpInterrupted, rtnetlink.Interrupted):
            continue
    return list(call(*args, **kwargs))


def links(handle: Handle, name: str = "") -> list[Link]:
    """Return all links of a namespace, or the one of that name, if there is one."""
    if name:
        try:
            return [_link(handle.name, message) for message in handle.route.link("get", ifname=name)]
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return []
            raise
    return [_link(handle.name, message) for message in dump(handle.route.get_links)]


def _link(netns: str, message) -> Link:
    inet6 = message.get_nested("IFLA_AF_SPEC", "AF_INET6")
    mode = inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE") if inet6 is not None else 1
    return Link(netns, message["index"], message.get_attr("IFLA_IFNAME"),
                message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
                bool(message["flags"] & _IFF_UP), message.get_attr("IFLA_MTU"),
                message.get_attr("IFLA_ADDRESS") or "", message.get_attr("IFLA_IFALIAS") or "",
                message.get_attr("IFLA_LINK"), message.get_attr("IFLA_LINK_NETNSID"), mode != 1)


def is_ours(prefix: str, name: str, found: list[Link]) -> bool:
    """Return whether a namespace carries our mark (on its loopback)."""
    return any(link.name == "lo" and link.alias == marks.namespace(prefix, name) for link in found)


def read(prefix: str, handles: Handles) -> dict[Hashable, LinkItem]:
    """Return all items that are ours, by key."""
    names = namespaces.names(prefix)
    handles.keep_only({"", *names})
    by_namespace = {}
    for name in ["", *names]:
        free_messages()
        try:
            by_namespace[name] = links(handles[name])
        except OSError:  # it was deleted just now, or the name leads to no namespace
            handles.release(name)
    ours = {name: found for name, found in by_namespace.items() if name and is_ours(prefix, name, found)}
    for name in by_namespace:
        if name and name not in ours:
            handles.release(name)
    everything = {name: by_namespace[name] for name in ["", *ours]}
    items = [*_veths(prefix, handles, everything)]
    for name, found in ours.items():
        free_messages()
        try:
            items += [_namespace(name, found), *_tuns(name, found), *_layer3(handles[name], found)]
        except OSError:
            if namespaces.exists(name):
                raise
            handles.release(name)  # deleted meanwhile: the next read-back finds that its veths are gone
    return {item.key: item for item in items}


def _namespace(name: str, found: list[Link]) -> Namespace:
    wanted = [key for key, _ in ROUTER]
    values = read_sysctls(name, wanted)
    return Namespace(name, tuple((key, values[key]) for key in wanted if key in values),
                     next(link.up for link in found if link.name == "lo"))


def _veths(prefix: str, handles: Handles, everything: dict[str, list[Link]]) -> Iterator[Veth]:
    ends = {}
    for found in everything.values():
        for link in found:
            if link.kind == "veth" and link.peer_index:
                ends.setdefault((link.index, link.peer_index), []).append(link)
    for found in everything.values():
        for link in found:
            if link.name != "lo" and link.alias.startswith(marks.begin(prefix)):
                peers = [end for end in ends.get((link.peer_index, link.index), []) if end is not link]
                yield _veth(handles, link, _peer(handles, link, peers))


def veth(prefix: str, handles: Handles, netns: str, name: str, peer_netns: str) -> Veth | None:
    """Return one pair of ours by its first end's name, its far end looked for in `peer_netns` only."""
    link = next((link for link in links(handles[netns], name)), None)
    if link is None or not link.alias.startswith(marks.begin(prefix)):
        return None
    peers = [end for end in links(handles[peer_netns])
             if (end.index, end.peer_index) == (link.peer_index, link.index) and end.name != name]
    matches = peers and nsid_of(handles[netns], peer_netns) == link.peer_nsid
    return _veth(handles, link, peers[0] if matches else None)


def _peer(handles: Handles, link: Link, candidates: list[Link]) -> Link | None:
    """Return that of the links with the right indexes which is in the right namespace.

    Each namespace has indexes of its own, so the same pair may occur twice.
    """
    if len(candidates) > 1:
        candidates = [end for end in candidates if nsid_of(handles[link.netns], end.netns) == link.peer_nsid]
    return candidates[0] if candidates else None


def nsid_of(handle: Handle, netns: str) -> int | None:
    """Return the id (nsid) that the namespace of `handle` has for another one.

    None: both are the same, or it has none. Raises: OSError when there is no namespace `netns`.
    """
    path = namespaces.DIRECTORY / netns if netns else "/proc/thread-self/ns/net"
    fd = os.open(path, os.O_RDONLY)
    try:
        number = handle.route.get_netnsid(fd=fd)["nsid"]
    finally:
        os.close(fd)
    return None if netns == handle.name or number < 0 else number


def _veth(handles: Handles, link: Link, peer: Link | None) -> Veth:
    if peer is None:
        return Veth(link.netns, link.name, ELSEWHERE, ELSEWHERE, link.alias, link.mtu, up=link.up)
    up, same_mtu = link.up and peer.up, link.mtu == peer.mtu
    if link.netns:  # between two of our namespaces, where MACs and offloads do not matter
        return Veth(link.netns, link.name, peer.netns, peer.name, link.alias, link.mtu, up=up,
                    same_mtu=same_mtu)
    switched = not link.generates_addresses and not (_offloads(handles, link) or _offloads(handles, peer))
    return Veth(link.netns, link.name, peer.netns, peer.name, link.alias, link.mtu, peer.mac, switched,
                up, _is_without_ipv6(peer), same_mtu)


def _is_without_ipv6(link: Link) -> bool:
    if link.netns:  # a namespace of ours, where the kernel routes
        return False
    return list(read_sysctls("", [f"ipv6.conf.{link.name}.disable_ipv6"]).values()) == ["1"]


def _offloads(handles: Handles, link: Link) -> bool:
    try:
        return handles[link.netns].tx_checksum(link.name)
    except OSError:
        return True


def _tuns(netns: str, found: list[Link]) -> Iterator[Tun]:
    for link in found:
        if link.kind == "tun":
            yield Tun(netns, link.name, link.mtu, link.up)


def _layer3(handle: Handle, found: list[Link]) -> Iterator[LinkItem]:
    names = {link.index: link.name for link in found}
    macs = {link.index: link.mac for link in found}
    for message in dump(handle.route.get_addr):
        address = ip_interface(f"{message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}")
        index = message["index"]
        if names.get(index) in (None, "lo") or _made_by_kernel(message, address, macs[index]):
            continue
        yield Address(handle.name, names[index], address)
    yield from dump(routes.read, handle.bulk, handle.name, names)
    for family in (AF_INET, AF_INET6):
        for message in dump(handle.route.get_rules, family=family):
            if message.get_attr("FRA_PROTOCOL") == PROTOCOL:
                yield _rule(handle.name, message)
        for message in dump(handle.route.get_neighbours, family=family):
            if message["state"] & NUD_PERMANENT and message["ifindex"] in names:
                yield Neighbor(handle.name, names[message["ifindex"]],
                               ip_address(message.get_attr("NDA_DST")), message.get_attr("NDA_LLADDR"))


def _made_by_kernel(message, address, mac: str) -> bool:
    if message.get_attr("IFA_PROTO") == _IFAPROT_KERNEL_LL:
        return True
    # A TUN device has no MAC address.
    return address.is_link_local and address.version == 6 and mac != "" and address.ip == link_local(mac)


def _rule(netns: str, message) -> Rule:
    source = message.get_attr("FRA_SRC")
    prefix = ip_network(f"{source}/{message['src_len']}") if source else None
    return Rule(netns, _FAMILIES[message["family"]], message.get_attr("FRA_PRIORITY") or 0,
                message.get_attr("FRA_TABLE"), prefix, message.get_attr("FRA_IIFNAME") or "")
