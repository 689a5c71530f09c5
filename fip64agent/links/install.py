# SPDX-License-Identifier: Apache-2.0
"""Installs and removes single items: idempotent verbs over the kernel's doors. Blocking."""

from __future__ import annotations

import errno
import functools
import time
from collections.abc import Callable
from socket import AF_INET, AF_INET6

from pyroute2.netlink.exceptions import NetlinkError

from fip64agent.links import marks, readback, rtnetlink
from fip64agent.links import netns as namespaces
from fip64agent.links.kernel import Doors, write_sysctls
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

_GONE = {errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL}
_NODAD = 2
_ONLINK = 4
_ROUTE_TYPES = {UNICAST: 1, BLACKHOLE: 6}
_NO_ADDRESSES = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})]}
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

    def _route(self, netns: str):
        return self._doors[netns].route

    def _index(self, netns: str, link: str) -> int:
        found = self._doors[netns].index(link)
        if found is None:
            raise Refused(f"there is no link {link} in namespace {netns or 'of the agent'}")
        return found

    # -- namespaces -------------------------------------------------------------------------------

    @_install.register
    def _(self, item: Namespace, was) -> None:
        if namespaces.inode(item.name) is None:
            namespaces.create(item.name)
        found = readback.links(self._doors[item.name])
        if not readback.is_ours(self._prefix, item.name, found):
            if any(link.kind for link in found):
                raise Refused("a network namespace of that name has links and does not carry our mark")
            # New, or we were stopped between making and marking it.
            self._route(item.name).link("set", index=1, ifalias=marks.namespace(self._prefix, item.name))
        write_sysctls(item.name, dict(item.sysctls))
        self._route(item.name).link("set", index=1, state="up")

    @remove.register
    def _(self, item: Namespace) -> None:
        self._doors.shut(item.name)
        namespaces.delete(item.name)

    # -- links ------------------------------------------------------------------------------------

    @_install.register
    def _(self, item: Veth, was) -> None:
        if not self._repaired(item, was):
            self._make(item)
        for netns, name in ((item.netns, item.name), (item.peer_netns, item.peer)):
            if item.switched:
                self._doors[netns].no_tx_checksum(name)
            settings = {"mtu": item.mtu, "state": "up"}
            self._route(netns).link("set", index=self._index(netns, name), **settings)

    def _repaired(self, item: Veth, was: Veth | None) -> bool:
        """Take a link that is there already, if it can be made what it should be."""
        route = self._route(item.netns)
        found = route.link_lookup(ifname=item.name)
        if not found:
            return False
        alias = next(link.alias for link in readback.links(self._doors[item.netns]) if link.index == found[0])
        if not alias.startswith(marks.begin(self._prefix)):
            raise Refused(f"a link named {item.name} is there and does not carry our mark")
        same_ends = was is not None and (was.peer_netns, was.peer) == (item.peer_netns, item.peer)
        if not same_ends or (item.switched and was.switched is False and alias != item.alias):
            self._gone_is_fine(route.link, "del", index=found[0])
            return False
        route.link("set", index=found[0], ifalias=item.alias,
                   **({"IFLA_AF_SPEC": _NO_ADDRESSES} if item.switched or not item.peer_mac else {}))
        if item.peer_mac and was.peer_mac != item.peer_mac:
            peer = self._route(item.peer_netns)
            peer.link("set", index=self._index(item.peer_netns, item.peer), address=item.peer_mac)
        return True

    def _make(self, item: Veth) -> None:
        peer = {"ifname": item.peer, "mtu": item.mtu}
        if item.peer_mac:
            peer["address"] = item.peer_mac
        if item.peer_netns:
            peer["net_ns_fd"] = item.peer_netns
        deadline = time.monotonic() + _DYING
        while True:
            try:
                self._route(item.netns).link("add", ifname=item.name, kind="veth", mtu=item.mtu, peer=peer)
                break
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise
                if time.monotonic() > deadline:
                    raise Refused(f"the name {item.name} or {item.peer} is taken by another link") from error
                time.sleep(0.02)
        # Marked at once: between the two calls lies the only instant in which nobody owns it.
        self._route(item.netns).link("set", index=self._index(item.netns, item.name), ifalias=item.alias,
                                     IFLA_AF_SPEC=_NO_ADDRESSES)
        if not item.peer_mac:
            self._route(item.peer_netns).link("set", index=self._index(item.peer_netns, item.peer),
                                              IFLA_AF_SPEC=_NO_ADDRESSES)

    @remove.register
    def _(self, item: Veth) -> None:
        found = self._route(item.netns).link_lookup(ifname=item.name)
        if found:
            self._gone_is_fine(self._route(item.netns).link, "del", index=found[0])

    @_install.register
    def _(self, item: Tun, was) -> None:
        if was is None:
            make = functools.partial(self._route(item.netns).link, "add", ifname=item.name, kind="tuntap",
                                     mode="tun")
            namespaces.inside(item.netns, make)  # made by ioctl, not by netlink
        index = self._index(item.netns, item.name)
        self._route(item.netns).link("set", index=index, mtu=item.mtu, state="up")

    @remove.register
    def _(self, item: Tun) -> None:
        found = self._route(item.netns).link_lookup(ifname=item.name)
        if found:
            self._gone_is_fine(self._route(item.netns).link, "del", index=found[0])

    # -- layer 3 ----------------------------------------------------------------------------------

    @_install.register
    def _(self, item: Address, was) -> None:
        self._route(item.netns).addr("replace", index=self._index(item.netns, item.link),
                                     address=str(item.address.ip), prefixlen=item.address.network.prefixlen,
                                     **({"flags": _NODAD} if item.address.version == 6 else {}))

    @remove.register
    def _(self, item: Address) -> None:
        found = self._route(item.netns).link_lookup(ifname=item.link)
        if found:
            self._gone_is_fine(self._route(item.netns).addr, "del", index=found[0],
                               address=str(item.address.ip), prefixlen=item.address.network.prefixlen)

    @_install.register
    def _(self, item: Neighbour, was) -> None:
        self._route(item.netns).neigh("replace", dst=str(item.address), lladdr=item.mac, state=0x80,
                                      family=AF_INET if item.address.version == 4 else AF_INET6,
                                      ifindex=self._index(item.netns, item.link))

    @remove.register
    def _(self, item: Neighbour) -> None:
        found = self._route(item.netns).link_lookup(ifname=item.link)
        if found:
            self._gone_is_fine(self._route(item.netns).neigh, "del", dst=str(item.address), ifindex=found[0],
                               family=AF_INET if item.address.version == 4 else AF_INET6)

    @_install.register
    def _(self, item: Route, was) -> None:
        if was is not None:  # of another kind or by another link: replacing it would add a second one
            self.remove(was)
        if item.destination.version == 6:
            link = self._index(item.netns, item.link) if item.link else 0
            rtnetlink.replace_route(self._doors[item.netns].socket, item.table, item.destination, PROTOCOL,
                                    _ROUTE_TYPES[item.kind], link, item.via)
            return
        request = self._key_of_route(item)
        if item.kind == BLACKHOLE:
            request["type"] = BLACKHOLE
        else:
            request["oif"] = self._index(item.netns, item.link)
            if item.via is not None:
                request["gateway"] = str(item.via)
                request["flags"] = _ONLINK
        self._route(item.netns).route("replace", **request)

    @remove.register
    def _(self, item: Route) -> None:
        self._gone_is_fine(self._route(item.netns).route, "del", **self._key_of_route(item),
                           **({"type": BLACKHOLE} if item.kind == BLACKHOLE else {}))

    @staticmethod
    def _key_of_route(item: Route) -> dict:
        return {"family": AF_INET if item.destination.version == 4 else AF_INET6,
                "dst": str(item.destination), "table": item.table, "proto": PROTOCOL}

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
