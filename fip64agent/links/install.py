# SPDX-License-Identifier: Apache-2.0
"""Installs and removes items; both can be repeated. Blocking."""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Callable
from socket import AF_INET, AF_INET6

from pyroute2.netlink.exceptions import NetlinkError

from fip64agent.links import marks, readback
from fip64agent.links import netns as namespaces
from fip64agent.links.access import NO_ADDRESSES, Access, NotInstallable, ignore_missing
from fip64agent.links.kernel import Handles, write_sysctls
from fip64agent.links.model import (
    PROTOCOL,
    Address,
    LinkItem,
    Namespace,
    Neighbor,
    Rule,
    Tun,
    Veth,
)
from fip64agent.links.pairs import VethPairs
from fip64agent.links.reachability import NUD_PERMANENT
from fip64agent.links.route_changes import RouteChanges

_NODAD = 2
_DEFAULT_LINKS = re.compile(r"lo|(ifb|sit|ip6tnl|ip6_vti|ip_vti|tunl|gre|gretap|erspan|ip6gre)[0-9]+")
"""Links that the kernel makes in each new namespace, when their modules are loaded."""


class LinkInstaller:
    """Installs and removes single items, and routes by the thousand (`routes`).

    `prefix`: the agent's namespace prefix, for the marks.
    """

    def __init__(self, prefix: str, handles: Handles) -> None:
        self._access = Access(prefix, handles)
        self._pairs = VethPairs(self._access)
        self.routes = RouteChanges(self._access)
        """Routes, which come in thousands."""

    def install(self, was: LinkItem | None, item: LinkItem) -> None:
        """Make `item`, or change what is installed (`was`; None: nothing) to it.

        Raises: NotInstallable, OSError, NetlinkError.
        """
        self._install(item, was)

    @functools.singledispatchmethod
    def _install(self, item, was) -> None:
        raise TypeError(item)

    @functools.singledispatchmethod
    def remove(self, item) -> None:
        """Remove an item; that it does not exist any more is success.

        Raises: NotInstallable, OSError, NetlinkError.
        """
        raise TypeError(item)

    # -- namespaces -------------------------------------------------------------------------------

    @_install.register
    def _(self, item: Namespace, was) -> None:
        if namespaces.is_dead(item.name):
            self._change_name(namespaces.delete, item.name, made=False)
        if namespaces.inode(item.name) is None:
            self._change_name(namespaces.create, item.name, made=True)
        handle = self._access.handles[item.name]
        found = readback.links(handle)
        loopback = next(link for link in found if link.name == "lo")
        if not readback.is_ours(self._access.prefix, item.name, found):
            if any(link.kind for link in found if not _DEFAULT_LINKS.fullmatch(link.name)):
                raise NotInstallable("a network namespace of that name has links and does not carry our mark")
            # New, or we were stopped between making and marking it.
            handle.route.link("set", index=loopback.index,
                              ifalias=marks.namespace(self._access.prefix, item.name))
        write_sysctls(item.name, dict(item.sysctls))
        handle.route.link("set", index=loopback.index, state="up")
        handle.touch(loopback.index, -1, -2)

    @remove.register
    def _(self, item: Namespace) -> None:
        self._access.handles.release(item.name)
        if namespaces.inode(item.name) is not None:
            self._change_name(namespaces.delete, item.name, made=False)

    def _change_name(self, call: Callable[[str], None], name: str, made: bool) -> None:
        """Make or remove a namespace's name, and count it, so that the monitor takes it for our own work."""
        self._access.handles.own_name_changes[name, made] += 1
        try:
            call(name)
        except BaseException:
            self._access.handles.own_name_changes[name, made] -= 1
            raise

    # -- links ------------------------------------------------------------------------------------

    @_install.register
    def _(self, item: Veth, was) -> None:
        self._pairs.install(item)

    @remove.register
    def _(self, item: Veth) -> None:
        self._pairs.remove(item)

    @_install.register
    def _(self, item: Tun, was) -> None:
        if was is None:
            make = functools.partial(self._access.route(item.netns).link, "add", ifname=item.name,
                                     kind="tuntap", mode="tun")
            namespaces.inside(item.netns, make)  # made by ioctl, not by netlink
        index = self._access.index(item.netns, item.name)
        # The kernel would give it a link-local address each time it is set up.
        self._access.route(item.netns).link("set", index=index, IFLA_AF_SPEC=NO_ADDRESSES)
        self._access.route(item.netns).link("set", index=index, mtu=item.mtu, state="up")

    @remove.register
    def _(self, item: Tun) -> None:
        index = self._access.look_up(item.netns, item.name)
        if index is not None:
            ignore_missing(self._access.route(item.netns).link, "del", index=index)

    # -- layer 3 ----------------------------------------------------------------------------------

    @_install.register
    def _(self, item: Address, was) -> None:
        route, index = self._access.route(item.netns), self._access.index(item.netns, item.link)
        address, length = str(item.address.ip), item.address.network.prefixlen
        flags = {"flags": _NODAD} if item.address.version == 6 else {}
        try:
            route.addr("add", index=index, address=address, prefixlen=length, **flags)
            return
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
        for found in readback.dump(route.get_addr, index=index, address=address):
            # The kernel takes one with another prefix length for the same address, and keeps its length.
            if found["prefixlen"] != length:
                ignore_missing(route.addr, "del", index=index, address=address,
                               prefixlen=found["prefixlen"])
        route.addr("replace", index=index, address=address, prefixlen=length, **flags)

    @remove.register
    def _(self, item: Address) -> None:
        index = self._access.look_up(item.netns, item.link)
        if index is not None:
            ignore_missing(self._access.route(item.netns).addr, "del", index=index,
                           address=str(item.address.ip), prefixlen=item.address.network.prefixlen)

    @_install.register
    def _(self, item: Neighbor, was) -> None:
        self._access.route(item.netns).neigh("replace", dst=str(item.address), lladdr=item.mac,
                                             state=NUD_PERMANENT,
                                             family=AF_INET if item.address.version == 4 else AF_INET6,
                                             ifindex=self._access.index(item.netns, item.link))

    @remove.register
    def _(self, item: Neighbor) -> None:
        index = self._access.look_up(item.netns, item.link)
        if index is not None:
            ignore_missing(self._access.route(item.netns).neigh, "del", dst=str(item.address), ifindex=index,
                           family=AF_INET if item.address.version == 4 else AF_INET6)

    @_install.register
    def _(self, item: Rule, was) -> None:
        try:
            self._access.route(item.netns).rule("add", **self._rule(item))
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise

    @remove.register
    def _(self, item: Rule) -> None:
        ignore_missing(self._access.route(item.netns).rule, "del", **self._rule(item))

    @staticmethod
    def _rule(item: Rule) -> dict:
        rule = {"family": AF_INET if item.family == 4 else AF_INET6, "priority": item.priority,
                "table": item.table, "protocol": PROTOCOL}
        if item.source is not None:
            rule["src"] = str(item.source)
        if item.iif:
            rule["iifname"] = item.iif
        return rule
