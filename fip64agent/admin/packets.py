# SPDX-License-Identifier: Apache-2.0
"""The packets that `trace` sends through the flows. Pure: addresses in, bytes out."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from fip64agent.net.addresses import multicast_mac, solicited_node

# isort: split
from os_ken.lib.packet import arp, ethernet, icmpv6, ipv4, ipv6, packet, udp, vlan

ETH_IPV4, ETH_ARP, ETH_IPV6, ETH_8021Q = 0x0800, 0x0806, 0x86DD, 0x8100
ICMPV6, UDP = 58, 17
BROADCAST = "ff:ff:ff:ff:ff:ff"
CLIENT_PORT, SERVER_PORT = 49152, 80
"""UDP ports of the packets: an ephemeral one (RFC 6335) at the client's end."""


def _serialized(*protocols) -> bytes:
    built = packet.Packet()
    for protocol in protocols:
        built.add_protocol(protocol)
    built.serialize()
    return bytes(built.data)


def neighbor_solicitation(source: IPv6Address, source_mac: str, target: IPv6Address) -> bytes:
    """A multicast Neighbor Solicitation with source link-layer address option (RFC 4861, 4.3)."""
    group = solicited_node(target)
    option = icmpv6.nd_option_sla(hw_src=source_mac)
    return _serialized(
        ethernet.ethernet(multicast_mac(group), source_mac, ETH_IPV6),
        ipv6.ipv6(src=str(source), dst=str(group), nxt=ICMPV6, hop_limit=255),
        icmpv6.icmpv6(icmpv6.ND_NEIGHBOR_SOLICIT, 0, 0, icmpv6.nd_neighbor(dst=str(target), option=option)))


def udp6(source_mac: str, destination_mac: str, source: IPv6Address, destination: IPv6Address,
         source_port: int = CLIENT_PORT, destination_port: int = SERVER_PORT) -> bytes:
    """An IPv6 UDP packet without payload, hop limit 64."""
    return _serialized(
        ethernet.ethernet(destination_mac, source_mac, ETH_IPV6),
        ipv6.ipv6(src=str(source), dst=str(destination), nxt=UDP, hop_limit=64),
        udp.udp(source_port, destination_port))


def udp4(source_mac: str, destination_mac: str, source: IPv4Address, destination: IPv4Address,
         source_port: int = CLIENT_PORT, destination_port: int = SERVER_PORT,
         vlan_id: int | None = None) -> bytes:
    """An IPv4 UDP packet without payload, TTL 64; with an 802.1Q tag when `vlan_id` is given."""
    tagged = vlan_id is not None
    return _serialized(
        ethernet.ethernet(destination_mac, source_mac, ETH_8021Q if tagged else ETH_IPV4),
        *([vlan.vlan(vid=vlan_id, ethertype=ETH_IPV4)] if tagged else []),
        ipv4.ipv4(src=str(source), dst=str(destination), proto=UDP, ttl=64),
        udp.udp(source_port, destination_port))


def arp_request(source_mac: str, source: IPv4Address, target: IPv4Address) -> bytes:
    """A broadcast ARP request (RFC 826)."""
    return _serialized(
        ethernet.ethernet(BROADCAST, source_mac, ETH_ARP),
        arp.arp(opcode=arp.ARP_REQUEST, src_mac=source_mac, src_ip=str(source),
                dst_mac="00:00:00:00:00:00", dst_ip=str(target)))
