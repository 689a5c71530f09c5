# SPDX-License-Identifier: Apache-2.0
"""Makes veth pairs, takes over those that are there, and removes them. Blocking."""

from __future__ import annotations

import errno
import time

from pyroute2.netlink.exceptions import NetlinkError

from fip64agent.links import netns as namespaces
from fip64agent.links import readback
from fip64agent.links.access import NO_ADDRESSES, Access, NotInstallable, ignore_missing
from fip64agent.links.kernel import write_sysctls
from fip64agent.links.model import Veth

_NAME_TIMEOUT = 2.0
"""Seconds that a name may stay taken by the far end of a link whose namespace is being torn down."""


class VethPairs:
    """Makes and removes veth pairs of ours, in the namespaces that `access` opens."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def install(self, item: Veth) -> None:
        """Make the pair, or make what there is equal to `item`.

        Raises: NotInstallable, OSError, NetlinkError.
        """
        if not self._take_over(item):
            self._make(item)
        self._configure(item)

    def _take_over(self, item: Veth) -> bool:
        """Return whether there is a pair that only has to be configured.

        A pair of ours that leads to another far end is removed. Raises: NotInstallable when it is not ours.
        """
        index = self._access.look_up(item.netns, item.name)
        if index is None:
            return False
        pair = self._read(item)
        if pair is None and self._is_half_made(item):
            self._access.route(item.netns).link("set", index=index, ifalias=item.alias)
            pair = self._read(item)
        if pair is None:
            if self._access.look_up(item.netns, item.name) is None:  # it was removed meanwhile
                return False
            raise NotInstallable(f"a link named {item.name} is there and does not carry our mark")
        if (pair.peer_netns, pair.peer) == (item.peer_netns, item.peer):
            if item.peer_mac and pair.peer_mac != item.peer_mac:
                peer = self._access.index(item.peer_netns, item.peer)
                self._access.route(item.peer_netns).link("set", index=peer, address=item.peer_mac)
                self._access.handles.side_effects = True  # its neighbors go with its MAC
            return True
        self._delete(item.netns, index)
        return False

    def _is_half_made(self, item: Veth) -> bool:
        """Return whether it is a pair that an agent made and could not mark before it was killed.

        Such a link has no mark at all, and its far end, with the right name, is in a namespace of ours.
        """
        if not item.peer_netns:
            return False
        link = next(iter(readback.links(self._access.handles[item.netns], item.name)), None)
        peer = next(iter(readback.links(self._access.handle(item.peer_netns), item.peer)), None)
        return (link is not None and peer is not None and link.kind == "veth" and not link.alias
                and (peer.index, peer.peer_index) == (link.peer_index, link.index)
                and readback.nsid_of(self._access.handles[item.netns], item.peer_netns) == link.peer_nsid)

    def _delete(self, netns: str, index: int) -> None:
        """Delete a link of ours whose name is needed, and with it what is on it."""
        ignore_missing(self._access.route(netns).link, "del", index=index)
        self._access.handles.side_effects = True

    def _read(self, item: Veth) -> Veth | None:
        """Return the pair as it is; None when it is not ours."""
        return readback.veth(self._access.prefix, self._access.handles, item.netns, item.name,
                             item.peer_netns)

    def _make(self, item: Veth) -> None:
        peer = {"ifname": item.peer, "mtu": item.mtu}
        if item.peer_mac:
            peer["address"] = item.peer_mac
        if item.peer_netns:
            peer["net_ns_fd"] = item.peer_netns
            old = self._access.look_up(item.peer_netns, item.peer)
            if old is not None:  # of a pair of ours that is not wanted any more: the namespace is ours
                self._delete(item.peer_netns, old)
        deadline = time.monotonic() + _NAME_TIMEOUT
        while True:
            try:
                # The kernel ignores the mark here. _configure() sets it, or the next agent (_is_half_made).
                self._access.route(item.netns).link("add", ifname=item.name, kind="veth", mtu=item.mtu,
                                                    ifalias=item.alias, peer=peer)
                break
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise
                if time.monotonic() > deadline:
                    raise NotInstallable(
                        f"the name {item.name} or {item.peer} is taken by another link") from error
                time.sleep(0.02)

    def _configure(self, item: Veth) -> None:
        """Set all that can be set on an existing pair."""
        first = self._access.index(item.netns, item.name)
        second = self._access.index(item.peer_netns, item.peer)
        if item.switched:
            self._access.handle(item.netns).no_tx_checksum(item.name)
            self._access.handle(item.peer_netns).no_tx_checksum(item.peer)
        # No link-local address of the kernel's where OVS or a tenant is, nor between our namespaces.
        self._access.route(item.netns).link("set", index=first, ifalias=item.alias, IFLA_AF_SPEC=NO_ADDRESSES)
        if not item.peer_mac:
            self._access.route(item.peer_netns).link("set", index=second, IFLA_AF_SPEC=NO_ADDRESSES)
        if item.peer_without_ipv6:  # else the kernel would act on Router Advertisements
            write_sysctls(item.peer_netns, {f"ipv6.conf.{item.peer}.disable_ipv6": "1"})
        self._access.route(item.netns).link("set", index=first, mtu=item.mtu, state="up")
        self._access.route(item.peer_netns).link("set", index=second, mtu=item.mtu, state="up")

    def remove(self, item: Veth) -> None:
        """Remove the pair; that it does not exist any more is success. Raises: OSError, NetlinkError."""
        index = self._access.look_up(item.netns, item.name)
        if index is None:
            return
        if item.peer_netns != readback.ELSEWHERE and namespaces.exists(item.peer_netns):
            self._access.look_up(item.peer_netns, item.peer)  # notes that its end is our own work
        ignore_missing(self._access.route(item.netns).link, "del", index=index)
