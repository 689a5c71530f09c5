# SPDX-License-Identifier: Apache-2.0
"""Links rooms in network namespaces of their own: a test never touches the machine's links."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import pytest

from fip64agent import hub
from fip64agent.links import netns as namespaces
from fip64agent.links.model import LinkItem
from fip64agent.links.room import LinksRoom
from fip64agent.plan.desired import Host, Mapping64, PlanObject, Tenant, Uplink
from fip64agent.reconcile import diff
from fip64agent.translator.tayga.links import TaygaLayout
from lab.shell import run
from tests.conftest import require_programs, require_root

_numbers = itertools.count()
POOL = IPv4Network("100.64.0.0/24")
ROUTER = IPv6Address("2001:db8:ffff::2")


@dataclasses.dataclass
class Site:
    """Objects of a plan. `prefix`: of all namespaces."""

    prefix: str

    @property
    def core(self) -> str:
        return f"{self.prefix}core"

    def host(self) -> Host:
        return Host(nd_netns=f"{self.prefix}nd")

    def uplink(self, number: int = 0, **values) -> Uplink:
        name = f"{number:08x}"
        network = IPv6Network((int(IPv6Address("2001:db8:ffff::")) + (number << 64), 64))
        uplink = Uplink(
            port_id=f"up-{number}", router_id="edge", network_id="net", interface="eth", ofport=1,
            veth=f"ovs-{name}", veth_ofport=None, peer=f"vpp-{name}",
            mac=f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}", mtu=1500,
            addresses=(IPv6Interface(f"{network[2]}/64"),), routes=((IPv6Network("::/0"), network[1]),),
            table=1000 + number, onlink=(network,), routed=(IPv6Network("2001:db8:f::/64"),), redirect="all",
            nd_netns=f"{self.prefix}nd", nd_veth=f"ovs-nd-{name}", nd_veth_ofport=None, nd_peer=f"nd-{name}")
        return dataclasses.replace(uplink, **values)

    def tenant(self, number: int = 1, maps=()) -> Tenant:
        return Tenant(
            router_id=f"t{number}", vlan=number, interface=f"ovs-dl-{number}", own_interface=True,
            mac=f"02:f6:40:00:{number >> 8:02x}:{number & 255:02x}", pool=POOL, address6=ROUTER, maps=maps)

    def fip(self, number: int, tenant: int = 1) -> Mapping64:
        return Mapping64(
            fip_id=f"f{number}", floating_ip=IPv6Address("2001:db8:f::") + 16 + number,
            fixed_ip=IPv4Address("10.0.0.0") + 5 + number, router_id=f"t{tenant}", port_id="vm",
            uplink_id="up-0",
            on_link=False, nd_netns=f"{self.prefix}nd", nd_peer="nd-00000000",
            uplink_ofport=1, uplink_mac="", vlan=tenant, downlink_ofport=None, downlink_vlan=None,
            downlink_mac="", pool=POOL, vm_ofport=1, vm_mac="", gateway_mac="")

    def standard(self) -> list[PlanObject]:
        """One uplink, two tenants with a FIP each."""
        return [self.host(), self.uplink(), self.tenant(1), self.tenant(2), self.fip(1, 1), self.fip(2, 2)]


class Bench:
    """A site, rooms on it, and what they reported. The agent's own namespace is `netns`."""

    def __init__(self) -> None:
        self.base = f"f64l{os.getpid()}-{next(_numbers)}-"
        self.site = Site(f"{self.base}n-")
        self.netns = f"{self.base}agent"
        self.changes = 0
        self.rooms: list[LinksRoom] = []

    def _changed(self) -> None:
        self.changes += 1

    def room(self) -> LinksRoom:
        """One that makes what tayga wants: that has items of every kind."""
        room = LinksRoom(self.site.prefix, TaygaLayout(self.site.prefix), on_change=self._changed)
        # The room's own thread does all its work, so that its namespace is the agent's.
        room._thread.run(self._move, self.netns)
        self.rooms.append(room)
        room.start()
        return room

    @staticmethod
    def _move(netns: str) -> None:
        with open(namespaces.DIRECTORY / netns, "rb") as there:
            namespaces._setns(there.fileno())

    def items(self, objects: Iterable[PlanObject]) -> list[LinkItem]:
        return [item for obj in objects for item in self.rooms[0].expand(obj)]

    def converge(self, objects: Iterable[PlanObject], room: LinksRoom | None = None) -> diff.Difference:
        """Do what a pass of the loop does; returns what it did."""
        room = room or self.rooms[0]
        work = diff.whole(self.items(objects), room.actual())
        failed = room.apply(work.apply) if work.apply else {}
        failed |= room.prune(work.prune) if work.prune else {}
        assert not failed
        return work

    def repair(self, objects: Iterable[PlanObject]) -> None:
        """Do what the loop does after damage: once, and again if the room says that more may be amiss."""
        self.changes = 0
        self.converge(objects)
        hub.sleep(0.3)
        if self.changes:
            self.converge(objects)
        assert not self.difference(objects)

    def difference(self, objects: Iterable[PlanObject]) -> diff.Difference:
        return diff.whole(self.items(objects), self.rooms[0].actual())

    def ip(self, netns: str, *lines: str) -> None:
        """By hand, lines of ip -batch or ip -6 -batch, in a namespace by the last part of its name."""
        for family, group in itertools.groupby(lines, lambda line: line[:3] if line[0] == "-" else "-0"):
            option = [] if family == "-0" else [family.strip()]
            run("ip", "-n", self.full(netns), *option, "-batch", "-",
                input="".join(f"{line.removeprefix('-6 ')}\n" for line in group))

    def full(self, netns: str) -> str:
        return self.netns if netns == "agent" else f"{self.site.prefix}{netns}"

    def settled_dump(self) -> dict[str, list[str]]:
        """As dump(), when carriers and the like have settled."""
        before = {}
        while before != (before := self.dump()):
            hub.sleep(1.1)
        return before

    def dump(self) -> dict[str, list[str]]:
        """All that is installed, with the indexes of links: what changes if anything is made anew."""
        what = ("link", "addr", "-4 route show table all", "-6 route show table all", "-4 rule", "-6 rule",
                "neigh show nud permanent")
        names = [self.netns, *namespaces.names(self.site.prefix)]
        return {f"{name} {words}": [line for line in run("ip", *words.split(), netns=name).stdout.splitlines()
                                    if "proto kernel" not in line] for name in names for words in what}

    def close(self) -> None:
        for room in self.rooms:
            room.close()
        for name in namespaces.names(self.base):
            run("ip", "netns", "del", name, check=False)


@contextlib.contextmanager
def _bench() -> Iterator[Bench]:
    require_root()
    require_programs("ip", "nsenter")
    made = Bench()
    run("ip", "netns", "add", made.netns)
    try:
        assert made.room().ready() is None
        yield made
    finally:
        made.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with _bench() as made:
        yield made


@pytest.fixture(scope="module")
def standing() -> Iterator[Bench]:
    """One for the module, with the standard site installed: leave it as you found it."""
    with _bench() as made:
        made.converge(made.site.standard())
        yield made


def until(condition: Callable[[], object], seconds: float = 15) -> float:
    """Let the hub run until `condition`; return the seconds it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s"
        hub.sleep(0.01)
    return time.monotonic() - begun
