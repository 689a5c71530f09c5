# SPDX-License-Identifier: Apache-2.0
"""What a VM may try against other tenants, uplinks and the translator: frames.

`frames` makes the table of attempts, each with a mark by which `lab.observation` knows it again wherever it
comes out. It needs scapy, and a lab; no pytest, so that it can run on another machine than that of the tests.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import time
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, IPv6Network

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6MLDone,
    ICMPv6MLReport,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from fip64agent.net.addresses import link_local
from lab import netns as namespaces
from lab.host import Lab
from lab.node import Node
from lab.shell import run

BROADCAST, ALL_NODES_MAC = "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"
OUTSIDE = "2001:db8:bad::1"
"""A source that is nobody's."""
PAUSE_AFTER, PAUSE = 32, 0.01
"""Frames, and seconds: sockets that nobody reads fast enough lose frames."""
_PORT = 53535


@dataclasses.dataclass(frozen=True)
class Tenant:
    """One tenant as an attacker may know it: its VM, its floating IP, and what leads into the translator."""

    vm: Node
    fip: str
    gateway: str
    gateway_mac: str
    downlink_mac: str
    downlink_vlan: int | None
    """802.1Q VLAN ID on the downlink; None with tayga."""
    pool_address: str
    """What stands in for the lab's client there."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Who tries, against whom, and what identities are others'."""

    attacker: Tenant
    others: tuple[Tenant, ...]
    uplink_mac: str
    uplink_address: str
    upstream_mac: str
    upstream_addresses: tuple[str, ...]
    """Of the uplink's gateway, as far as the agent can know: in prefixes of the uplink, or next hops. Global
    ones first."""
    prefixes: tuple[IPv6Network, ...]
    """That the uplink serves."""

    @property
    def guarded(self) -> tuple[IPv6Network, ...]:
        """Prefixes whose addresses no VM may use as its own."""
        own = IPv6Network(self.uplink_link_local)
        return (*self.prefixes, *map(IPv6Network, self.upstream_addresses), own)

    @property
    def uplink_link_local(self) -> str:
        """The link-local address of the uplink's MAC."""
        return str(link_local(self.uplink_mac))


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A frame that a VM sends."""

    name: str
    frame: bytes
    legitimate: bool = False
    """It belongs to the sender, and has to come out of the uplink as its floating IP."""


def scenario(lab: Lab, attacker: str, fips: dict[str, str]) -> Scenario:
    """Look at the lab; `fips`: VM's name -> its floating IP. Each has answered the lab's client over HTTP.

    The VMs have to serve: the answer tells under which pool address the client is known there.
    """
    plan = {(obj["kind"], obj["id"]): obj["attributes"] for obj in lab.agent.get("/plan")["objects"]}
    tenants = {}
    for name, fip in fips.items():
        mapping = next(attributes for (kind, _), attributes in plan.items()
                       if kind == "fip" and attributes["floating_ip"] == fip)
        gateway = next(attributes for (kind, _), attributes in plan.items()
                       if kind == "gateway" and attributes["port_id"] == lab[name].port_id)
        tenants[name] = Tenant(lab[name], fip, gateway["address"], mapping["gateway_mac"],
                               mapping["downlink_mac"], mapping["downlink_vlan"],
                               lab.client.http_get(fip)["answer"]["you_are"])
    uplink = next(attributes for (kind, _), attributes in plan.items() if kind == "uplink")
    device = json.loads(run("ip", "-j", "addr", "show", "uplink", netns=lab.upstream.netns).stdout)[0]
    prefixes = tuple(IPv6Network(prefix) for prefix in (*uplink["onlink"], *uplink["routed"]))
    hops = {nexthop for _, nexthop in uplink["routes"]}
    own = [entry["local"] for entry in device["addr_info"]
           if entry["family"] == "inet6" and (entry["local"] in hops or within(entry["local"], prefixes))]
    return Scenario(tenants.pop(attacker), tuple(tenants.values()), uplink["mac"],
                 uplink["addresses"][0].split("/")[0], device["address"],
                 tuple(sorted(own, key=lambda address: IPv6Address(address).is_link_local)), prefixes)


# -- the table -----------------------------------------------------------------------------------


def _tags(scenario: Scenario, own_tag: int | None) -> dict[str, list[Packet]]:
    """How a frame may be tagged: as it should be, not at all, for others, more than once."""
    other_vids = [tenant.downlink_vlan or tenant.vm.tag or 9 for tenant in scenario.others]
    return {
        "untagged": [], "VID 0": [Dot1Q(vlan=0, prio=6)], "own VID": [Dot1Q(vlan=own_tag or 8)],
        "the other's VID": [Dot1Q(vlan=other_vids[0])], "VID 4095": [Dot1Q(vlan=4095)],
        "S-VID 0": [Dot1AD(vlan=0)], "0/other's": [Dot1Q(vlan=0), Dot1Q(vlan=other_vids[0])],
        "own/0": [Dot1Q(vlan=own_tag or 8), Dot1Q(vlan=0)], "0/0": [Dot1Q(vlan=0), Dot1Q(vlan=0)],
        "S 0/other's": [Dot1AD(vlan=0), Dot1Q(vlan=other_vids[0])],
        "4095/4095": [Dot1Q(vlan=4095), Dot1Q(vlan=4095)],
    }


def _ipv4(scenario: Scenario) -> Iterator[tuple[str, Packet]]:
    own = scenario.attacker
    to = {"own pool": own.pool_address, "gateway": own.gateway}
    to |= {f"pool of {tenant.vm.name}": tenant.pool_address for tenant in scenario.others}
    to |= {tenant.vm.name: tenant.vm.address4 for tenant in scenario.others}
    sources = {"own": own.vm.address4, "outside": "198.51.100.7", "client's": own.pool_address}
    sources |= {f"{tenant.vm.name}'s": tenant.vm.address4 for tenant in scenario.others}
    for whose, source in sources.items():
        for where, destination in to.items():
            yield f"IPv4 from {whose} address to {where}", IP(src=source, dst=destination) / UDP(
                sport=_PORT, dport=_PORT)
    yield "ICMP echo reply", IP(src=own.vm.address4, dst=scenario.others[0].pool_address) / ICMP(type=0)


def _arp(scenario: Scenario, mac: str) -> Iterator[tuple[str, Packet]]:
    claimed = {"gateway": scenario.attacker.gateway}
    claimed |= {tenant.vm.name: tenant.vm.address4 for tenant in scenario.others}
    for whose, address in claimed.items():
        for name, operation in (("request", 1), ("reply", 2)):
            yield f"ARP {name} as {whose}", ARP(op=operation, hwsrc=mac, psrc=address, pdst=address)


def _ipv6(scenario: Scenario, mac: str) -> Iterator[tuple[str, Packet]]:
    own = str(link_local(mac))
    gateway, uplink, fip = scenario.upstream_addresses[0], scenario.uplink_address, scenario.others[0].fip
    targets = {"gateway": gateway, "gateway's other": scenario.upstream_addresses[-1], "uplink": uplink,
               "uplink's link-local": scenario.uplink_link_local, "floating IP": fip, "own": own}

    def ndp(source: str, destination: str = "ff02::1") -> Packet:
        return IPv6(src=source, dst=destination, hlim=255)

    for whose, target in targets.items():
        for source in {own, target}:
            yield (f"NA for {whose} from {source}", ndp(source) / ICMPv6ND_NA(tgt=target, R=1, S=0, O=1)
                   / ICMPv6NDOptDstLLAddr(lladdr=mac))
            yield (f"NS for {whose} from {source}", ndp(source) / ICMPv6ND_NS(tgt=target)
                   / ICMPv6NDOptSrcLLAddr(lladdr=mac))
        yield f"DAD for {whose}", ndp("::") / ICMPv6ND_NS(tgt=target)
        yield (f"NA for {whose} behind a router alert", ndp(own) / IPv6ExtHdrHopByHop(options=[RouterAlert()])
               / ICMPv6ND_NA(tgt=target, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac))
        yield f"MLD report from {whose}", ndp(target) / ICMPv6MLReport(mladdr="ff02::1:ff00:a")
        yield f"MLD done from {whose}", ndp(target, "ff02::2") / ICMPv6MLDone(mladdr="ff02::1:ff00:a")
    for whose in ("gateway's other", "uplink's link-local", "own"):
        source = targets[whose]
        yield f"RA from {whose}", ndp(source) / ICMPv6ND_RA() / ICMPv6NDOptSrcLLAddr(lladdr=mac)
        yield f"redirect from {whose}", ndp(source) / ICMPv6ND_Redirect(tgt=own, dst=fip)
    for whose, source in (targets | {"outside": OUTSIDE}).items():
        yield f"UDP from {whose} to the other's floating IP", IPv6(src=source, dst=fip) / UDP(
            sport=_PORT, dport=_PORT)


def _destinations(scenario: Scenario) -> dict[str, str]:
    own, other = scenario.attacker, scenario.others[0]
    return {"own downlink": own.downlink_mac, "other's downlink": other.downlink_mac,
            "uplink": scenario.uplink_mac, "upstream": scenario.upstream_mac, "own gateway": own.gateway_mac,
            "other VM": other.vm.mac, "broadcast": BROADCAST, "multicast": ALL_NODES_MAC}


def frames(scenario: Scenario, own_tag: int | None = None, every: int = 1, first: int = 0) -> list[Attempt]:
    """Return the table: tag x destination MAC x source MAC x content, more than 30,000 frames.

    `own_tag`: VLAN of the attacker's access port. `every`: only one in so many of it, from number `first`
    on; with a number that has none of the factors 2, 3 and 11 each line and column has its turn. The first
    attempt is what the VM may do, and shows that the others could be seen.
    """
    own, other = scenario.attacker, scenario.others[0]
    made = [Attempt("its own answer to the client", _mark(
        Ether(src=own.vm.mac, dst=own.gateway_mac), IP(src=own.vm.address4, dst=own.pool_address)
        / UDP(sport=_PORT, dport=_PORT), 0), legitimate=True)]
    sources = {"own": own.vm.mac, "other's": other.vm.mac, "uplink's": scenario.uplink_mac,
               "gateway's": scenario.upstream_mac}
    contents = {source: [*_ipv4(scenario), *_arp(scenario, source), *_ipv6(scenario, source)]
                for source in sources.values()}
    count = 0
    for tag, tags in _tags(scenario, own_tag).items():
        for to, destination in _destinations(scenario).items():
            for whose, source in sources.items():
                head = Ether(src=source, dst=destination)
                for layer in tags:
                    head /= layer.copy()
                for name, packet in contents[source]:
                    count += 1
                    if count % every == first and not _legitimate(scenario, tags, source, packet):
                        made.append(Attempt(f"{name}; {tag}, to {to} MAC, from {whose} MAC",
                                            _mark(head, packet, len(made))))
    return made


def _legitimate(scenario: Scenario, tags: list[Packet], source: str, packet: Packet) -> bool:
    """Whether the VM may send this into its own tenant: from its own addresses to the pool, untagged."""
    own = scenario.attacker
    return (IP in packet and source == own.vm.mac and packet[IP].src == own.vm.address4
            and packet[IP].dst.startswith("100.")
            and not any(layer.vlan for layer in tags))


def _mark(head: Packet, packet: Packet, number: int) -> bytes:
    """Return the frame with its number: in the data of UDP and ICMP, else behind the packet, as padding."""
    mark = b"fip64 attempt %06d." % number
    if UDP in packet or ICMP in packet:
        return bytes(head / packet / Raw(mark))
    return bytes(head / packet).ljust(60, b"\0") + mark


# -- sending ----------------------------------------------------------------------------


def send(node: Node, attempts: Iterable[Attempt], device: str = "eth0") -> None:
    """Send the frames from a node, byte for byte."""

    def work() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((device, 0))
            for number, attempt in enumerate(attempts, 1):
                sock.send(attempt.frame)
                if number % PAUSE_AFTER == 0:
                    time.sleep(PAUSE)

    namespaces.call_in(node.netns, work)


def within(address: str, prefixes: Iterable[IPv6Network]) -> bool:
    """Whether one of the prefixes has the address."""
    return any(IPv6Address(address) in prefix for prefix in prefixes)
