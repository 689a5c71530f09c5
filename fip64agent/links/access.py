# SPDX-License-Identifier: Apache-2.0
"""Access to namespaces and links for those who change something in them. Blocking."""

from __future__ import annotations

import errno
from collections.abc import Callable

from pyroute2.netlink.exceptions import NetlinkError

from fip64agent.links import readback, rtnetlink
from fip64agent.links.kernel import Handle, Handles

_MISSING = {errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL}
NO_ADDRESSES = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})]}
"""The kernel gives a link no link-local address."""


class NotInstallable(Exception):
    """The item cannot be installed; the message says why."""


class Access:
    """Opens the namespaces that are ours, and finds links in them.

    `prefix`: the agent's namespace prefix, for the marks.
    """

    def __init__(self, prefix: str, handles: Handles) -> None:
        self.prefix = prefix
        self.handles = handles

    def handle(self, netns: str) -> Handle:
        """Return the sockets in a namespace. Raises: NotInstallable when it is not ours, OSError."""
        handle = self.handles[netns]
        if netns and not handle.ours:
            if not readback.is_ours(self.prefix, netns, readback.links(handle, "lo")):
                raise NotInstallable(f"network namespace {netns} does not carry our mark")
            handle.ours = True
        return handle

    def route(self, netns: str):
        """Return the pyroute2 socket of a namespace. Raises: NotInstallable, OSError."""
        return self.handle(netns).route

    def look_up(self, netns: str, link: str) -> int | None:
        """Return the index of a link that is going to be changed; None when there is none.

        Raises: NotInstallable, OSError.
        """
        handle = self.handle(netns)
        index = handle.index(link)
        if index is not None:
            handle.touch(index)
        return index

    def index(self, netns: str, link: str) -> int:
        """As look_up(), but raises NotInstallable when there is no such link."""
        return self._existing(netns, link, self.look_up(netns, link))

    def index_for_route(self, netns: str, link: str) -> int:
        """As index(), for a link that a route names and that is not changed itself."""
        return self._existing(netns, link, self.handle(netns).index(link))

    @staticmethod
    def _existing(netns: str, link: str, index: int | None) -> int:
        if index is None:
            where = f"namespace {netns}" if netns else "the agent's namespace"
            raise NotInstallable(f"there is no link {link} in {where}")
        return index


def ignore_missing(call: Callable, *args, **kwargs) -> None:
    """Call what removes something; that it does not exist any more is success. Raises: NetlinkError."""
    try:
        call(*args, **kwargs)
    except NetlinkError as error:
        if error.code not in _MISSING:
            raise


def reason(error: Exception) -> str:
    """Return why something failed, in an operator's words."""
    if isinstance(error, NetlinkError):
        return f"the kernel refuses it: {error.args[-1] if error.args else error}"
    if isinstance(error, rtnetlink.Refusal):
        return f"the kernel refuses it: {error}"
    if isinstance(error, NotInstallable | OSError):
        return str(error)
    return f"{type(error).__name__}: {error}"
