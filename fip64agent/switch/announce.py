# SPDX-License-Identifier: Apache-2.0
"""Unsolicited Neighbor Advertisements for floating IPs that are new here (RFC 4861 section 7.2.6).

Three of them for each, a second apart; the first ones go before all repetitions, and all are
paced, so that many new floating IPs do not flood the uplink.
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Callable, Hashable

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.switch.app import Connection
from fip64agent.switch.flows.flow import Announcement
from fip64agent.switch.flows.neighbor import ALL_NODES, ALL_NODES_MAC

# isort: split
from os_ken.lib.packet import ethernet, icmpv6, ipv6, packet
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

LOG = logging.getLogger(__name__)

ROUNDS = 3
INTERVAL = 1.0
"""Seconds between two for the same address (RetransTimer)."""
RATE = 500
"""Packets a second, of all uplinks together."""
TICK = 0.02
OVERRIDE = 1
"""The O flag as os-ken counts the three bits R, S, O."""


def advertisement(announcement: Announcement) -> bytes:
    """Return the packet: to all nodes, override, with the target's link-layer address."""
    address = str(announcement.address)
    result = packet.Packet()
    result.add_protocol(ethernet.ethernet(dst=ALL_NODES_MAC, src=announcement.mac, ethertype=0x86DD))
    result.add_protocol(ipv6.ipv6(src=address, dst=str(ALL_NODES), nxt=58, hop_limit=255))
    result.add_protocol(icmpv6.icmpv6(type_=136, data=icmpv6.nd_neighbor(
        res=OVERRIDE, dst=address, option=icmpv6.nd_option_tla(hw_src=announcement.mac))))
    result.serialize()
    return bytes(result.data)


def packet_out(connection: Connection, ofport: int, data: bytes) -> bytes:
    """Return the OFPT_PACKET_OUT that sends `data` out of port `ofport`. Raises: NotReady."""
    channel = connection.channel
    message = parser.OFPPacketOut(channel, buffer_id=ofp.OFP_NO_BUFFER, in_port=ofp.OFPP_CONTROLLER,
                                  actions=[parser.OFPActionOutput(ofport)], data=data)
    channel.set_xid(message)
    message.serialize()
    return bytes(message.buf)


class Announcer:
    """Sends announcements while it has any. `clock` in seconds."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._wanted: dict[Hashable, Announcement] = {}
        self._rounds: list[collections.deque[tuple[float, Hashable, Announcement]]] = [
            collections.deque() for _ in range(ROUNDS)]
        self._due = hub.Event()
        self._thread = None
        self.sent = 0

    def start(self) -> None:
        self._thread = hub.spawn(self._run)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.kill()
            self._thread = None

    def announce(self, key: Hashable, announcement: Announcement) -> None:
        """Announce what the flow `key` answers for, from now on."""
        self._wanted[key] = announcement
        self._rounds[0].append((self._clock(), key, announcement))
        self._due.set()

    def cancel(self, key: Hashable) -> None:
        """The flow is gone: the address may be somewhere else now, and is not announced any more."""
        self._wanted.pop(key, None)

    def take(self, count: int) -> list[Announcement]:
        """Return at most `count` that are due, first ones first, and plan their repetition."""
        now = self._clock()
        result: list[Announcement] = []
        for number, waiting in enumerate(self._rounds):
            while waiting and len(result) < count and waiting[0][0] <= now:
                _, key, announcement = waiting.popleft()
                if self._wanted.get(key) is not announcement:
                    continue
                result.append(announcement)
                if number + 1 < ROUNDS:
                    self._rounds[number + 1].append((now + INTERVAL, key, announcement))
                else:
                    del self._wanted[key]
        return result

    def _run(self) -> None:
        while True:
            if not any(self._rounds):
                self._due.clear()
                self._due.wait()
            try:
                for announcement in self.take(int(RATE * TICK)):
                    self._connection.send(packet_out(self._connection, announcement.ofport,
                                                     advertisement(announcement)))
                    self.sent += 1
            except NotReady:
                pass  # when the connection is back, neighbours learn from the repetition or by asking
            except Exception:
                LOG.exception("an announcement failed")
            hub.sleep(TICK)
