# SPDX-License-Identifier: Apache-2.0
"""Packets through ip6-fip64 and ip4-fip64 in a real VPP: every path of the nodes.

The core's own tests cover every kind of packet; here it is shown that the nodes do what they should.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Raw
from scapy.utils import rdpcap, wrpcap

from lab.cpus import missing, spread_workers, with_three_cpus
from lab.vpp import find
from tests.functional.vpp_plugin.control import Control
from tests.functional.vpp_plugin.graph import CLIENT, CLIENT4, FIP, FIXED, OWN4, OWN6, TENANT, UPLINK, Graph

HOP6, HOP4 = "2001:db8:ff::1", "10.0.0.1"  # routers that have no mapping of their own


@pytest.fixture(scope="module")
def module_graph(make_module_vpp) -> Iterator[Graph]:
    vpp = make_module_vpp()
    with vpp.papi("nodes") as api:
        yield Graph(vpp, Control(vpp, api))


@pytest.fixture(scope="module")
def small_buffers(make_module_vpp) -> Iterator[Graph]:
    """Buffers hold 256 bytes."""
    vpp = make_module_vpp(stanzas="buffers { page-size 4k default data-size 256 }")
    with vpp.papi("buffers") as api:
        yield Graph(vpp, Control(vpp, api))


@pytest.fixture(scope="module")
def workers(make_module_vpp, tmp_path_factory) -> Iterator[Graph]:
    """Two of them."""
    if reason := missing():
        pytest.skip(reason)
    installed = with_three_cpus(find(), tmp_path_factory.mktemp("cpus"))
    vpp = make_module_vpp(workers=2, installed=installed)
    spread_workers(vpp.pid)
    with vpp.papi("workers") as api:
        yield Graph(vpp, Control(vpp, api), settle=0.1)


@pytest.fixture(scope="module")
def bridge(make_module_vpp) -> Iterator[Graph]:
    """VPP's own interface to the tenant is in a bridge with pg2 and pg3."""
    vpp = make_module_vpp()
    with vpp.papi("bridge") as api:
        graph = Graph(vpp, Control(vpp, api))
        graph.add_client()
        graph.set_tenant(mtu4=9000, mtu6=9000)
        graph.cli("loopback create-interface")
        for name in ("pg2", "pg3"):
            graph.cli(f"create packet-generator interface {name}")
        for name, port in (("pg2", ""), ("pg3", ""), ("loop0", "bvi")):
            graph.cli(f"set interface mtu packet 9000 {name}")
            graph.cli(f"set interface state {name} up")
            graph.cli(f"set interface l2 bridge {name} 5 {port}")
        graph.cli(f"set interface ip table loop0 {TENANT}")
        graph.cli("set interface ip address loop0 10.77.0.1/24")
        # The other copy has one node more to go through, so it leaves after ours was translated.
        graph.cli("set interface feature pg3 stats-collect-tx arc interface-output")
        yield graph


def fresh(graph: Graph) -> Iterator[Graph]:
    """CLIENT is bound to CLIENT4, and nobody else; nothing counted."""
    graph.set_tenant()
    graph.add_client()
    graph.mark_errors()
    yield graph
    assert graph.vpp.running, graph.vpp.output()[-3000:]
    graph.forget_clients()


@pytest.fixture
def graph(module_graph) -> Iterator[Graph]:
    yield from fresh(module_graph)


def six(payload: Any = b"", **header: Any) -> IPv6:
    return IPv6(**{"src": CLIENT, "dst": FIP, "hlim": 60, **header}) / payload


def four(payload: Any = b"", **header: Any) -> IP:
    return IP(**{"src": FIXED, "dst": CLIENT4, "ttl": 60, "id": 7, **header}) / payload


def checksum(data: bytes) -> int:
    """RFC 1071, in plain words; 0 for data that holds its right checksum."""
    data += bytes(len(data) % 2)
    total = sum(int.from_bytes(data[at:at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def good(packet: IP | IPv6) -> bool:
    """Lengths and checksums are right; of one whole packet, whose transport header follows the IP header."""
    data = bytes(packet)
    if packet.version == 4:
        header, addresses, proto, length = data[:20], data[12:20], data[9], int.from_bytes(data[2:4], "big")
        assert data[0] == 0x45 and checksum(header) == 0
    else:
        header, addresses, proto = data[:40], data[8:40], data[6]
        length = 40 + int.from_bytes(data[4:6], "big")
    payload = data[len(header):]
    assert length == len(data)
    assert proto in {1, 6, 17, 58}
    pseudo = b"" if proto == 1 else addresses + len(payload).to_bytes(4, "big") + bytes([0, 0, 0, proto])
    assert checksum(pseudo + payload) == 0
    if proto == 17:
        assert int.from_bytes(payload[4:6], "big") == len(payload) and payload[6:8] != b"\0\0"
    return True


def one(packets: list[Any]) -> Any:
    assert len(packets) == 1, packets
    return packets[0]


def whole(fragments: list[Any]) -> bytes:
    """Payloads of the fragments, put together by their offsets."""
    parts = {}
    for packet in fragments:
        if isinstance(packet, IP):
            parts[packet.frag * 8] = bytes(packet.payload)
            last = not packet.flags.MF
        else:
            header = packet[IPv6ExtHdrFragment]
            parts[header.offset * 8] = bytes(header.payload)
            last = not header.m
        if last:
            end = max(parts) + len(parts[max(parts)])
    data = b"".join(parts[offset] for offset in sorted(parts))
    assert len(data) == end
    return data


class TestPlain:
    @pytest.mark.parametrize("l4", [UDP(sport=1, dport=2), TCP(sport=1, dport=2)], ids=["udp", "tcp"])
    def test_to_ipv4(self, graph, l4):
        out, back = graph.from_client(six(l4 / b"hello", tc=0x28))
        packet = one(out)
        assert (packet.src, packet.dst, packet.tos, packet.ttl) == (CLIENT4, FIXED, 0x28, 59)
        assert bytes(packet[Raw]) == b"hello" and good(packet) and not back

    @pytest.mark.parametrize("l4", [UDP(sport=1, dport=2), TCP(sport=1, dport=2)], ids=["udp", "tcp"])
    def test_to_ipv6(self, graph, l4):
        out, back = graph.from_vm(four(l4 / b"hello", tos=0x28))
        packet = one(out)
        assert (packet.src, packet.dst, packet.tc, packet.hlim) == (FIP, CLIENT, 0x28, 59)
        assert bytes(packet[Raw]) == b"hello" and good(packet) and not back

    def test_frames_longer_than_the_packet(self, graph):
        """Short Ethernet frames are padded: the padding goes."""
        out, _ = graph.from_vm(bytes(four(UDP(sport=1, dport=2))) + bytes(18))
        assert len(one(out)) == 48 and good(out[0])
        out, _ = graph.from_client(bytes(six(UDP(sport=1, dport=2))) + bytes(6))
        assert len(one(out)) == 28 and good(out[0])

    def test_many_in_one_frame_keep_their_order(self, graph):
        ports = range(20001, 20251)
        out, _ = graph.from_client(*(six(UDP(sport=port, dport=9) / bytes(port % 7)) for port in ports))
        assert [packet.sport for packet in out] == list(ports) and all(map(good, out))
        out, _ = graph.from_vm(*(four(UDP(sport=9, dport=port)) for port in ports))
        assert [packet.dport for packet in out] == list(ports) and all(map(good, out))

    def test_frames_of_all_kinds_at_once(self, graph):
        """Fast and slow, refused and fragmented ones in one frame: each as if alone, in order."""
        graph.set_tenant(mtu6=1280)
        packets = []
        for n in range(40):
            packets += [four(UDP(sport=5, dport=1000 + n) / b"x"), four(ICMP(id=1, seq=n)),
                        four(UDP(sport=6, dport=2000 + n) / bytes(1400), flags=0),
                        four(UDP(sport=6, dport=3000 + n) / bytes(1400), flags="DF", id=n),
                        four(UDP(sport=7, dport=1), src="10.0.0.77")]
        out, back = graph.from_vm(*packets)
        assert [packet[UDP].dport for packet in out if UDP in packet and packet[UDP].dport < 2000] == [
            1000 + n for n in range(40)]
        echoes = [packet[ICMPv6EchoRequest].seq for packet in out if ICMPv6EchoRequest in packet]
        assert echoes == list(range(40))
        firsts = [packet for packet in out if IPv6ExtHdrFragment in packet and packet[IPv6ExtHdrFragment].m]
        assert len(firsts) == 40 and len(out) == 160
        place = {bytes(packet): i for i, packet in enumerate(out)}
        for n, first in enumerate(firsts):  # between the two before and after it in time
            before = next(packet for packet in out if UDP in packet and packet[UDP].dport == 1000 + n)
            assert place[bytes(before)] < place[bytes(first)]
        assert sum(packet[ICMP].code == 4 for packet in back) == 40
        assert sum(packet[ICMP].code == 13 for packet in back) == 40


class TestClients:
    def test_a_new_client_gets_a_binding_once(self, graph):
        client = "2001:db8:c::99"
        out, _ = graph.from_client(*(six(UDP(sport=n, dport=2), src=client) for n in range(1, 20)))
        addresses = {packet.src for packet in out}
        assert len(out) == 19 and len(addresses) == 1
        assert {str(key): str(value) for key, value in graph.bindings().items()}[client] == addresses.pop()

    def test_and_is_reached_back(self, graph):
        client = "2001:db8:c::98"
        out, _ = graph.from_client(six(UDP(sport=1, dport=2), src=client))
        back, _ = graph.from_vm(four(UDP(sport=2, dport=1), dst=one(out).src))
        assert one(back).dst == client and good(back[0])

    def test_no_address_left(self, graph):
        graph.set_tenant(pool_first=CLIENT4, pool_last=CLIENT4)
        graph.add_client()
        out, back = graph.from_client(six(UDP(sport=1, dport=2) / b"abc", src="2001:db8:c::97"))
        assert not out
        error = one(back)
        assert (error.src, error.dst, error[ICMPv6DestUnreach].code) == (OWN6, "2001:db8:c::97", 1)
        assert good(error)
        assert graph.errors()["ip6-fip64", "no-binding"] == 1

    @pytest.mark.parametrize("source", ["::ffff:10.1.1.1", "::5", "fe80::5"])
    def test_martian_sources_get_neither_binding_nor_answer(self, graph, source):
        out, back = graph.from_client(six(UDP(sport=1, dport=2), src=source))
        assert not out and not back and len(graph.bindings()) == 1
        assert graph.errors()["ip6-fip64", "martian"] == 1

    def test_a_host_without_floating_ip(self, graph):
        out, back = graph.from_vm(four(UDP(sport=1, dport=2), src="10.0.0.6"))
        assert not out
        error = one(back)
        assert (error.src, error.dst, error[ICMP].type, error[ICMP].code) == (OWN4, "10.0.0.6", 3, 13)
        assert graph.errors()["ip4-fip64", "source-without-floating-ip"] == 1

    def test_a_pool_address_without_client(self, graph):
        out, back = graph.from_vm(four(UDP(sport=1, dport=2), dst="100.64.0.77"))
        assert not out and one(back)[ICMP].code == 13
        assert graph.errors()["ip4-fip64", "pool-address-without-client"] == 1


class TestIcmp:
    def test_echo(self, graph):
        out, _ = graph.from_client(six(ICMPv6EchoRequest(id=3, seq=4, data=b"ping")))
        packet = one(out)
        assert (packet[ICMP].type, packet[ICMP].id, packet[ICMP].seq) == (8, 3, 4) and good(packet)
        out, _ = graph.from_vm(four(ICMP(type=0, id=3, seq=4) / b"ping"))
        packet = one(out)
        assert (packet[ICMPv6EchoReply].id, packet[ICMPv6EchoReply].seq) == (3, 4) and good(packet)

    def test_error_from_a_router_to_the_vm(self, graph):
        """Outer source: the tenant's own address; nobody gets a binding."""
        quoted = IPv6(src=FIP, dst=CLIENT, hlim=1) / UDP(sport=5, dport=6) / b"quoted"
        out, back = graph.from_client(IPv6(src=HOP6, dst=FIP) / ICMPv6TimeExceeded() / quoted)
        packet = one(out)
        assert (packet.src, packet.dst, packet[ICMP].type, packet[ICMP].code) == (OWN4, FIXED, 11, 0)
        inner = IP(bytes(packet[ICMP].payload))
        assert (inner.src, inner.dst, inner.sport, inner.dport) == (FIXED, CLIENT4, 5, 6)
        assert good(packet) and not back and len(graph.bindings()) == 1

    @pytest.mark.parametrize("source", ["::ffff:10.1.1.1", "fe80::5"])
    def test_error_from_a_martian_source_goes_nowhere(self, graph, source):
        quoted = IPv6(src=FIP, dst=CLIENT, hlim=1) / UDP(sport=5, dport=6) / b"quoted"
        out, back = graph.from_client(IPv6(src=source, dst=FIP) / ICMPv6TimeExceeded() / quoted)
        assert not out and not back and graph.errors() == {("ip6-fip64", "martian"): 1}

    def test_error_from_the_client_itself(self, graph):
        quoted = IPv6(src=FIP, dst=CLIENT) / UDP(sport=5, dport=6) / b"quoted"
        out, _ = graph.from_client(six(ICMPv6DestUnreach(code=4) / quoted))
        packet = one(out)
        assert (packet.src, packet[ICMP].type, packet[ICMP].code) == (CLIENT4, 3, 3) and good(packet)

    def test_error_about_an_unknown_client_makes_no_binding(self, graph):
        quoted = IPv6(src=FIP, dst="2001:db8:c::66") / UDP(sport=5, dport=6)
        out, back = graph.from_client(IPv6(src=HOP6, dst=FIP) / ICMPv6TimeExceeded() / quoted)
        assert not out and not back and len(graph.bindings()) == 1
        assert graph.errors()["ip6-fip64", "inner-unknown-address"] == 1

    def test_error_that_quotes_somebody_elses_packet(self, graph):
        quoted = IPv6(src="2001:db8:f::6", dst=CLIENT) / UDP(sport=5, dport=6)
        out, back = graph.from_client(six(ICMPv6TimeExceeded() / quoted))
        assert not out and not back and graph.errors()["ip6-fip64", "inner-unknown-address"] == 1

    @pytest.mark.parametrize("router", [HOP4, "127.0.0.1"])
    def test_error_from_a_router_beside_the_vm(self, graph, router):
        """An illegal source is translated too (RFC 7915, section 4.1)."""
        quoted = IP(src=CLIENT4, dst=FIXED, ttl=1) / UDP(sport=5, dport=6) / b"quoted"
        out, back = graph.from_vm(IP(src=router, dst=CLIENT4) / ICMP(type=11) / quoted)
        packet = one(out)
        assert (packet.src, packet.dst) == (OWN6, CLIENT) and ICMPv6TimeExceeded in packet
        inner = packet[ICMPv6TimeExceeded].payload
        assert (inner.src, inner.dst) == (CLIENT, FIP) and good(packet) and not back

    def test_error_from_the_vm(self, graph):
        quoted = IP(src=CLIENT4, dst=FIXED) / UDP(sport=5, dport=6) / b"quoted"
        out, _ = graph.from_vm(four(ICMP(type=3, code=3) / quoted))
        packet = one(out)
        assert (packet.src, packet[ICMPv6DestUnreach].code) == (FIP, 4) and good(packet)

    def test_error_about_an_unknown_host(self, graph):
        quoted = IP(src=CLIENT4, dst="10.0.0.9") / UDP(sport=5, dport=6)
        out, back = graph.from_vm(four(ICMP(type=3, code=3) / quoted))
        assert not out and not back and graph.errors()["ip4-fip64", "inner-unknown-address"] == 1

    @pytest.mark.parametrize(("mtu6", "seen"), [(1400, 1380), (1280, 1260), (1500, 1480)])
    def test_packet_too_big_reaches_the_vm(self, graph, mtu6, seen):
        quoted = (IPv6(src=FIP, dst=CLIENT) / TCP(sport=5, dport=6) / bytes(1400)).__class__(
            bytes(IPv6(src=FIP, dst=CLIENT) / TCP(sport=5, dport=6) / bytes(1400))[:1232])
        out, _ = graph.from_client(IPv6(src=HOP6, dst=FIP) / ICMPv6PacketTooBig(mtu=mtu6) / quoted)
        packet = one(out)
        assert (packet[ICMP].type, packet[ICMP].code, packet[ICMP].nexthopmtu) == (3, 4, seen)
        assert good(packet)

    def test_fragmentation_needed_reaches_the_client(self, graph):
        quoted = IP(src=CLIENT4, dst=FIXED, flags="DF") / TCP(sport=5, dport=6)
        out, _ = graph.from_vm(IP(src=HOP4, dst=CLIENT4) / ICMP(type=3, code=4, nexthopmtu=1400) / quoted)
        assert one(out)[ICMPv6PacketTooBig].mtu == 1420 and good(out[0])


class TestErrorsOfOurOwn:
    def test_time_exceeded(self, graph):
        out, back = graph.from_client(six(UDP(sport=1, dport=2) / b"abc", hlim=1))
        error = one(back)
        assert not out and (error.src, error.dst, error.hlim) == (OWN6, CLIENT, 64)
        assert bytes(error[ICMPv6TimeExceeded].payload) == bytes(six(UDP(sport=1, dport=2) / b"abc", hlim=1))
        assert good(error)
        out, back = graph.from_vm(four(UDP(sport=1, dport=2) / b"abc", ttl=1))
        error = one(back)
        assert not out and (error.src, error.dst, error.ttl, error[ICMP].type) == (OWN4, FIXED, 64, 11)
        assert good(error)
        counted = graph.errors()
        for node in ("ip6-fip64", "ip4-fip64"):
            assert counted[node, "ttl-exceeded"] == counted[node, "icmp-errors-sent"] == 1

    def test_too_big_for_the_way_to_the_client(self, graph):
        """A VM that sends 1500 bytes with DF learns 1480."""
        out, back = graph.from_vm(four(TCP(sport=1, dport=2) / bytes(1460), flags="DF"))
        error = one(back)
        assert not out and (error[ICMP].type, error[ICMP].code, error[ICMP].nexthopmtu) == (3, 4, 1480)
        assert len(error) == 576 and good(error)
        out, back = graph.from_vm(four(TCP(sport=1, dport=2) / bytes(1440), flags="DF"))
        assert len(one(out)) == 1500 and not back

    def test_too_big_for_the_way_to_the_vm(self, graph):
        graph.set_tenant(mtu4=1300)
        out, back = graph.from_client(six(UDP(sport=1, dport=2) / bytes(1400)))
        assert not out and one(back)[ICMPv6PacketTooBig].mtu == 1320
        assert len(back[0]) <= 1280 and good(back[0])

    def test_source_route(self, graph):
        route = IPv6ExtHdrRouting(type=2, segleft=1, addresses=["::1"])
        out, back = graph.from_client(six(route / UDP(dport=2)))
        assert not out and len(back) == 1 and graph.errors()["ip6-fip64", "source-route"] == 1

    def test_no_error_about_an_error(self, graph):
        quoted = IPv6(src=FIP, dst=CLIENT) / UDP(sport=5, dport=6)
        out, back = graph.from_client(six(ICMPv6TimeExceeded() / quoted, hlim=1))
        assert not out and not back and graph.errors()["ip6-fip64", "ttl-exceeded"] == 1

    def test_rate_limit(self, graph):
        """One worker sends 1000 at once at most; the rest is dropped, and counted."""
        packets = [six(UDP(sport=1, dport=2), hlim=1)] * 3000
        out, back = graph.from_client(*packets)
        counted = graph.errors()
        sent = counted["ip6-fip64", "icmp-errors-sent"]
        assert not out and len(back) == sent and 1000 <= sent < 1500
        assert counted["ip6-fip64", "icmp-errors-held-back"] == 3000 - sent
        assert counted["ip6-fip64", "ttl-exceeded"] == 3000

    def test_errors_can_be_switched_off(self, graph):
        graph.vpp.cli("fip64 icmp-errors-per-second 0", check=True)
        try:
            out, back = graph.from_client(six(UDP(sport=1, dport=2), hlim=1))
            assert not out and not back and graph.errors()["ip6-fip64", "icmp-errors-held-back"] == 1
        finally:
            graph.vpp.cli("fip64 icmp-errors-per-second 1000", check=True)


class TestFragments:
    def test_fragments_to_ipv4(self, graph):
        udp = bytes(six(UDP(sport=1, dport=2) / (bytes(range(256)) * 8)).payload)
        pieces = [six(IPv6ExtHdrFragment(id=0x10077, offset=at // 8, m=at + 800 < len(udp), nh=17)
                      / Raw(udp[at:at + 800])) for at in range(0, len(udp), 800)]
        out, _ = graph.from_client(*pieces)
        assert [(packet.id, packet.frag, int(packet.flags)) for packet in out] == [
            (0x77, 0, 1), (0x77, 100, 1), (0x77, 200, 0)]
        assert good(IP(bytes(IP(src=CLIENT4, dst=FIXED, proto=17) / whole(out))))

    def test_fragments_to_ipv6(self, graph):
        udp = bytes(four(UDP(sport=1, dport=2) / (bytes(range(256)) * 8)).payload)
        pieces = [four(Raw(udp[at:at + 800]), proto=17, frag=at // 8,
                       flags="MF" if at + 800 < len(udp) else 0) for at in range(0, len(udp), 800)]
        out, _ = graph.from_vm(*pieces)
        headers = [packet[IPv6ExtHdrFragment] for packet in out]
        assert [(header.id, header.offset, header.m) for header in headers] == [
            (7, 0, 1), (7, 100, 1), (7, 200, 0)]
        assert good(IPv6(bytes(IPv6(src=FIP, dst=CLIENT, nh=17) / whole(out))))

    def test_atomic_fragment(self, graph):
        out, _ = graph.from_client(six(IPv6ExtHdrFragment(id=9) / UDP(sport=1, dport=2) / b"abc"))
        packet = one(out)
        assert (packet.id, packet.frag, int(packet.flags)) == (9, 0, 0) and good(packet)

    def test_a_packet_without_df_is_cut(self, graph):
        payload = bytes(range(256)) * 5 + bytes(120)
        out, back = graph.from_vm(four(UDP(sport=1, dport=2) / payload, flags=0))
        assert len(out) == 2 and all(len(packet) <= 1280 for packet in out) and not back
        assert all((packet.src, packet.dst, packet.hlim) == (FIP, CLIENT, 59) for packet in out)
        assert good(IPv6(bytes(IPv6(src=FIP, dst=CLIENT, nh=17) / whole(out))))
        counted = graph.errors()
        assert (counted["ip4-fip64", "fragmented"], counted["ip4-fip64", "fragments-made"]) == (1, 2)

    def test_a_small_packet_too_big_for_the_vm_is_cut(self, graph):
        """Its sender could not be asked for less than 1280."""
        graph.set_tenant(mtu4=576)
        out, back = graph.from_client(six(UDP(sport=1, dport=2) / (bytes(range(250)) * 4)))
        assert len(out) == 2 and all(len(packet) <= 576 for packet in out) and not back
        assert good(IP(bytes(IP(src=CLIENT4, dst=FIXED, proto=17) / whole(out))))

    def test_jumbo_packets_in_several_buffers_are_cut(self, graph):
        graph.set_tenant(mtu4=9000, mtu6=9000)
        payload = bytes(range(256)) * 30
        out, _ = graph.from_vm(four(UDP(sport=1, dport=2) / payload, flags=0))
        assert len(out) == 7 and all(len(packet) <= 1280 for packet in out)
        assert good(IPv6(bytes(IPv6(src=FIP, dst=CLIENT, nh=17) / whole(out))))
        assert bytes(whole(out))[8:] == payload


class TestHeaders:
    def test_extension_headers_go(self, graph):
        headers = IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()
        out, _ = graph.from_client(six(headers / UDP(sport=1, dport=2) / b"abc"))
        assert one(out).proto == 17 and len(out[0]) == 31 and good(out[0])

    def test_options_go(self, graph):
        out, _ = graph.from_vm(four(UDP(sport=1, dport=2) / b"abc", options=[IPOption_RR()]))
        assert one(out).nh == 17 and len(out[0]) == 51 and good(out[0])

    def test_udp_without_checksum_gets_one(self, graph):
        out, _ = graph.from_vm(four(UDP(sport=1, dport=2, chksum=0) / b"abc"))
        assert one(out)[UDP].chksum != 0 and good(out[0])

    @pytest.mark.parametrize("proto", [132, 50, 47], ids=["sctp", "esp", "gre"])
    def test_other_protocols_are_left_alone(self, graph, proto):
        payload = bytes(SCTP(sport=1, dport=2)) if proto == 132 else bytes(range(40))
        out, _ = graph.from_client(six(Raw(payload), nh=proto))
        assert (one(out).proto, bytes(out[0].payload)) == (proto, payload)
        out, _ = graph.from_vm(four(Raw(payload), proto=proto))
        assert (one(out).nh, bytes(out[0].payload)) == (proto, payload)


class TestBuffers:
    """Packets in chains of buffers that hold 256 bytes each."""

    @pytest.fixture
    def graph(self, small_buffers) -> Iterator[Graph]:
        yield from fresh(small_buffers)

    @pytest.mark.parametrize("size", [200, 242, 243, 460, 1000, 8000])
    def test_long_packets(self, graph, size):
        graph.set_tenant(mtu4=9000, mtu6=9000)
        payload = (bytes(range(256)) * 32)[:size - 60]
        out, _ = graph.from_client(six(TCP(sport=1, dport=2) / payload))
        assert bytes(one(out)[TCP].payload) == payload and good(out[0])
        out, _ = graph.from_vm(four(TCP(sport=1, dport=2) / payload, flags="DF"))
        assert bytes(one(out)[TCP].payload) == payload and good(out[0])

    @pytest.mark.parametrize("padding", [1, 30, 300, 900])
    def test_padding_behind_the_packet_goes(self, graph, padding):
        packet = bytes(four(UDP(sport=1, dport=2) / bytes(300)))
        out, _ = graph.from_vm(packet + bytes(padding))
        assert len(one(out)) == len(packet) + 20 and good(out[0])
        packet = bytes(six(UDP(sport=1, dport=2) / bytes(100)))
        out, _ = graph.from_client(packet + bytes(padding))
        assert len(one(out)) == len(packet) - 20 and good(out[0])

    def test_an_icmp_error_that_must_be_cut_needs_one_buffer(self, graph):
        """Longer than a buffer it cannot be cut: dropped, and counted as that."""
        quoted = IP(src=CLIENT4, dst=FIXED) / UDP(sport=5, dport=6) / bytes(1400)
        out, back = graph.from_vm(four(ICMP(type=3, code=3) / quoted))
        assert not out and not back and graph.errors()["ip4-fip64", "not-linear"] == 1

    def test_udp_without_checksum(self, graph):
        payload = bytes(range(256)) * 4
        out, _ = graph.from_vm(four(UDP(sport=1, dport=2, chksum=0) / payload))
        assert bytes(one(out)[UDP].payload) == payload and good(out[0])

    def test_udp_without_checksum_that_sums_up_to_zero(self, graph):
        """Zero would mean once more that there is none."""
        def datagram(first: bytes) -> bytes:
            return bytes(UDP(sport=1, dport=2, chksum=0, len=1010) / first / bytes(1000))

        ends = bytes(four())[12:20] + bytes([0, 17]) + (1010).to_bytes(2, "big")
        first = checksum(ends + datagram(b"\0\0")).to_bytes(2, "big")
        assert checksum(ends + datagram(first)) == 0
        out, _ = graph.from_vm(four(datagram(first), proto=17))
        assert one(out)[UDP].chksum and good(out[0])

    @pytest.mark.parametrize("size", [300, 601, 1000])
    def test_udp_without_checksum_shorter_than_the_packet(self, graph, size):
        """The datagram's own length counts, for its checksum and in the pseudo-header."""
        data = bytes(range(1, 256)) * 4
        out, _ = graph.from_vm(four(UDP(sport=1, dport=2, chksum=0, len=size) / data))
        payload = bytes(one(out).payload)
        assert payload[8:] == data and payload[6:8] != b"\0\0"
        pseudo = bytes(out[0])[8:40] + size.to_bytes(4, "big") + bytes([0, 0, 0, 17])
        assert checksum(pseudo + payload[:size]) == 0

    def test_an_error_about_a_chain(self, graph):
        """It quotes the first buffer."""
        out, back = graph.from_client(six(UDP(sport=1, dport=2) / bytes(1000), hlim=1))
        assert not out and len(one(back)) == 48 + 242 and good(back[0])

    def test_cut_into_fragments(self, graph):
        payload = bytes(range(256)) * 30
        graph.set_tenant(mtu4=9000, mtu6=9000)
        out, _ = graph.from_vm(four(UDP(sport=1, dport=2) / payload, flags=0))
        assert len(out) == 7 and all(len(packet) <= 1280 for packet in out)
        assert whole(out)[8:] == payload
        assert good(IPv6(bytes(IPv6(src=FIP, dst=CLIENT, nh=17) / whole(out))))

    def test_no_buffer_is_lost(self, graph):
        def all_kinds() -> None:
            graph.set_tenant(mtu4=1280, mtu6=1280)
            graph.from_client(six(UDP(sport=1, dport=2) / bytes(1000), hlim=1),
                              six(UDP(sport=1, dport=2) / bytes(1000)),
                              six(UDP(sport=1, dport=2), src="::ffff:1.2.3.4"),
                              bytes(six(UDP(sport=1, dport=2) / bytes(10))) + bytes(600))
            graph.from_vm(bytes(four(UDP(sport=1, dport=2) / bytes(300))) + bytes(500),
                          four(UDP(sport=1, dport=2, chksum=0) / bytes(1000)),
                          four(UDP(sport=1, dport=2) / bytes(3000), flags=0),
                          four(UDP(sport=1, dport=2) / bytes(3000), flags="DF"))

        def used() -> int:
            shown = graph.cli("show buffers").splitlines()
            return int(next(line for line in shown if "default" in line).split()[-1])

        all_kinds()
        before = used()
        for _ in range(5):
            all_kinds()
        assert used() == before


class TestFlooded:
    """A frame to everybody in a bridge: VPP's own interface gets a copy that shares all but its head."""

    @pytest.mark.parametrize("size,padding", [(1000, 5000), (2500, 3500), (4500, 1500), (2500, 0)])
    def test_other_copies_keep_their_padding(self, bridge, size, padding):
        frame = Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:98", type=0x800)
        frame /= bytes(four(UDP(sport=1, dport=2) / bytes(size - 28), flags="DF")) + bytes(padding)
        directory = Path(bridge.vpp.directory)
        name = f"flood{size}-{padding}"
        wrpcap(str(directory / f"{name}.pcap"), [frame] * 5)
        captures = {port: directory / f"{name}-{port}.pcap" for port in ("pg0", "pg3")}
        for port, file in captures.items():
            bridge.cli(f"packet-generator capture {port} pcap {file} count 1000")
        bridge.cli(f"packet-generator new {{ name {name} limit 5 source pg2 pcap {directory}/{name}.pcap }}")
        bridge.cli(f"packet-generator enable-stream {name}")
        bridge.wait(name)
        bridge.cli(f"packet-generator delete {name}")
        for port in captures:
            bridge.cli(f"packet-generator capture {port} disable")
        assert bridge.vpp.running
        ours, others = (rdpcap(str(file)) for file in captures.values())
        assert [bytes(copy) for copy in others] == [bytes(frame)] * 5
        translated = [copy[IPv6] for copy in ours if copy[IPv6].src == FIP]
        assert [len(packet) for packet in translated] == [size + 20] * 5 and all(map(good, translated))


class TestOffload:
    def test_checksums_left_to_the_interface_are_computed(self, graph):
        packet = four(UDP(sport=1, dport=2, chksum=0x1234) / b"abc")
        out, _ = graph.from_vm(packet, options="buffer-flags offload buffer-offload-flags offload-udp-cksum")
        assert good(one(out)), out[0].show2(dump=True)
        packet = six(TCP(sport=1, dport=2, chksum=0x1234) / b"abc")
        offload = "buffer-flags offload buffer-offload-flags offload-tcp-cksum"
        out, _ = graph.from_client(packet, options=offload)
        assert good(one(out)), out[0].show2(dump=True)
        assert graph.errors()["ip4-fip64", "checksums-computed"] == 1

    @pytest.mark.parametrize("size", [1000, 3000], ids=["in one buffer", "in two buffers"])
    def test_what_is_to_be_segmented_is_refused(self, graph, size):
        packet = six(TCP(sport=1, dport=2) / bytes(size))
        out, back = graph.from_client(packet, options="buffer-flags gso")
        assert not out and not back and graph.errors()["ip6-fip64", "unsupported-offload"] == 1


class TestWhatAnOperatorSees:
    def test_counters_of_the_mapping(self, graph):
        before = graph.counted()
        graph.from_client(six(UDP(sport=1, dport=2) / bytes(52)), six(ICMPv6EchoRequest()),
                          six(UDP(), hlim=1))
        graph.from_vm(four(UDP(sport=1, dport=2) / bytes(72)))
        after = graph.counted()
        grown = [(p1 - p0, b1 - b0) for (p0, b0), (p1, b1) in zip(before, after, strict=True)]
        assert grown == [(2, 100 + 48), (1, 100)]

    def test_counters_of_a_mapping_that_takes_the_place_of_another_begin_at_zero(self, graph):
        graph.from_client(six(UDP(sport=1, dport=2)))
        graph.from_vm(four(UDP(sport=1, dport=2)))
        assert all(packets and size for packets, size in graph.counted())
        assert graph.control.del_mappings(FIP, ip6_table_id=UPLINK) == [0]
        assert graph.control.set_mapping(FIP, FIXED, TENANT, UPLINK) == 0
        assert graph.counted() == ((0, 0), (0, 0))

    def test_translated_packets_are_counted(self, graph):
        graph.from_client(*[six(UDP(sport=1, dport=2))] * 3, six(ICMPv6EchoRequest()))
        assert graph.errors() == {("ip6-fip64", "ok"): 4}

    def test_trace_of_a_translation(self, graph):
        client = "2001:db8:c::55"
        packet = six(UDP(sport=1111, dport=2222), src=client)
        trace = graph.traced(lambda: graph.from_client(packet, packet))
        address = str({str(key): value for key, value in graph.bindings().items()}[client])
        assert f"{client} is {address} (made now)" in trace and f"{client} is {address} (found)" in trace
        assert f"{FIP} is {FIXED}" in trace and "tenant table 11, translated" in trace
        assert f"UDP: {client} -> {FIP}" in trace and f"UDP: {address} -> {FIXED}" in trace
        assert "1111" in trace

    def test_trace_of_a_refusal(self, graph):
        trace = graph.traced(lambda: graph.from_vm(four(UDP(sport=1, dport=2), src="10.0.0.6")))
        assert "refused: source-without-floating-ip (IPv4 source has no floating IP)" in trace
        assert "ICMP error type 3 code 13 sent" in trace
        trace = graph.traced(lambda: graph.from_vm(four(Raw(bytes(8)), proto=2)))
        assert "dropped: igmp" in trace

    def test_trace_of_fragments(self, graph):
        trace = graph.traced(lambda: graph.from_vm(four(UDP(sport=1, dport=2) / bytes(1400), flags=0)))
        assert "2 fragments of at most 1280 bytes" in trace and trace.count("IPV6_FRAG_HDR") > 2

    def test_every_reason_has_a_counter_of_its_own(self, graph):
        with graph.vpp.stats() as stats:
            for node in ("ip6-fip64", "ip4-fip64"):
                names = [path.rpartition("/")[2] for path in stats.ls([f"^/err/{node}/"])]
                assert len(names) == len(set(names)) == 39


class TestWorkers:
    """Two workers: no hand-off, nothing lost, one binding for a client."""

    def test_each_worker_translates(self, workers):
        workers.add_client()
        for number in (0, 1):
            workers.mark_errors()
            there = [six(UDP(sport=1, dport=2) / b"abc")] * 300
            back = [four(UDP(sport=1, dport=2) / b"abc")] * 300
            out, _ = workers.from_client(*there, options=f"worker {number}")
            assert len(out) == 300 and all(map(good, out))
            out, _ = workers.from_vm(*back, options=f"worker {number}")
            assert len(out) == 300 and all(map(good, out))
            counted = workers.errors()
            assert counted["ip6-fip64", "ok"] == counted["ip4-fip64", "ok"] == 300

    def test_both_at_once_agree_on_new_clients(self, workers):
        """2 x 20,000 packets of 200 new clients at the same time: 200 bindings, every packet translated."""
        clients = [IPv6Address(f"2001:db8:d::{n:x}") for n in range(1, 201)]
        packets = [six(UDP(sport=1, dport=2), src=str(client)) for client in clients]
        before = workers.counted()[0][0]
        for number in (0, 1):
            workers.new_stream(f"both{number}", "pg0", packets, 20000, f"worker {number}")
        workers.cli("packet-generator enable-stream")
        workers.wait("both0", "both1")
        assert set(clients) == set(workers.bindings()) - {IPv6Address(CLIENT)}
        assert workers.counted()[0][0] - before == 40000
