# SPDX-License-Identifier: Apache-2.0
"""What ip6-fip64 and ip4-fip64 do not translate: what the sender is told, what is counted and logged.

And the settings of a tenant that decide it, tried with packets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.packet import Raw

from tests.functional.vpp_plugin.control import Control, until
from tests.functional.vpp_plugin.graph import CLIENT, CLIENT4, FIP, FIXED, OWN4, OWN6, TENANT, UPLINK, Graph
from tests.functional.vpp_plugin.test_nodes import four, fresh, good, one, six, whole

UPLINK_ADDRESS = "2001:db8:ffff::2"
SIBLING, SIBLING_FIXED = "2001:db8:f::6", "10.0.0.6"
FOREIGN, FOREIGN_FIXED = "2001:db8:e::5", "10.0.0.5"
"""A floating IP of another tenant, reached by another uplink."""
OTHER_TENANT, OTHER_UPLINK = 12, 17


def make_graph(vpp: Any, api: Any) -> Graph:
    graph = Graph(vpp, Control(vpp, api))
    graph.control.add_table(OTHER_TENANT)
    graph.control.add_table(OTHER_UPLINK, ip6=True)
    assert graph.control.set_tenant(OTHER_TENANT) == 0
    assert graph.control.set_mapping(FOREIGN, FOREIGN_FIXED, OTHER_TENANT, OTHER_UPLINK) == 0
    assert graph.control.set_mapping(SIBLING, SIBLING_FIXED, TENANT, UPLINK) == 0
    return graph


@pytest.fixture(scope="module")
def module_graph(make_module_vpp) -> Iterator[Graph]:
    vpp = make_module_vpp()
    with vpp.papi("dropped") as api:
        yield make_graph(vpp, api)


@pytest.fixture
def graph(module_graph) -> Iterator[Graph]:
    yield from fresh(module_graph)


def fragment(size: int = 32, nh: int = 17, offset: int = 181, m: int = 1, **header: Any) -> IPv6:
    return six(IPv6ExtHdrFragment(nh=nh, offset=offset, m=m, id=7) / Raw(bytes(size)), **header)


class TestFragments:
    def test_a_later_one_that_is_too_big(self, graph):
        graph.set_tenant(mtu4=1400)
        out, back = graph.from_client(fragment(1448))
        assert not out and one(back)[ICMPv6PacketTooBig].mtu == 1420
        assert (back[0].src, back[0].dst) == (OWN6, CLIENT) and good(back[0])
        assert graph.errors()["ip6-fip64", "too-big"] == 1

    def test_a_later_one_whose_hop_limit_ends(self, graph):
        out, back = graph.from_client(fragment(hlim=1))
        assert not out and ICMPv6TimeExceeded in one(back) and good(back[0])

    def test_a_later_one_with_segments_left(self, graph):
        out, back = graph.from_client(six(Raw(bytes([44, 0, 0, 2, 0, 0, 0, 0, 17, 0, 0, 80, 0, 0, 0, 7])
                                              + bytes(32)), nh=43))
        assert not out and one(back)[ICMPv6ParamProblem].ptr == 43 and good(back[0])

    def test_a_later_one_for_whose_sender_no_address_is_left(self, graph):
        graph.set_tenant(pool_first=CLIENT4, pool_last=CLIENT4)
        graph.add_client()
        out, back = graph.from_client(fragment(src="2001:db8:c::97"))
        assert not out and one(back)[ICMPv6DestUnreach].code == 1 and good(back[0])
        assert graph.errors()["ip6-fip64", "no-binding"] == 1

    @pytest.mark.parametrize("nh", [0, 43, 44, 51, 60, 135, 139, 140])
    @pytest.mark.parametrize("offset", [0, 181])
    def test_a_header_behind_the_fragment_header(self, graph, nh, offset):
        out, back = graph.from_client(fragment(nh=nh, offset=offset))
        assert not out and one(back)[ICMPv6DestUnreach].code == 1 and good(back[0])
        assert graph.errors()["ip6-fip64", "fragment-extension-header"] == 1

    @pytest.mark.parametrize(("offset", "size"), [(0xffe8, 8), (65496, 20), (65520, 15)])
    def test_beyond_what_ipv4_can_say(self, graph, offset, size):
        out, back = graph.from_client(fragment(size, offset=offset // 8, m=0))
        assert not out and not back and graph.errors()["ip6-fip64", "bad-fragment"] == 1
        out, back = graph.from_vm(four(Raw(bytes(size)), frag=offset // 8, proto=17))
        assert not out and not back and graph.errors()["ip4-fip64", "bad-fragment"] == 1

    def test_up_to_what_ipv4_can_say(self, graph):
        out, _ = graph.from_client(fragment(19, offset=65496 // 8, m=0))
        assert (one(out).frag, out[0].len) == (65496 // 8, 39)
        out, _ = graph.from_vm(four(Raw(bytes(19)), frag=65496 // 8, proto=17))
        assert one(out)[IPv6ExtHdrFragment].offset == 65496 // 8


class TestSources:
    @pytest.mark.parametrize("source", ["169.254.0.77", "127.0.0.1", "224.0.0.9"])
    def test_martian4(self, graph, source):
        out, back = graph.from_vm(four(UDP(sport=1, dport=2), src=source))
        assert not out and not back
        # VPP itself may have dropped it before the plugin sees it, but for the link-local one.
        assert source != "169.254.0.77" or graph.errors()["ip4-fip64", "martian"] == 1

    @pytest.mark.parametrize("source", [FIP, SIBLING, FOREIGN, UPLINK_ADDRESS, OWN6])
    @pytest.mark.parametrize("payload", [
        TCP(sport=80, dport=80, flags="S"), UDP(sport=7, dport=7), ICMPv6EchoRequest(),
        IPv6ExtHdrFragment(nh=17, offset=9) / Raw(bytes(8))], ids=["tcp", "udp", "echo", "fragment"])
    def test_own_addresses_as_source(self, graph, source, payload):
        """Nobody outside has them: neither binding nor answer, and nothing reaches the VM."""
        out, back = graph.from_client(six(payload, src=source))
        assert not out and not back and list(map(str, graph.bindings())) == [CLIENT]
        assert graph.errors() == {("ip6-fip64", "own-source"): 1}

    def test_an_address_that_is_no_longer_ours(self, graph):
        gone = "2001:db8:f::7"
        assert graph.control.set_mapping(gone, "10.0.0.7", TENANT, UPLINK) == 0
        out, _ = graph.from_client(six(UDP(sport=1, dport=2), src=gone))
        assert not out
        assert graph.control.del_mappings(gone, ip6_table_id=UPLINK) == [0]
        out, _ = graph.from_client(six(UDP(sport=1, dport=2), src=gone))
        assert one(out) and graph.errors() == {("ip6-fip64", "own-source"): 1, ("ip6-fip64", "ok"): 1}

    def test_the_trace_tells(self, graph):
        trace = graph.traced(lambda: graph.from_client(six(UDP(sport=1, dport=2), src=FIP)))
        assert "dropped: own-source (source is a floating IP or VPP's own address" in trace

    @pytest.mark.parametrize("source", [UPLINK_ADDRESS, OWN6])
    def test_an_error_of_vpps_own_passes(self, graph, source):
        """VPP tells a VM what became of its packet on the way."""
        quoted = IPv6(src=FIP, dst=CLIENT, hlim=1) / UDP(sport=5, dport=6) / b"quoted"
        out, back = graph.from_client(IPv6(src=source, dst=FIP) / ICMPv6TimeExceeded() / quoted)
        assert (one(out).src, out[0].dst) == (OWN4, FIXED) and good(out[0]) and not back

    def test_what_vpp_itself_sends_passes(self, graph):
        packet = six(ICMPv6EchoRequest(id=1), src=UPLINK_ADDRESS)
        out, _ = graph.from_client(packet, options="buffer-flags local")
        assert one(out).dst == FIXED and good(out[0])

    @pytest.mark.parametrize(("floating", "fixed", "tenant"), [
        (SIBLING, SIBLING_FIXED, TENANT), ("2001:db8:f::8", "10.0.0.8", OTHER_TENANT)],
        ids=["same-tenant", "other-tenant"])
    def test_a_vm_that_sends_to_a_floating_ip_passes(self, graph, floating, fixed, tenant):
        """Hairpin: its source there is its own floating IP, and it comes from the tenant that has it."""
        assert graph.control.set_mapping(floating, fixed, tenant, UPLINK) == 0
        if tenant != TENANT:
            graph.cli(f"ip route add 0.0.0.0/0 table {tenant} via 169.254.0.1 pg1")
        graph.add_client(floating, "100.64.0.200")
        out, back = graph.from_vm(four(UDP(sport=1, dport=2) / b"hairpin", dst="100.64.0.200"))
        packet = one(back)
        assert packet.dst == fixed and packet.src.startswith("100.64.0.") and not out and good(packet)
        bound = {str(each.client): str(each.pool_address) for each in graph.control.bindings(tenant)}
        assert bound[FIP] == packet.src
        assert graph.control.del_bindings(FIP, table_id=tenant) == [0]


class TestSettings:
    def test_lowest_ipv6_mtu(self, graph):
        """What a VM sends without DF: 1,400 bytes on a path that takes 1,500."""
        bindings = graph.bindings()
        packet = four(UDP(sport=1, dport=2) / bytes(1372), flags=0)
        out, _ = graph.from_vm(packet)
        assert len(out) == 2 and max(map(len, out)) <= 1280
        graph.set_tenant(lowest_ipv6_mtu=1500)
        out, _ = graph.from_vm(packet)
        assert len(one(out)) == 1420 and out[0].nh == 17 and good(out[0])
        longer = four(UDP(sport=1, dport=2) / bytes(1453), flags=0)
        out, _ = graph.from_vm(longer)
        assert len(out) == 2 and max(map(len, out)) <= 1500 and len(whole(out)) == 1461
        graph.set_tenant(lowest_ipv6_mtu=9000)
        out, _ = graph.from_vm(longer)
        assert len(out) == 2 and max(map(len, out)) <= 1500  # mtu6 is never exceeded
        assert graph.bindings() == bindings

    def test_traffic_class(self, graph):
        graph.set_tenant(zero_traffic_class=True)
        for payload in (UDP(sport=1, dport=2), Raw(bytes(20))):
            proto = {} if UDP in payload else {"nh": 99}
            out, _ = graph.from_client(six(payload, tc=0xb8, **proto))
            assert one(out).tos == 0
            out, _ = graph.from_vm(four(payload, tos=0xb8, **({"proto": 99} if proto else {})))
            assert one(out).tc == 0
        graph.set_tenant()
        out, _ = graph.from_vm(four(UDP(sport=1, dport=2), tos=0xb8))
        assert one(out).tc == 0xb8

    def test_udp_without_checksum(self, graph):
        packet = four(UDP(sport=4500, dport=4500, chksum=0) / b"\xff")
        out, _ = graph.from_vm(packet)
        assert one(out)[UDP].chksum and good(out[0])
        graph.set_tenant(drop_udp_zero_checksum=True)
        out, back = graph.from_vm(packet)
        assert not out and not back and graph.errors()["ip4-fip64", "udp-zero-checksum"] == 1
        out, _ = graph.from_vm(four(UDP(sport=4500, dport=4500) / b"\xff"))
        assert one(out) and good(out[0])

    @pytest.mark.parametrize("drop", [False, True])
    def test_udp_without_checksum_in_fragments(self, graph, drop):
        """No checksum can be computed of a part: whatever the setting says."""
        graph.set_tenant(drop_udp_zero_checksum=drop)
        datagram = UDP(sport=4500, dport=4500, chksum=0, len=32) / bytes(16)
        out, back = graph.from_vm(four(datagram, flags="MF"))
        assert not out and not back and graph.errors()["ip4-fip64", "udp-zero-checksum-fragment"] == 1


def test_what_the_log_tells(make_vpp):
    """RFC 7915 sections 4.5 and 5.1.1: addresses, and ports of UDP. Once, however many packets there are."""
    vpp = make_vpp()
    with vpp.papi("log") as api:
        graph = make_graph(vpp, api)
        graph.add_client()
        graph.set_tenant(drop_udp_zero_checksum=True)
        datagram = UDP(sport=4500, dport=4501, chksum=0, len=32) / bytes(24)
        first = UDP(sport=4502, dport=4503, chksum=0, len=40) / bytes(16)
        for _ in range(3):
            graph.from_vm(four(datagram))
            graph.from_vm(four(first, flags="MF"))
            graph.from_client(fragment(nh=60))
            graph.from_client(six(UDP(sport=7, dport=7), src=SIBLING))
            graph.from_client(six(TCP(sport=7, dport=7) / bytes(100)), options="buffer-flags gso")
        where = f"tenant of table {TENANT}: "
        expected = [
            f"dropped: {FIXED} port 4500 to {CLIENT4} port 4501, {where}UDP without checksum, which the",
            f"dropped: {FIXED} port 4502 to {CLIENT4} port 4503, {where}UDP without checksum in fragments",
            f"dropped: {CLIENT} to {FIP}, {where}an extension header behind the fragment header",
            f"dropped: {SIBLING} to {FIP}, {where}a source that is a floating IP",
            f"dropped: {CLIENT} to {FIP}, {where}segmentation or another offload was left to do",
        ]

        def told() -> list[str]:
            return [line for line in vpp.cli("show logging").splitlines() if "dropped: " in line]

        until(lambda: all(any(text in line for line in told()) for text in expected))
        for text in expected:
            assert sum(text in line for line in told()) == 1
