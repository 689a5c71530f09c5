# SPDX-License-Identifier: Apache-2.0
"""Sockets to the kernel: for each namespace one of pyroute2, one for routes, one for ioctls and events.

Blocking, and only for the room's own native thread: pyroute2 gives each thread sockets of its own.
The sockets of a namespace take 6 file descriptors.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import logging
import socket
import struct
import time
from collections import Counter
from pathlib import Path

from pyroute2 import IPRoute

from fip64agent.links import events, rtnetlink
from fip64agent.links import netns as namespaces

logging.getLogger("pyroute2").setLevel(logging.WARNING)  # it takes its own level off at its import
_SIOCGIFINDEX = 0x8933
_SIOCETHTOOL = 0x8946
_GET_TX_CHECKSUM, _SET_TX_CHECKSUM = 0x16, 0x17
_SO_RCVBUFFORCE = 33
_EVENT_BUFFER_SIZE = 8 << 20
"""Bytes of events that may wait in a socket; those of 10,000 routes come at once."""
_MANY_OBJECTS = 10_000
"""Objects that were made since the last garbage collection. A message of pyroute2 is a hundred of them."""


def free_messages() -> None:
    """Free the messages of pyroute2 that nobody needs any more, once there are many.

    They refer to themselves, so only the garbage collector frees them, and that is off while the loop makes a
    pass: those of 100 namespaces would add up to 30 MiB. Only what is new is looked at.
    """
    if gc.get_count()[0] > _MANY_OBJECTS:
        gc.collect(0)


class Handle:
    """The sockets in one namespace ("": the agent's own)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inode = namespaces.inode(name) if name else None
        self.ours = False
        """It was checked that the namespace carries our mark."""
        self.touched: dict[int, float] = {}
        """Links that we worked on: index -> when, by the monotonic clock (-1 and -2: sysctls)."""
        self.route, self.bulk, self.events = namespaces.inside(name, self._open)
        self.own_ports = {self.route.socket.getsockname()[0], self.bulk.port}
        """Netlink port ids of our sockets, which the kernel names as the senders of our changes."""

    def _open(self) -> tuple[IPRoute, rtnetlink.Socket, socket.socket]:
        with contextlib.ExitStack() as stack:
            # Not IPRoute(netns=...): that forks this process, threads and all, for each socket.
            route = stack.enter_context(contextlib.closing(IPRoute()))
            route.link_lookup(ifname="lo")  # it opens its socket now, in this namespace
            bulk = stack.enter_context(contextlib.closing(rtnetlink.Socket()))
            event_socket = self._open_event_socket()
            stack.pop_all()
            return route, bulk, event_socket

    def _open_event_socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK,
                             socket.NETLINK_ROUTE)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _EVENT_BUFFER_SIZE)
        # In the agent's own namespace only links are ours.
        sock.bind((0, events.ALL if self.name else events.LINKS))
        return sock

    def touch(self, *indexes: int) -> None:
        """Note that we work on these links, so that the monitor takes their events for ours.

        `indexes`: of links; -1 and -2 for the sysctls "all" and "default".
        """
        self.touched.update(dict.fromkeys(indexes, time.monotonic()))

    def index(self, link: str) -> int | None:
        """Return the index of a link, None when there is none of that name."""
        try:
            answer = fcntl.ioctl(self.events, _SIOCGIFINDEX, struct.pack("16si20x", link.encode(), 0))
        except OSError:
            return None
        return struct.unpack_from("16si", answer)[1]

    def close(self) -> None:
        """Close all sockets."""
        self.events.close()
        self.bulk.close()
        with contextlib.suppress(Exception):  # the namespace may not exist any more
            self.route.close()

    def tx_checksum(self, link: str) -> bool:
        """Return whether a link leaves checksums to the hardware. Raises: OSError."""
        return bool(self._ethtool(link, _GET_TX_CHECKSUM, 0))

    def no_tx_checksum(self, link: str) -> None:
        """Switch a link's checksum offload off, and with it its segmentation offload. Raises: OSError."""
        self._ethtool(link, _SET_TX_CHECKSUM, 0)

    def _ethtool(self, link: str, command: int, value: int) -> int:
        # Any socket of the namespace will do for the ioctl.
        data = bytearray(struct.pack("II", command, value))
        address = ctypes.addressof(ctypes.c_char.from_buffer(data))
        fcntl.ioctl(self.events, _SIOCETHTOOL, struct.pack("16sP16x", link.encode(), address))
        return struct.unpack("II", data)[1]


class Handles:
    """Opens namespaces on demand and notices when a name leads to another namespace than before."""

    def __init__(self) -> None:
        self._handles: dict[str, Handle] = {}
        self.changed = False
        """Namespaces were opened or closed since this was last reset."""
        self.side_effects = False
        """Our own work has removed something else as well, which may be wanted: a read-back finds out."""
        self.own_name_changes: Counter[tuple[str, bool]] = Counter()
        """How often we made (True) or removed (False) a namespace's name and inotify has not said so yet."""

    def __getitem__(self, name: str) -> Handle:
        """Return the sockets in a namespace. Raises: OSError when there is no such namespace."""
        handle = self._handles.get(name)
        if handle is not None and name and namespaces.inode(name) != handle.inode:
            self.release(name)
            handle = None
        if handle is None:
            handle = self._handles[name] = Handle(name)
            self.changed = True
        return handle

    def release(self, name: str) -> None:
        """Close the sockets in a namespace: they would keep it alive after its name is removed."""
        handle = self._handles.pop(name, None)
        if handle is not None:
            handle.close()
            self.changed = True

    def keep_only(self, names: set[str]) -> None:
        """Release all namespaces but these."""
        for name in [name for name in self._handles if name not in names]:
            self.release(name)

    def all(self) -> list[Handle]:
        """Return the handles of the namespaces that are open."""
        return list(self._handles.values())

    def close(self) -> None:
        """Release all namespaces."""
        for name in list(self._handles):
            self.release(name)


def _sysctl_file(name: str) -> Path:
    """Return the file of a sysctl, ``ipv6.conf.all.forwarding`` for instance.

    Not for the sysctls of a link: its name may have dots.
    """
    return Path("/proc/sys/net", *name.split("."))


def read_sysctls(netns: str, names: list[str]) -> dict[str, str]:
    """Return sysctls of a namespace, {name below net.: value}, those that the kernel has."""
    def read() -> dict[str, str]:
        values = {}
        for name in names:
            with contextlib.suppress(OSError):
                values[name] = _sysctl_file(name).read_text().strip()
        return values

    return namespaces.inside(netns, read)


def write_sysctls(netns: str, values: dict[str, str]) -> None:
    """Write sysctls of a namespace, {name below net.: value}. Raises: OSError naming the file."""
    def write() -> None:
        for name, value in values.items():
            _sysctl_file(name).write_text(value)

    namespaces.inside(netns, write)
