# SPDX-License-Identifier: Apache-2.0
"""A private OVS and a room on it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from fip64agent import hub
from fip64agent.switch.room import SwitchRoom
from lab.openvswitch import PrivateOvs
from tests.conftest import require_programs, require_root

BRIDGE = "br-test"
OURS = "cookie=0xf164000000000000/0xffff000000000000"
"""The agent's flows, as ovs-ofctl takes it."""
PORTS = {"up": 1, "veth": 11, "dl": 12, "shared": 13, "nd": 14, "vm": 21}
"""Dummy ports, numbered as in switch.document's examples."""


def until(condition: Callable[[], object], seconds: float = 15, what: str = "") -> float:
    """Let the hub run until `condition`; return the seconds it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s: {what or condition}"
        hub.sleep(0.02)
    return time.monotonic() - begun


def trace(bench, port, packet):
    """Return the datapath actions, with names of ports."""
    output = bench.ovs.appctl("ofproto/trace", "--names", BRIDGE, f"in_port={port}",
                              bytes(packet).hex()).stdout
    return re.search(r"^Datapath actions: (.*)$", output, re.M)[1]


class Bench:
    """An OVS, a room, and what the room reported."""

    def __init__(self, ovs: PrivateOvs) -> None:
        self.ovs = ovs
        self.changes = 0
        self.interfaces: list = []
        self.datapaths: list = []
        self.rooms: list[SwitchRoom] = []

    def _changed(self) -> None:
        self.changes += 1

    def room(self, **options) -> SwitchRoom:
        options = {"timeout": 5, "probe_interval": 0.3, **options}
        room = SwitchRoom(self.ovs.db, str(self.ovs.directory), BRIDGE, on_change=self._changed,
                          on_interfaces=self.interfaces.append, on_datapath=self.datapaths.append, **options)
        self.rooms.append(room)
        room.start()
        until(lambda: room.ready() is None, what="the room is ready")
        return room

    def flows(self, *match: str) -> list[str]:
        """Flows without statistics, as ovs-ofctl prints them, sorted."""
        output = self.ovs.ofctl("dump-flows", BRIDGE, *match, "--no-stats").stdout
        return sorted(line.strip() for line in output.splitlines() if "actions=" in line)

    def count(self) -> int:
        """Number of flows that are the agent's."""
        output = self.ovs.ofctl("dump-aggregate", BRIDGE, OURS).stdout
        return int(output.rpartition("flow_count=")[2].split()[0])


def _bench(directory, netns=None, dummy=False) -> Iterator[Bench]:
    require_root()
    require_programs("ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovsdb-tool")
    with PrivateOvs(directory, netns=netns, dummy=dummy) as ovs:
        ovs.add_bridge(BRIDGE)
        bench = Bench(ovs)
        try:
            yield bench
        finally:
            for room in bench.rooms:
                room.close()


@pytest.fixture
def bench(short_tmp) -> Iterator[Bench]:
    """Dummy datapath with PORTS."""
    for made in _bench(short_tmp / "ovs", dummy=True):
        for name, number in PORTS.items():
            made.ovs.vsctl("add-port", BRIDGE, name, "--", "set", "interface", name, "type=dummy",
                           f"ofport_request={number}")
        yield made


@pytest.fixture
def wired(short_tmp, netns) -> Iterator[Bench]:
    """Userspace datapath in a network namespace of its own: real devices, real packets."""
    yield from _bench(short_tmp / "ovs", netns=netns("ovs"))


@pytest.fixture
def netns() -> Iterator[Callable[[str], str]]:
    """Make network namespaces: ``netns("a")`` returns the full name."""
    import os

    from lab.shell import run

    made: list[str] = []

    def make(name: str) -> str:
        full = f"f64s{os.getpid()}-{name}"
        run("ip", "netns", "add", full)
        made.append(full)
        run("ip", "link", "set", "lo", "up", netns=full)
        return full

    yield make
    for name in made:
        run("ip", "netns", "del", name, check=False)
