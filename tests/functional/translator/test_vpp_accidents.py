# SPDX-License-Identifier: Apache-2.0
"""VPP under traffic, kept by the loop as in the daemon: deaths, hangs, restarts, another translator."""

import os
import signal
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from fip64agent import hub
from fip64agent.plan.desired import Desired
from fip64agent.reconcile.loop import Loop
from fip64agent.translator import driver
from fip64agent.translator.room import TranslatorRoom
from fip64agent.translator.tayga import process as taygas
from fip64agent.translator.tayga.room import TaygaRoom
from fip64agent.translator.vpp import process
from lab.shell import run
from tests.conftest import require_programs
from tests.fakes import planned
from tests.fakes.kernel import until
from tests.functional.translator.conftest import end_all as end_taygas
from tests.functional.translator.site import FIP_A, FIP_B, Site
from tests.functional.translator.vpp_site import new_room, vpp_site


@pytest.fixture
def site(short_tmp) -> Iterator[Site]:
    with vpp_site(short_tmp) as made:
        yield made


class Kept:
    """A site whose rooms a loop keeps as the plan says."""

    def __init__(self, site: Site, translator=None) -> None:
        self.site = site
        self.translator = translator or site.room
        self.loop = Loop([site.links, self.translator], audit_interval=3600, backoff_min=0.2)
        self.thread = None

    def start(self) -> None:
        self.site.links._monitor._on_change = lambda: self.loop.invalidate("links")
        active = getattr(self.translator, "active", self.translator)
        active._on_change = lambda: self.loop.invalidate("translator")
        self.site.links.start()
        self.thread = hub.spawn(self.loop.run)

    def stop(self) -> None:
        """As the agent's end: nothing is removed."""
        self.thread.kill()

    def submit(self, blue=(), green=(), extra=()) -> None:
        """Plan two tenants with these floating IPs, and `extra` mappings of blue's."""
        site = self.site
        given = [(name, vlan, fips) for name, vlan, fips in (("blue", 7, blue), ("green", 8, green)) if fips]
        tenants = [site.tenant(*each) for each in given]
        mappings = [site.mapping(tenant, fip) for tenant, (_, _, fips) in zip(tenants, given, strict=True)
                    for fip in fips]
        mappings += [planned.mapping(tenants[0], str(floating), str(fixed), site.uplink.table)
                     for floating, fixed in extra]
        self.loop.submit(Desired.of_objects([site.host, site.uplink, *tenants, *mappings]))
        until(self.settled, 15, "the plan carried out")
        site._wire(tenants)

    def restored(self, old: int, items: int = 15) -> None:
        """Wait until another VPP than `old` has all again. Green, which asking the client is not."""
        until(lambda: old not in vpps(self.site) and vpps(self.site), 8, "a new VPP")
        until(lambda: self.settled() and len(self.translator.actual()) >= items, 5, "all mappings")

    def settled(self) -> bool:
        return self.loop.settled and not self.loop.failures and not self.loop.blocked


@pytest.fixture
def kept(site) -> Iterator[Kept]:
    made = Kept(site)
    made.start()
    yield made
    made.stop()


def vpps(site: Site) -> list[int]:
    return [found.pid for found in process.running(str(site.directory / "vpp"))]


def vpp_of(site: Site) -> int:
    pid, = vpps(site)
    return pid


def thousand():
    return [(IPv6Address("2001:db8:f:0:1::") + number, IPv4Address("10.1.0.0") + number)
            for number in range(998)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_1000_fips_are_back_soon_after_a_death_and_clients_keep_their_addresses(kept, number):
    site = kept.site
    kept.submit([FIP_A], [FIP_B], thousand())
    assert site.client.reaches(FIP_A, 5) and site.client.reaches(FIP_B, 5)
    before = [site.client.http_get(fip)["answer"]["you_are"] for fip in (FIP_A, FIP_B)]
    running = site.client.start_ping(FIP_A, interval=0.02)
    time.sleep(0.3)
    old, begun = vpp_of(site), time.monotonic()
    os.kill(old, number)
    kept.restored(old, 1000)
    restored = time.monotonic() - begun
    assert site.client.reaches(FIP_A, 5) and site.client.reaches(FIP_B, 5)
    seconds = time.monotonic() - begun
    lost = len(running.stop().lost)
    print(f"\nfilled again after {restored:.2f} s, traffic after {seconds:.2f} s, "
          f"{lost * 0.02:.1f} s without answer")
    assert seconds < 5
    after = [site.client.http_get(fip)["answer"]["you_are"] for fip in (FIP_A, FIP_B)]
    assert after == before


def test_a_vpp_that_hangs_is_found_and_replaced(kept):
    site = kept.site
    kept.submit([FIP_A], [FIP_B])
    assert site.client.reaches(FIP_A, 5)
    old, begun = vpp_of(site), time.monotonic()
    os.kill(old, signal.SIGSTOP)
    kept.restored(old)
    assert site.client.reaches(FIP_A, 5) and site.client.reaches(FIP_B, 5)
    print(f"\ntraffic {time.monotonic() - begun:.2f} s after the hang began")
    assert time.monotonic() - begun < 8


def test_an_agent_that_is_restarted_loses_no_packet_and_writes_nothing(kept):
    site = kept.site
    kept.submit([FIP_A], [FIP_B], thousand())
    assert site.client.reaches(FIP_A, 5) and site.client.reaches(FIP_B, 5)
    running = [site.client.start_ping(fip, interval=0.005) for fip in (FIP_A, FIP_B)]
    pid = vpp_of(site)
    kept.stop()
    kept.translator.close()
    time.sleep(0.2)
    site.room = site.new_room()
    again = Kept(site)
    again.start()
    again.submit([FIP_A], [FIP_B], thousand())
    assert again.loop.applied == again.loop.pruned == 0
    time.sleep(0.3)
    for ping in running:
        answer = ping.stop()
        assert answer.ok and answer.sent > 90, answer
    assert vpp_of(site) == pid
    again.stop()


def test_a_veth_that_was_deleted_under_it_is_made_and_used_again(kept):
    site = kept.site
    kept.submit([FIP_A], [FIP_B])
    assert site.client.reaches(FIP_A, 5)
    whole = kept.translator.actual()
    for link in (site.uplink.veth, site.host.downlink):
        run("ip", "link", "del", link)
        until(lambda link=link: os.path.exists(f"/proc/sys/net/ipv4/conf/{link}") and kept.settled()
              and kept.translator.actual() == whole, 8)
        site.ovs.vsctl("del-port", link)
        kept.submit([FIP_A], [FIP_B])
        assert site.client.reaches(FIP_A, 8) and site.client.reaches(FIP_B, 5), link


# -- another translator ---------------------------------------------------------------------------


def test_from_vpp_to_tayga_and_back_nothing_of_the_other_is_left(site, short_tmp):
    require_programs("tayga")

    def tayga() -> TaygaRoom:
        return TaygaRoom(str(short_tmp / "run"), str(short_tmp / "state"), "tayga", site.prefix)

    def change(kind: str) -> Kept:
        """As a restart of the agent with another [fip64] translator."""
        rooms = {"vpp": lambda: new_room(short_tmp), "tayga": tayga}
        site.kind = kind
        site.links._layout = driver(kind).layout(site.prefix)
        site.host, site.uplink = planned.host(site.prefix, kind), planned.uplink(site.prefix)
        active = rooms.pop(kind)()
        both = TranslatorRoom(active, [make() for make in rooms.values()])
        site.rooms.append(both)
        both.start()
        kept = Kept(site, both)
        kept.start()
        for link in [line for line in site.ovs.vsctl("list-ports", "br-site").stdout.split()
                     if line.startswith("ovs-")]:
            site.ovs.vsctl("del-port", link)  # the switch room's work
        kept.submit([FIP_A], [FIP_B])
        assert site.client.reaches(FIP_A, 8) and site.client.reaches(FIP_B, 5), kind
        return kept

    site.room.close()
    try:
        for _ in range(2):
            kept = change("tayga")
            assert process.running(str(short_tmp / "vpp")) == []
            assert len(list(taygas.running(str(short_tmp / "run")))) == 2
            assert not os.path.exists("/proc/sys/net/ipv4/conf/ovs-dl")
            kept.stop()
            kept.translator.close()
            kept = change("vpp")
            assert vpp_of(site)
            assert list(taygas.running(str(short_tmp / "run"))) == []
            assert not os.path.exists(f"/run/netns/{site.prefix}core")
            kept.stop()
            kept.translator.close()
        remains = TranslatorRoom(tayga(), [new_room(short_tmp)])
        site.rooms.append(remains)
        assert remains.prune(list(remains.remains().values())) == {}
        assert process.running(str(short_tmp / "vpp")) == [] and remains.remains() == {}
    finally:
        end_taygas(short_tmp / "run")
