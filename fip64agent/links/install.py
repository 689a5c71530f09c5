# SPDX-License-Identifier: Apache-2.0
"""Installs and removes items: idempotent verbs over the kernel's doors. Blocking."""

from __future__ import annotations

import errno
import functools
import re
import time
from collections.abc import Callable, Hashable, Sequence
from socket import AF_INET, AF_INET6

from pyroute2.netlink.exceptions import NetlinkError

from fip64agent.links import marks, readback, routes, rtnetlink
from fip64agent.links import netns as namespaces
from fip64agent.links.kernel import Door, Doors, write_sysctls
from fip64agent.links.model import (
    PROTOCOL,
    Address,
    LinkItem,
    Namespace,
    Neighbor,
    Route,
    Rule,
    Tun,
    Veth,
)

_GONE = {errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL}
_NODAD = 2
_NO_ADDRESSES = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})]}
_BY_ITSELF = re.compile(r"lo|(ifb|sit|ip6tnl|ip6_vti|ip_vti|tunl|gre|gretap|erspan|ip6gre)[0-9]+")
"""Links that a new namespace has by itself, when their modules are loaded."""
_DYING = 2.0
"""Seconds that a name may stay taken by the far end of a link whose namespace is being torn down."""


class Refused(Exception):
    """The item cannot be installed; the message says why."""


class Installer:
    """`prefix`: the agent's namespace prefix, for the marks."""

    def __init__(self, prefix: str, doors: Doors) -> None:
        self._prefix = prefix
        self._doors = doors

    # -- which verb -------------------------------------------------------------------------------

    def install(self, was: LinkItem | None, item: LinkItem) -> None:
        """Make it so. Raises: Refused, OSError, NetlinkError."""
        self._install(item, was)

    @functools.singledispatchmethod
    def _install(self, item, was) -> None:
        raise TypeError(item)

    @functools.singledispatchmethod
    def remove(self, item) -> None:
        """Remove it; gone already is success. Raises: OSError, NetlinkError."""
        raise TypeError(item)

    def _gone_is_fine(self, call: Callable, *args, **kwargs) -> None:
        try:
            call(*args, **kwargs)
        except NetlinkError as error:
            if error.code not in _GONE:
                raise

    def _door(self, netns: str) -> Door:
        """Open a namespace to work in it. Raises: Refused when it is not ours, OSError."""
        door = self._doors[netns]
        if netns and not door.ours:
            if not readback.is_ours(self._prefix, netns, readback.links(door, "lo")):
                raise Refused(f"network namespace {netns} does not carry our mark")
            door.ours = True
        return door

    def _route(self, netns: str):
        return self._door(netns).route

    def _look_up(self, netns: str, link: str) -> int | None:
        """Return the index of a link that is worked on."""
        door = self._door(netns)
        index = door.index(link)
        if index is not None:
            door.touch(index)
        return index

    def _index(self, netns: str, link: str) -> int:
        return self._there(netns, link, self._look_up(netns, link))

    def _index_for_route(self, netns: str, link: str) -> int:
        """As _index(): the link itself is not worked on."""
        return self._there(netns, link, self._door(netns).index(link))

    @staticmethod
    def _there(netns: str, link: str, index: int | None) -> int:
        if index is None:
            raise Refused(f"there is no link {link} in {_where(netns)}")
        return index

    # -- namespaces -------------------------------------------------------------------------------

    @_install.register
    def _(self, item: Namespace, was) -> None:
        if namespaces.is_dead(item.name):
            self._name(namespaces.delete, item.name, made=False)
        if namespaces.inode(item.name) is None:
            self._name(namespaces.create, item.name, made=True)
        door = self._doors[item.name]
        found = readback.links(door)
        loopback = next(link for link in found if link.name == "lo")
        if not readback.is_ours(self._prefix, item.name, found):
            if any(link.kind for link in found if not _BY_ITSELF.fullmatch(link.name)):
                raise Refused("a network namespace of that name has links and does not carry our mark")
            # New, or we were stopped between making and marking it.
            door.route.link("set", index=loopback.index, ifalias=marks.namespace(self._prefix, item.name))
        write_sysctls(item.name, dict(item.sysctls))
        door.route.link("set", index=loopback.index, state="up")
        door.touch(loopback.index, -1, -2)

    @remove.register
    def _(self, item: Namespace) -> None:
        self._doors.shut(item.name)
        if namespaces.inode(item.name) is not None:
            self._name(namespaces.delete, item.name, made=False)

    def _name(self, call: Callable[[str], None], name: str, made: bool) -> None:
        """Make a namespace's name or take it away, so that the monitor knows whose doing that is."""
        self._doors.own_names[name, made] += 1
        try:
            call(name)
        except BaseException:
            self._doors.own_names[name, made] -= 1
            raise

    # -- links ------------------------------------------------------------------------------------

    @_install.register
    def _(self, item: Veth, was) -> None:
        if not self._taken_over(item):
            self._make(item)
        self._settle(item)

    def _taken_over(self, item: Veth) -> bool:
        """Whether a pair is there that only has to be set right; one that cannot be is removed."""
        index = self._look_up(item.netns, item.name)
        if index is None:
            return False
        pair = self._read(item)
        if pair is None and self._is_half_made(item):
            self._route(item.netns).link("set", index=index, ifalias=item.alias)
            pair = self._read(item)
        if pair is None:
            if self._look_up(item.netns, item.name) is None:  # it died while we looked
                return False
            raise Refused(f"a link named {item.name} is there and does not carry our mark")
        if (pair.peer_netns, pair.peer) == (item.peer_netns, item.peer):
            if item.peer_mac and pair.peer_mac != item.peer_mac:
                peer = self._index(item.peer_netns, item.peer)
                self._route(item.peer_netns).link("set", index=peer, address=item.peer_mac)
                self._doors.collateral = True  # its neighbors
            return True
        self._clear(item.netns, index)
        return False

    def _is_half_made(self, item: Veth) -> bool:
        """Whether it is a pair that an agent made and could not mark before it was killed.

        Such a link has no mark at all, and its far end, with the right name, is in a namespace of ours.
        """
        if not item.peer_netns:
            return False
        link = next(iter(readback.links(self._doors[item.netns], item.name)), None)
        peer = next(iter(readback.links(self._door(item.peer_netns), item.peer)), None)
        return (link is not None and peer is not None and link.kind == "veth" and not link.alias
                and (peer.index, peer.peer_index) == (link.peer_index, link.index)
                and readback.name_for(self._doors[item.netns], item.peer_netns) == link.peer_nsid)

    def _clear(self, netns: str, index: int) -> None:
        """Delete a link of ours that is in the way, and with it what was on it."""
        self._gone_is_fine(self._route(netns).link, "del", index=index)
        self._doors.collateral = True

    def _read(self, item: Veth) -> Veth | None:
        """Return the pair as it is; None when it is not ours."""
        return readback.veth(self._prefix, self._doors, item.netns, item.name, item.peer_netns)

    def _make(self, item: Veth) -> None:
        peer = {"ifname": item.peer, "mtu": item.mtu}
        if item.peer_mac:
            peer["address"] = item.peer_mac
        if item.peer_netns:
            peer["net_ns_fd"] = item.peer_netns
            in_the_way = self._look_up(item.peer_netns, item.peer)
            if in_the_way is not None:  # in a namespace of ours: from a pair of ours that is given up
                self._clear(item.peer_netns, in_the_way)
        deadline = time.monotonic() + _DYING
        while True:
            try:
                # The kernel takes no mark with it: _settle() sets it, or the next agent (_is_half_made).
                self._route(item.netns).link("add", ifname=item.name, kind="veth", mtu=item.mtu,
                                             ifalias=item.alias, peer=peer)
                break
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise
                if time.monotonic() > deadline:
                    raise Refused(f"the name {item.name} or {item.peer} is taken by another link") from error
                time.sleep(0.02)

    def _settle(self, item: Veth) -> None:
        """Set what can be set on a pair that is there."""
        first = self._index(item.netns, item.name)
        second = self._index(item.peer_netns, item.peer)
        if item.switched:
            self._door(item.netns).no_tx_checksum(item.name)
            self._door(item.peer_netns).no_tx_checksum(item.peer)
        # No link-local address of the kernel's where OVS or a tenant is, nor between our namespaces.
        self._route(item.netns).link("set", index=first, ifalias=item.alias, IFLA_AF_SPEC=_NO_ADDRESSES)
        if not item.peer_mac:
            self._route(item.peer_netns).link("set", index=second, IFLA_AF_SPEC=_NO_ADDRESSES)
        if item.peer_without_ipv6:  # else the kernel would act on Router Advertisements
            write_sysctls(item.peer_netns, {f"ipv6.conf.{item.peer}.disable_ipv6": "1"})
        self._route(item.netns).link("set", index=first, mtu=item.mtu, state="up")
        self._route(item.peer_netns).link("set", index=second, mtu=item.mtu, state="up")

    @remove.register
    def _(self, item: Veth) -> None:
        index = self._look_up(item.netns, item.name)
        if index is None:
            return
        if item.peer_netns != readback.ELSEWHERE and namespaces.exists(item.peer_netns):
            self._look_up(item.peer_netns, item.peer)  # it goes too, by our doing
        self._gone_is_fine(self._route(item.netns).link, "del", index=index)

    @_install.register
    def _(self, item: Tun, was) -> None:
        if was is None:
            make = functools.partial(self._route(item.netns).link, "add", ifname=item.name, kind="tuntap",
                                     mode="tun")
            namespaces.inside(item.netns, make)  # made by ioctl, not by netlink
        index = self._index(item.netns, item.name)
        # The kernel would give it a link-local address each time it is set up.
        self._route(item.netns).link("set", index=index, IFLA_AF_SPEC=_NO_ADDRESSES)
        self._route(item.netns).link("set", index=index, mtu=item.mtu, state="up")

    @remove.register
    def _(self, item: Tun) -> None:
        index = self._look_up(item.netns, item.name)
        if index is not None:
            self._gone_is_fine(self._route(item.netns).link, "del", index=index)

    # -- layer 3 ----------------------------------------------------------------------------------

    @_install.register
    def _(self, item: Address, was) -> None:
        route, index = self._route(item.netns), self._index(item.netns, item.link)
        address, length = str(item.address.ip), item.address.network.prefixlen
        flags = {"flags": _NODAD} if item.address.version == 6 else {}
        try:
            route.addr("add", index=index, address=address, prefixlen=length, **flags)
            return
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
        for found in readback.dump(route.get_addr, index=index, address=address):
            # One with another prefix is the same address to the kernel: it would leave its prefix as it is.
            if found["prefixlen"] != length:
                self._gone_is_fine(route.addr, "del", index=index, address=address,
                                   prefixlen=found["prefixlen"])
        route.addr("replace", index=index, address=address, prefixlen=length, **flags)

    @remove.register
    def _(self, item: Address) -> None:
        index = self._look_up(item.netns, item.link)
        if index is not None:
            self._gone_is_fine(self._route(item.netns).addr, "del", index=index,
                               address=str(item.address.ip), prefixlen=item.address.network.prefixlen)

    @_install.register
    def _(self, item: Neighbor, was) -> None:
        self._route(item.netns).neigh("replace", dst=str(item.address), lladdr=item.mac, state=0x80,
                                      family=AF_INET if item.address.version == 4 else AF_INET6,
                                      ifindex=self._index(item.netns, item.link))

    @remove.register
    def _(self, item: Neighbor) -> None:
        index = self._look_up(item.netns, item.link)
        if index is not None:
            self._gone_is_fine(self._route(item.netns).neigh, "del", dst=str(item.address), ifindex=index,
                               family=AF_INET if item.address.version == 4 else AF_INET6)

    @_install.register
    def _(self, item: Rule, was) -> None:
        try:
            self._route(item.netns).rule("add", **self._rule(item))
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise

    @remove.register
    def _(self, item: Rule) -> None:
        self._gone_is_fine(self._route(item.netns).rule, "del", **self._rule(item))

    @staticmethod
    def _rule(item: Rule) -> dict:
        rule = {"family": AF_INET if item.family == 4 else AF_INET6, "priority": item.priority,
                "table": item.table, "protocol": PROTOCOL}
        if item.source is not None:
            rule["src"] = str(item.source)
        if item.iif:
            rule["iifname"] = item.iif
        return rule

    # -- routes, many at once ---------------------------------------------------------------------

    def install_routes(self, pairs: Sequence[tuple[Route | None, Route]]) -> dict[Hashable, str]:
        """Make routes so; return the reason for each key that failed. Raises: OSError."""
        indexes = functools.cache(self._index_for_route)
        failed: dict[Hashable, str] = {}
        groups: dict[str, dict[Hashable, list[routes.Request]]] = {}
        for was, route in pairs:
            try:
                add = routes.addition(route, functools.partial(indexes, route.netns))
            except (Refused, OSError, NetlinkError) as error:
                failed[route.key] = reason(error)
                continue
            # The kernel puts one of another kind beside it, and not in its place.
            replaced = was is not None and (was.kind, was.via is None) != (route.kind, route.via is None)
            groups.setdefault(route.netns, {})[route.key] = [routes.removal(was), add] if replaced else [add]
        return failed | self._change_routes(groups)

    def remove_routes(self, items: Sequence[Route]) -> dict[Hashable, str]:
        """Remove routes; return the reason for each key that failed. Gone already is success."""
        groups: dict[str, dict[Hashable, list[routes.Request]]] = {}
        for route in items:
            groups.setdefault(route.netns, {})[route.key] = [routes.removal(route)]
        return self._change_routes(groups)

    def _change_routes(self, groups: dict[str, dict[Hashable, list[routes.Request]]]) -> dict[Hashable, str]:
        failed: dict[Hashable, str] = {}
        for netns, requests in groups.items():
            try:
                answers = routes.change(self._door(netns).bulk, list(requests.values()))
            except (OSError, Refused) as error:
                failed.update(dict.fromkeys(requests, reason(error)))
                continue
            failed |= {key: reason(answer) for key, answer in zip(requests, answers, strict=True) if answer}
        return failed


def _where(netns: str) -> str:
    return f"namespace {netns}" if netns else "the agent's namespace"


def reason(error: Exception) -> str:
    """Say why, in an operator's words."""
    if isinstance(error, NetlinkError):
        return f"the kernel refuses it: {error.args[-1] if error.args else error}"
    if isinstance(error, rtnetlink.Refusal):
        return f"the kernel refuses it: {error}"
    if isinstance(error, Refused | OSError):
        return str(error)
    return f"{type(error).__name__}: {error}"
