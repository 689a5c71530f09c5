# SPDX-License-Identifier: Apache-2.0
"""The tayga room with real tayga processes, in namespaces that have but a TUN device."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

import pytest

from fip64agent import hub
from fip64agent.plan.desired import Tenant
from fip64agent.reconcile import diff
from fip64agent.translator.tayga import process
from fip64agent.translator.tayga.room import TaygaRoom
from lab.shell import inside, run
from tests.conftest import require_programs, require_root

_numbers = itertools.count()
MAPS = ((IPv4Address("10.0.0.6"), IPv6Address("2001:db8:f::6")),)
"""Others than a tenant has at first."""


class Bench:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.prefix = f"f64t{os.getpid()}-{next(_numbers)}-"
        self.changes = 0
        self.rooms: list[TaygaRoom] = []
        self.namespaces: list[str] = []

    def _changed(self) -> None:
        self.changes += 1

    def room(self, **options) -> TaygaRoom:
        room = TaygaRoom(**{"run_path": str(self.directory / "run"),
                            "state_path": str(self.directory / "state"),
                            "binary": "tayga", "netns_prefix": self.prefix, "on_change": self._changed,
                            **options})
        self.rooms.append(room)
        room.start()
        return room

    def tenant(self, name: str, **values) -> Tenant:
        netns = self.prefix + name
        if netns not in self.namespaces:
            run("ip", "netns", "add", netns)
            self.namespaces.append(netns)
            self.make_tun(name)
        return dataclasses.replace(Tenant(
            router_id=name, vlan=1, interface="", own_interface=True, mac="",
            pool=IPv4Network("100.64.0.0/24"), address6=IPv6Address("2001:db8:ffff::2"),
            maps=((IPv4Address("10.0.0.5"), IPv6Address("2001:db8:f::5")),)), **values)

    def netns(self, tenant: Tenant) -> str:
        return self.prefix + tenant.router_id

    def make_tun(self, name: str) -> None:
        run("ip", "-n", self.prefix + name, "-batch", "-",
            input="tuntap add nat64 mode tun\nlink set nat64 up\nroute add 100.64.0.0/16 dev nat64\n"
                  "route add 2001:db8:f::/64 dev nat64\n")

    def converge(self, *tenants: Tenant, room: TaygaRoom | None = None) -> dict:
        """Do what a pass of the loop does; returns what failed."""
        room = room or self.rooms[0]
        work = diff.whole([item for tenant in tenants for item in room.expand(tenant)], room.actual())
        return (room.apply(work.apply) if work.apply else {}) | (room.prune(work.prune) if work.prune else {})

    def settled(self, *tenants: Tenant) -> bool:
        room = self.rooms[0]
        return not diff.whole([item for tenant in tenants for item in room.expand(tenant)], room.actual())

    def pids(self) -> dict[str, int]:
        return {found.name: found.pid for found in process.running(str(self.directory / "run"))}

    def close(self) -> None:
        for room in self.rooms:
            with contextlib.suppress(Exception):
                self.converge(room=room)
            room.close()
        for found in process.running(str(self.directory / "run")):
            process.stop(found)
        for name in self.namespaces:
            run("ip", "netns", "del", name, check=False)


@pytest.fixture
def bench(tmp_path) -> Iterator[Bench]:
    require_root()
    require_programs("ip", "nsenter", "tayga")
    made = Bench(tmp_path)
    try:
        made.room()
        yield made
    finally:
        made.close()


def until(condition: Callable[[], object], seconds: float = 15) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s"
        hub.sleep(0.01)
    return time.monotonic() - begun


def test_runs_is_left_alone_and_ends(bench):
    red, blue = bench.tenant("red"), bench.tenant("blue")
    assert bench.converge(red, blue) == {}
    before = bench.pids()
    assert set(before) == {"red", "blue"} and bench.rooms[0].healthy() is None
    assert bench.converge(red, blue) == {} and bench.pids() == before
    assert bench.converge(red) == {} and bench.pids() == {"red": before["red"]}
    assert not (bench.directory / "run/tayga/blue").exists()
    assert not (bench.directory / "state/tayga/blue").exists()
    hub.sleep(0.2)
    assert bench.changes == 0  # all by ourselves


def test_a_changed_tenant_is_restarted_and_no_other(bench):
    red, blue = bench.tenant("red"), bench.tenant("blue")
    bench.converge(red, blue)
    before = bench.pids()
    changed = dataclasses.replace(red, maps=MAPS)
    assert bench.converge(changed, blue) == {}
    after = bench.pids()
    assert after["blue"] == before["blue"] and after["red"] != before["red"]
    assert bench.settled(changed, blue)
    assert len(list((bench.directory / "run/tayga/red").glob("*.conf"))) == 1
    hub.sleep(0.2)
    assert bench.changes == 0


def test_another_room_adopts_what_runs_and_watches_it(bench):
    red = bench.tenant("red")
    bench.converge(red)
    before = bench.pids()
    bench.rooms.pop().close()
    room = bench.room()
    assert bench.converge(red) == {} and bench.pids() == before
    os.kill(before["red"], signal.SIGKILL)
    until(lambda: bench.changes)
    assert bench.converge(red, room=room) == {} and bench.pids()["red"] != before["red"]


def test_100_tenants_are_started_together(bench):
    tenants = [bench.tenant(f"t{number}") for number in range(100)]
    begun = time.monotonic()
    assert bench.converge(*tenants) == {}
    print(f"100 tenants started in {time.monotonic() - begun:.2f} s")
    assert len(bench.pids()) == 100 and bench.settled(*tenants)
    shares = []
    while len(shares) < 3 and min(shares, default=1) >= 0.01:
        begun, used = time.monotonic(), time.process_time()
        hub.sleep(6)
        shares.append((time.process_time() - used) / (time.monotonic() - begun))
    print(f"at rest with 100 tenants: {min(shares):.2%} of a CPU")
    assert min(shares) < 0.01
    changed = dataclasses.replace(tenants[0], maps=MAPS)
    begun = time.monotonic()
    assert bench.converge(changed, *tenants[1:]) == {}
    print(f"one of them changed, with a full look: {(time.monotonic() - begun) * 1000:.0f} ms")


def test_one_is_ended_although_more_than_1024_files_are_open(bench):
    """As with 150 tenants: select(2) takes no descriptor above 1023."""
    tenant = bench.tenant("red")
    assert not bench.converge(tenant)
    (pid,) = bench.pids().values()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    files = []
    try:
        while not files or files[-1] < 1100:
            files.append(os.open("/dev/null", os.O_RDONLY))
        assert not bench.converge()
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_died_is_noticed_and_started_again_at_once(bench, number):
    red = bench.tenant("red")
    bench.converge(red)
    os.kill(bench.pids()["red"], number)
    until(lambda: bench.changes)
    assert not bench.settled(red)
    assert bench.converge(red) == {} and bench.settled(red)


def test_one_whose_number_another_process_got_is_noticed_as_dead(bench):
    bench.converge(bench.tenant("red"))
    (found,) = process.running(str(bench.directory / "run"))
    bench.rooms[0]._watch(dataclasses.replace(found, started="1"))
    until(lambda: bench.changes)


def test_one_that_is_stopped_is_noticed_and_replaced(bench):
    red = bench.tenant("red")
    bench.converge(red)
    before = bench.pids()
    os.kill(before["red"], signal.SIGSTOP)
    until(lambda: bench.changes)
    assert f"tayga of router red (pid {before['red']}) is stopped" in bench.rooms[0].healthy()
    assert bench.converge(red) == {} and bench.settled(red)
    assert bench.pids()["red"] != before["red"] and bench.rooms[0].healthy() is None


def test_one_that_lost_its_tun_device_is_replaced(bench):
    red = bench.tenant("red")
    bench.converge(red)
    before = bench.pids()
    hub.sleep(1.1)  # younger ones get time to open it
    run("ip", "-n", bench.netns(red), "link", "del", "nat64")
    bench.make_tun("red")  # the links room does that
    # tayga spins now, and opens and closes the system log's socket: that must not hide it.
    assert all("has lost its TUN device" in (bench.rooms[0].healthy() or "") for _ in range(100))
    assert bench.converge(red) == {}
    assert bench.pids()["red"] != before["red"] and bench.rooms[0].healthy() is None


def test_one_in_a_namespace_that_is_gone_is_replaced(bench):
    red = bench.tenant("red")
    bench.converge(red)
    before = bench.pids()
    run("ip", "netns", "del", bench.netns(red))
    bench.namespaces.remove(bench.netns(red))
    assert not bench.settled(red)
    assert "no network namespace" in next(iter(bench.converge(red).values()))
    bench.tenant("red")
    assert bench.converge(red) == {} and bench.pids()["red"] != before["red"]


def test_two_of_one_tenant_are_replaced_by_one(bench):
    red = bench.tenant("red")
    bench.converge(red)
    item = next(bench.rooms[0].expand(red))
    file = process.configuration_file(str(bench.directory / "run"), "red", item.digest)
    second = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "--config", str(file)])
    try:
        until(lambda: len(list(process.running(str(bench.directory / "run")))) == 2)
        assert not bench.settled(red)
        assert bench.converge(red) == {} and bench.settled(red)
        assert second.wait(5) is not None
    finally:
        second.kill()
        second.wait()


def test_a_crash_loop_is_slowed_down_and_reported_with_its_last_output(bench):
    red = bench.tenant("red", pool=IPv4Network("127.0.0.0/24"))
    key = next(bench.rooms[0].expand(red)).key
    now = time.monotonic()
    bench.rooms[0]._clock = lambda: now
    first = bench.converge(red)[key]
    assert first.startswith("tayga ended with status 1: ") and "127.0.0" in first
    second = bench.converge(red)[key]
    assert second.startswith("tayga ended with status 1: ")
    third = bench.converge(red)[key]
    assert third.startswith("tayga died 2 times; started again in ") and third.endswith(
        first.removeprefix("tayga ended with status 1"))
    assert bench.pids() == {}
    good = bench.tenant("red")
    bench.rooms[0]._clock = lambda: now + 1.1
    assert bench.converge(good) == {} and bench.settled(good)


def test_a_program_that_is_missing_or_no_program_is_reported(bench, tmp_path):
    assert "install the package tayga" in bench.room(binary=str(tmp_path / "none")).ready()
    (tmp_path / "text").write_text("#!/bin/sh\necho this is no translator >&2; exit 3\n")
    (tmp_path / "text").chmod(0o755)
    room = bench.room(binary=str(tmp_path / "text"))
    assert room.ready() is None
    reason = next(iter(bench.converge(bench.tenant("red"), room=room).values()))
    assert reason == "tayga ended with status 3: this is no translator"


def test_taygas_of_others_are_left_alone(bench, tmp_path):
    red = bench.tenant("red")
    run("ip", "-n", bench.netns(red), "tuntap", "add", "other", "mode", "tun")
    (tmp_path / "tayga.conf").write_text("tun-device other\nipv4-addr 192.0.2.1\nprefix 2001:db8:9::/96\n")
    foreign = subprocess.Popen(inside(bench.netns(red), ["tayga", "--nodetach", "--config",
                                                  str(tmp_path / "tayga.conf")]))
    try:
        bench.converge(red)
        assert bench.converge(dataclasses.replace(red, maps=MAPS)) == {}
        assert bench.converge() == {}
        assert bench.pids() == {} and foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def bindings(bench: Bench, count: int) -> None:
    """As tayga would have written them down."""
    directory = bench.directory / "state/tayga/red"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "dynamic.map").write_text("".join(
        f"100.64.0.{number}\t2001:db8:c::{number}\t{int(time.time())}\n" for number in range(2, 2 + count)))


def test_a_full_pool_is_reported_and_clients_are_counted(bench):
    red = bench.tenant("red", pool=IPv4Network("100.64.0.0/29"))
    bindings(bench, 5)
    assert bench.converge(red) == {}
    room = bench.rooms[0]
    assert room.healthy() is None and room.counters() == {"red": {"clients": 5}}
    bindings(bench, 6)
    assert "the NAT64 pool of router red is full: all 6 addresses have clients" in room.healthy()
    assert room.counters() == {"red": {"clients": 6}} and len(room.clients("red")) == 6
    changes = bench.changes
    hub.sleep(2.2)
    assert bench.changes == changes  # nothing to repair
    bigger = dataclasses.replace(red, pool=IPv4Network("100.64.0.0/24"))
    assert bench.converge(bigger) == {} and room.healthy() is None


def test_bindings_outlive_a_restart(bench):
    red = bench.tenant("red", pool=IPv4Network("100.64.0.0/29"))
    bindings(bench, 3)
    before = {(each.client, each.pool_address) for each in bench.rooms[0].clients("red")}
    bench.converge(red)
    assert bench.converge(dataclasses.replace(red, maps=MAPS)) == {}
    assert {(each.client, each.pool_address) for each in bench.rooms[0].clients("red")} == before
    assert len(before) == 3 and bench.rooms[0].clients("blue") == []


def test_the_pool_is_full_when_tayga_says_so(bench):
    """With real clients: as many as the pool has addresses get one, as tayga writes down when it ends."""
    red = bench.tenant("red", pool=IPv4Network("100.64.0.0/29"))
    assert bench.converge(red) == {}
    clients = [f"2001:db8:c::{number}" for number in range(1, 10)]
    run("ip", "-n", bench.netns(red), "-batch", "-", input="link set lo up\n" + "".join(
        f"addr add {address}/128 dev lo nodad\n" for address in clients))
    send = ("import socket, sys\nfor address in sys.argv[1:]:\n"
            "    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:\n"
            "        sock.bind((address, 0)); sock.sendto(b'x', ('2001:db8:f::5', 9))\n")
    room = bench.rooms[0]

    def translated() -> int:
        """Packets that tayga wrote."""
        shown = run("ip", "-n", bench.netns(red), "-s", "-json", "link", "show", "nat64").stdout
        return json.loads(shown)[0]["stats64"]["rx"]["packets"]

    for count, full in ((5, False), (9, True)):
        before = translated()
        run(sys.executable, "-c", send, *clients[:count], netns=bench.netns(red))
        wanted = before + min(count, 6)
        until(lambda wanted=wanted: translated() >= wanted)
        os.kill(bench.pids()["red"], signal.SIGTERM)
        until(lambda: not bench.pids())
        room._ends.clear()  # two ends in a row are meant here
        assert bench.converge(red) == {}
        assert len(room.clients("red")) == min(count, 6)
        assert ("is full" in (room.healthy() or "")) == full
