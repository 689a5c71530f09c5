# SPDX-License-Identifier: Apache-2.0
"""The uplink's link as its other hosts see it, and an on-link floating IP there."""

import contextlib
import socket
import struct
import time

from scapy.layers.inet6 import ICMPv6MLDMultAddrRec, ICMPv6MLReport2, ICMPv6ND_NA
from scapy.layers.l2 import Ether

from lab import netns as namespaces
from lab.host import FIP_A, FIP_B

FIP = "2001:db8:100::1:a1"
LINK = "uplink"
"""The upstream router's device on the uplink's link."""
SECONDS = 1.0
"""How long an answer may take; the kernel needs some milliseconds."""
_SOL_PACKET, _ADD_MEMBERSHIP, _PROMISCUOUS = 263, 1, 1


def add_on_link(lab):
    """Add a tenant of the uplink's own network with the floating IP FIP, and wait until it answers."""
    lab.wait_reachable(FIP_A, FIP_B)
    lab.add_tenant("d", "10.4.0.0/24", external="uplink-net")
    lab.add_vm("vm-d", "d", "10.4.0.9")
    lab.topology.add_fip(FIP, "vm-d")
    lab.wait_reachable(FIP)


class Wire:
    """The link, seen and used from the upstream router's end, whatever its kernel thinks of it."""

    def __init__(self, lab):
        def open_socket():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            sock.bind((LINK, 0))
            index = socket.if_nametoindex(LINK)
            sock.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("iHH8x", index, _PROMISCUOUS, 0))
            return sock

        self._sock = namespaces.call_in(lab.upstream.netns, open_socket)

    def close(self):
        self._sock.close()

    def send(self, packet):
        self._sock.send(bytes(packet))

    def received(self, seconds=SECONDS, enough=lambda packets: False):
        """Return what comes in by the link within `seconds`, or as soon as it is `enough`."""
        deadline, packets = time.monotonic() + seconds, []
        while (left := deadline - time.monotonic()) > 0 and not enough(packets):
            self._sock.settimeout(left)
            with contextlib.suppress(TimeoutError):
                data, (_, _, kind, _, _) = self._sock.recvfrom(65535)
                if kind != socket.PACKET_OUTGOING:
                    packets.append(Ether(data))
        return packets

    def ask(self, packet, target=FIP):
        """Send it; return the advertisements for `target` that come back."""
        self.drain()
        self.send(packet)
        return self.advertisements(target)

    def drain(self):
        self._sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._sock.recv(65535)

    def advertisements(self, target=FIP, seconds=SECONDS):
        def of_target(packets):
            return [packet for packet in packets
                    if ICMPv6ND_NA in packet and packet[ICMPv6ND_NA].tgt == str(target)]

        return of_target(self.received(seconds, of_target))

    def joined(self, group, seconds):
        """Wait for a report that this group is listened to."""
        found = self.received(seconds, lambda packets: records(packets, group))
        return any(record.rtype in (2, 4) for record in records(found, group))


def records(packets, group):
    """Return the records for this group of all MLDv2 reports (RFC 3810, section 5.2)."""
    found = []
    for packet in packets:
        record = packet[ICMPv6MLReport2].records[0] if ICMPv6MLReport2 in packet else None
        while isinstance(record, ICMPv6MLDMultAddrRec):  # scapy takes each next one for the payload
            found.append(record)
            record = record.payload
    return [record for record in found if record.dst == str(group)]
