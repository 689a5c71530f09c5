# SPDX-License-Identifier: Apache-2.0
"""Where the frames of `lab.attempts` come out, and what of that must not be."""

from __future__ import annotations

import dataclasses
import json
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Iterable
from ipaddress import IPv6Address

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import Ether

from lab import netns as namespaces
from lab import vpp
from lab.attempts import Attempt, Scenario, within
from lab.host import Lab
from lab.shell import run

MARK = re.compile(rb"fip64 attempt (\d{6})\.")
SETTLE = 0.7
"""Seconds until the last frame has come out wherever it does."""
_ETH_ALL, _OUTGOING = 0x0003, 4
_SO_RCVBUFFORCE = 33


@dataclasses.dataclass(frozen=True)
class ObservedFrame:
    """A frame of an attempt at one of the places that are watched."""

    place: str
    number: int
    frame: bytes


class Observer:
    """Sees marked frames at the client, on the uplink's wire, at VMs, and what OVS outputs to ports of ours.

    Use as a context manager; `frames` is complete afterwards. Tags that the kernel removes are missing.
    """

    def __init__(self, lab: Lab, scenario: Scenario) -> None:
        self.frames: list[ObservedFrame] = []
        places = [("client", lab.client.netns, "eth0", False),
                  ("uplink", lab.upstream.netns, "uplink", False)]
        places += [(tenant.vm.name, tenant.vm.netns, "eth0", False) for tenant in scenario.others]
        places += [(f"ours: {name}", lab.host, name, True) for name in own_ports(lab)]
        self._places = places
        self._sockets: dict[socket.socket, tuple[str, bool]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="attempts")

    def __enter__(self) -> Observer:
        for place, netns, device, outgoing in self._places:
            sock = namespaces.call_in(netns, packet_socket, device)
            self._sockets[sock] = place, outgoing
        self._thread.start()
        return self

    def __exit__(self, *_exc) -> None:
        time.sleep(SETTLE)
        self._stop.set()
        self._thread.join()
        for sock in self._sockets:
            sock.close()

    def _listen(self) -> None:
        while True:
            ready = select.select(list(self._sockets), [], [], 0.1)[0]
            if not ready and self._stop.is_set():
                return
            for sock in ready:
                place, outgoing = self._sockets[sock]
                while True:
                    try:
                        frame, address = sock.recvfrom(2048)
                    except BlockingIOError:
                        break
                    found = MARK.search(frame)
                    if found and (address[2] == _OUTGOING) == outgoing:
                        self.frames.append(ObservedFrame(place, int(found[1]), frame))


def packet_socket(device: str) -> socket.socket:
    """Return a socket that sees all frames of a device of this namespace, and does not block."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_ALL))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
    sock.bind((device, _ETH_ALL))
    sock.setblocking(False)
    return sock


def own_ports(lab: Lab) -> list[str]:
    """Names of the agent's ports on the lab's bridge."""
    listed = json.loads(lab.ovs.vsctl("-f", "json", "--columns=name,external_ids", "list", "Port").stdout)
    return sorted(name for name, (_, ids) in listed["data"] if any(key == "fip64-owner" for key, _ in ids))


def neighbors(lab: Lab) -> dict[str, str]:
    """What the translator and the Neighbor Discovery link know: where and which address -> MAC."""
    prefix = lab.agent.config["tayga"]["netns_prefix"]
    found = {}
    for name in namespaces.names():
        if name.startswith(prefix):
            for entry in json.loads(run("ip", "-j", "neigh", netns=name).stdout or "[]"):
                if "lladdr" in entry:
                    found[f"{name} {entry['dev']} {entry['dst']}"] = entry["lladdr"]
    if lab.translator == "vpp":
        command = str(lab.agent.config["DEFAULT"]["run_path"]) + "/vpp/cli.sock"
        for line in run(str(vpp.find().vppctl), "-s", command, "show", "ip", "neighbors").stdout.splitlines():
            if match := re.search(r"(\S+)\s+[A-Z]*\s+((?:[0-9a-f]{2}:){5}[0-9a-f]{2})\s+(\S+)", line):
                found[f"vpp {match[3]} {match[1]}"] = match[2]
    return found


# -- what must not be -----------------------------------------------------------------------------


def faults(scenario: Scenario, attempts: list[Attempt], frames: Iterable[ObservedFrame]) -> list[str]:
    """Return what must not have happened, a sentence for each; empty when all is well."""
    result = set()
    arrived = set()
    for observed in frames:
        attempt = attempts[observed.number]
        if _is_icmp_error(observed.frame):
            continue  # somebody who got it answers with an error, in his own name
        if observed.place == "client":
            source = str(IPv6(observed.frame[14:]).src)
            if attempt.legitimate and source == scenario.attacker.fip:
                arrived.add(observed.number)
            else:
                result.add(f"arrived at the client as {source}: {attempt.name}")
        elif attempt.legitimate or (_is_for_upstream(scenario, attempt.frame)
                                    and not _is_same(attempt.frame, observed.frame)):
            continue  # what the upstream router has forwarded, or somebody's answer to that
        elif observed.place.startswith("ours"):
            result.add(f"went into the port of {observed.place}: {attempt.name}")
        elif observed.place == "uplink":
            if _is_same(attempt.frame, observed.frame) and (
                    claim := _claimed_identity(scenario, observed.frame)):
                result.add(f"left by the uplink {claim}: {attempt.name}")
        elif not _is_same(attempt.frame, observed.frame):
            result.add(f"arrived at {observed.place} otherwise than by the bridge: {attempt.name}")
    result |= {f"did not arrive at the client, so nothing is proved: {attempt.name}"
               for number, attempt in enumerate(attempts) if attempt.legitimate and number not in arrived}
    return sorted(result)


def _is_for_upstream(scenario: Scenario, frame: bytes) -> bool:
    """Whether the VM asked the uplink's router to forward a packet, as any host may that can reach it."""
    return frame[:6] == bytes.fromhex(scenario.upstream_mac.replace(":", "")) and UDP in Ether(frame)


def _is_icmp_error(frame: bytes) -> bool:
    """Whether it is an ICMP error, which quotes what it is about."""
    packet = Ether(frame)
    if IP in packet:
        return packet[IP].proto == 1 and bytes(packet[IP].payload)[:1] in (b"\x03", b"\x05", b"\x0b", b"\x0c")
    return IPv6 in packet and packet[IPv6].nh == 58 and bytes(packet[IPv6].payload)[:1] < b"\x80"


def _is_same(sent: bytes, received: bytes) -> bool:
    """Whether a frame is what was sent, but for tags."""
    return sent[:12] == received[:12] and received.endswith(sent[-40:])


def _claimed_identity(scenario: Scenario, frame: bytes) -> str:
    """Say in whose name a frame speaks, if it is not the sender's. Tags are looked behind, however many."""
    source = ":".join(f"{octet:02x}" for octet in frame[6:12])
    if source == scenario.uplink_mac:
        return f"from the uplink's MAC {source}"
    position = 12
    while (kind := struct.unpack_from("!H", frame, position)[0]) in (0x8100, 0x88A8):
        position += 4
    if kind != 0x86DD:
        return ""
    packet = IPv6(frame[position + 2:])
    if within(packet.src, scenario.guarded):
        return f"as {packet.src}"
    for layer in (ICMPv6ND_NA, ICMPv6ND_NS):
        if layer not in packet or not within(packet[layer].tgt, scenario.guarded):
            continue
        # To ask for a router's link-local address is what any VM does whose own router has the same.
        if layer is ICMPv6ND_NS and IPv6Address(packet[layer].tgt).is_link_local and packet.src != "::":
            continue
        return f"for {packet[layer].tgt}"
    return ""
