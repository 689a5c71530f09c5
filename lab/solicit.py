# SPDX-License-Identifier: Apache-2.0
"""Neighbor Solicitations by the thousand, and how long their answers take: ``python -m lab.solicit ...``.

    ask INTERFACE SECONDS WINDOW [PER_SECOND]   WINDOW open questions, PER_SECOND new ones a second at most
    flood INTERFACE SECONDS PER_SECOND          send only

Prints one line of JSON. Runs in the network namespace of the interface.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from ipaddress import IPv6Address

from fip64agent.net.icmpv6 import NeighborSolicitation
from fip64agent.net.ipv6 import ICMPV6, IPv6
from fip64agent.net.options import SourceLinkLayerAddress
from fip64agent.net.packet import Ethernet, Packet, build

MAC = "02:00:00:00:00:99"
SOURCE = IPv6Address("fe80::99")
PREFIX = int(IPv6Address("2001:db8:a::"))
"""Targets are this and a number of 16 bits."""
GIVEN_UP = 1.0
"""Seconds after which a question counts as lost."""
_ADVERTISEMENT, _TYPE, _TARGET = 136, 54, slice(76, 78)
"""Where the ICMPv6 type and the number in the target stand in a frame."""


def solicitation(number: int) -> bytes:
    """Return the solicitation for target `number`, from Ethernet on."""
    target = IPv6Address(PREFIX | number)
    header = IPv6(SOURCE, IPv6Address("ff02::1:ff00:1"), ICMPV6, 255)
    return build(Packet(Ethernet("33:33:ff:00:00:01", MAC), header,
                        NeighborSolicitation(target, (SourceLinkLayerAddress(MAC),))))


def _open(interface: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
    sock.bind((interface, 0x86DD))
    sock.setblocking(False)
    return sock


def ask(interface: str, seconds: float, window: int, per_second: float = float("inf")) -> dict:
    """Return the seconds that each answer took, how many questions had none, and answers a second."""
    sock = _open(interface)
    frames = [solicitation(number) for number in range(4096)]
    waiting: dict[int, float] = {}
    took: list[float] = []
    lost = sent = 0
    begun = now = time.monotonic()
    until = begun + seconds
    while now < until:
        due = min(window - len(waiting), (now - begun) * per_second - sent)
        while due > 0:
            number = sent % len(frames)
            lost += waiting.pop(number, None) is not None
            waiting[number] = time.monotonic()
            try:
                sock.send(frames[number])
            except BlockingIOError:
                del waiting[number]
                break
            sent += 1
            due -= 1
        if select.select([sock], [], [], 0.0005)[0]:
            for _ in range(64):
                try:
                    frame = sock.recv(2048)
                except BlockingIOError:
                    break
                if len(frame) >= 78 and frame[_TYPE] == _ADVERTISEMENT:
                    then = waiting.pop(int.from_bytes(frame[_TARGET]), None)
                    if then is not None:
                        took.append(time.monotonic() - then)
        now = time.monotonic()
        if waiting and now - next(iter(waiting.values())) > GIVEN_UP:
            del waiting[next(iter(waiting))]
            lost += 1
    return {"took": took, "lost": lost, "sent": sent, "seconds": now - begun}


def flood(interface: str, seconds: float, per_second: float) -> dict:
    """Send as many solicitations a second as are asked for, if it can be done."""
    sock = _open(interface)
    frames = [solicitation(number) for number in range(4096)]
    sent, begun = 0, time.monotonic()
    while (now := time.monotonic()) < begun + seconds:
        for _ in range(min(256, int((now - begun) * per_second) - sent)):
            try:
                sock.send(frames[sent % len(frames)])
            except (BlockingIOError, OSError):
                break
            sent += 1
        else:
            time.sleep(0)
    return {"sent": sent, "seconds": now - begun}


def main() -> None:
    what, interface, *numbers = sys.argv[1:]
    seconds, *rest = map(float, numbers)
    if what == "ask":
        print(json.dumps(ask(interface, seconds, int(rest[0]), *rest[1:])))
    else:
        print(json.dumps(flood(interface, seconds, *rest)))


if __name__ == "__main__":
    main()
