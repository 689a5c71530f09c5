# SPDX-License-Identifier: Apache-2.0
"""The translator's contract as tests (translator/base.py, DESIGN section 6).

A driver's test module imports `Contract`, subclasses it as TestContract, and gives it a fixture `site`
(a started `site.Site`) and `kill(site)`, which ends one of the driver's processes without mercy. A driver
that tells of new clients late overrides `save_clients(site)`.
"""

from __future__ import annotations

import abc
import os
import sys
import time
from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6

from fip64agent import hub
from tests.fakes.kernel import converge, until
from tests.functional.translator.site import CLIENT, FIP_A, FIP_B, FIP_C, Site

REFUSED = """
import socket, sys
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.settimeout(2)
sock.connect((sys.argv[1], 9999))
sock.send(b"x")
try:
    sock.recv(10)
except OSError as error:
    print(type(error).__name__)
"""


class Contract(abc.ABC):
    @abc.abstractmethod
    def kill(self, site: Site) -> None:
        """End one of the driver's processes as a crash would."""

    def save_clients(self, site: Site) -> None:  # noqa: B027 (most have nothing to do)
        """Do what it takes until clients() knows all clients."""

    @pytest.fixture
    def both(self, site: Site) -> Site:
        assert site.install(blue=[FIP_A], green=[FIP_B])[0] == {}
        assert site.client.reaches(FIP_A, 5) and site.client.reaches(FIP_B, 5)
        return site

    # -- reach ----------------------------------------------------------------------------------

    def test_ping(self, both):
        answer = both.client.ping(FIP_A, count=50)
        assert answer.ok, answer
        assert both.client.ping(FIP_A, count=5, size=1400).ok

    def test_tcp_both_ways(self, both):
        for way in ("put", "get"):
            assert both.client.transfer(FIP_A, size=1 << 22, way=way)["equal"]

    def test_two_tcp_clients_at_once(self, both):
        assert all(client["equal"] for client in both.client.lines(FIP_A))

    @pytest.mark.parametrize("size", [1, 1000, 1452])
    def test_udp(self, both, size):
        result = both.client.udp(FIP_A, size=size, count=3)
        assert result["equal"] == 3, result

    def test_udp_in_fragments_both_ways(self, both):
        both.client.udp(FIP_A, size=8000, timeout=1)  # the VM may learn the path MTU with the first
        result = both.client.udp(FIP_A, size=32768, count=3)
        assert result["equal"] == 3, result

    def test_icmp_errors_come_through(self, both):
        done = both.client.run(sys.executable, "-c", REFUSED, FIP_A)
        assert done.stdout.strip() == "ConnectionRefusedError"

    def test_two_tenants_with_the_same_ipv4(self, both):
        for fip, name in ((FIP_A, "blue"), (FIP_B, "green")):
            answer = both.client.http_get(fip)["answer"]
            assert (answer["vm"], answer["i_am"]) == (name, "10.0.0.5")
            assert IPv4Address(answer["you_are"]) in both.tenant(name, 7, [fip]).pool

    def test_the_uplink_itself_answers(self, both):
        assert both.client.reaches(str(both.uplink.addresses[0].ip), 3)

    # -- sources --------------------------------------------------------------------------------

    @pytest.mark.parametrize("source", [FIP_A, FIP_C, "the uplink's"])
    def test_a_source_from_outside_that_is_ours_is_dropped(self, site, source):
        """The floating IP itself, another one of the tenant, the uplink's address: no client, no packet."""
        assert site.install(blue=[FIP_A, FIP_C])[0] == {}
        assert site.client.reaches(FIP_A, 5)
        forged = str(site.uplink.addresses[0].ip) if source == "the uplink's" else source
        false = [IPv6(src=forged, dst=FIP_A) / UDP(sport=7, dport=port) / b"forged" for port in (7, 5002)]
        seen = site.delivered("blue", b"honest", *false,
                              IPv6(src=CLIENT, dst=FIP_A) / UDP(sport=7, dport=9) / b"honest")
        assert not [frame for frame in seen if b"forged" in frame], seen
        self.save_clients(site)
        assert [str(found.client) for found in site.room.clients("blue")] == [CLIENT]

    # -- changes --------------------------------------------------------------------------------

    def test_a_fip_is_added_and_others_lose_nothing(self, site):
        site.install(blue=[FIP_A])
        assert site.client.reaches(FIP_A, 5)
        assert not site.client.reaches(FIP_B)
        running = site.client.start_ping(FIP_A, interval=0.01)
        site.install(blue=[FIP_A], green=[FIP_B])
        assert site.client.reaches(FIP_B, 5)
        answer = running.stop()
        assert answer.ok, answer

    def test_a_fip_moves_to_another_tenant(self, both):
        assert both.install(blue=[FIP_C], green=[FIP_A])[0] == {}
        assert both.client.http_get(FIP_A)["answer"]["vm"] == "green"
        assert both.client.http_get(FIP_C)["answer"]["vm"] == "blue"
        assert not both.client.reaches(FIP_B)

    def test_a_fip_that_is_removed_is_really_gone(self, both):
        running = both.client.start_ping(FIP_B, interval=0.01)
        assert both.install(green=[FIP_B])[0] == {}
        both.vms["blue"].forget_received()
        assert both.client.ping(FIP_A, count=20, wait=0.3).received == 0
        assert both.vms["blue"].received() == []
        answer = running.stop()
        assert answer.ok, answer

    def test_all_is_removed(self, both):
        both.links.start()
        failed = both.room.prune(list(both.room.actual().values()))
        assert failed == {} and both.room.actual() == {}
        assert converge(both.links)[0] == {} and both.links.actual() == {}

    def test_again_is_nothing_to_do(self, both):
        before = both.room.actual()
        assert both.install(blue=[FIP_A], green=[FIP_B]) == ({}, 0)
        assert both.room.actual() == before

    def test_a_vm_calls_a_client_with_a_static_binding(self, site):
        address = IPv4Address("100.64.7.9")
        site.bindings["blue"] = ((IPv6Address(CLIENT), address),)
        assert site.install(blue=[FIP_A])[0] == {}
        assert site.vms["blue"].reaches(str(address), 5), "the VM is the first to speak"
        assert site.client.http_get(FIP_A)["answer"]["you_are"] == str(address)
        assert site.install(blue=[FIP_A]) == ({}, 0)
        other = address + 1
        site.bindings["blue"] = ((IPv6Address(CLIENT), other),)
        assert site.install(blue=[FIP_A])[0] == {}
        assert site.vms["blue"].reaches(str(other), 5)
        assert site.client.http_get(FIP_A)["answer"]["you_are"] == str(other)

    # -- accidents ------------------------------------------------------------------------------

    def test_a_killed_driver_is_noticed_and_restored(self, both):
        address = both.client.http_get(FIP_A)["answer"]["you_are"]
        hub.sleep(0.1)
        both.changes = 0
        self.kill(both)
        seconds = until(lambda: both.changes, 5, "on_change")
        begun = time.monotonic()
        assert both.install(blue=[FIP_A], green=[FIP_B])[0] == {}
        assert both.client.reaches(FIP_A, 5) and both.client.reaches(FIP_B, 5)
        print(f"\nnoticed after {seconds:.3f} s, restored in {time.monotonic() - begun:.2f} s")
        assert both.client.http_get(FIP_A)["answer"]["you_are"] == address

    def test_another_agent_takes_over_without_losing_a_packet(self, both):
        running = [both.client.start_ping(fip, interval=0.005) for fip in (FIP_A, FIP_B)]
        before = both.room.actual()
        both.room.close()
        both.rooms.remove(both.room)
        time.sleep(0.2)
        both.room = both.new_room()
        assert both.room.actual() == before
        assert both.install(blue=[FIP_A], green=[FIP_B]) == ({}, 0)
        time.sleep(0.3)
        for ping in running:
            answer = ping.stop()
            assert answer.ok and answer.sent > 90, answer

    # -- telling --------------------------------------------------------------------------------

    def test_healthy(self, both):
        assert both.room.healthy() is None

    def test_a_tenant_has_a_namespace_where_it_has_a_link_of_its_own(self, both):
        netns = both.room.netns("blue")
        assert os.path.exists(f"/run/netns/{netns}") and bool(netns) == (not both.host.downlink)

    def test_clients(self, both):
        seen = both.client.http_get(FIP_A)["answer"]["you_are"]
        self.save_clients(both)
        found = [binding for binding in both.room.clients("blue") if binding.client == IPv6Address(CLIENT)]
        assert [(binding.router_id, str(binding.pool_address)) for binding in found] == [("blue", seen)]
        assert both.room.clients("nobody") == []

    def test_counters(self, both):
        counters = both.room.counters()
        assert set(counters) == {"blue", "green"}
        assert all(type(value) is int and value >= 0 for values in counters.values()
                   for value in values.values())
