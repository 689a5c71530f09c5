# SPDX-License-Identifier: Apache-2.0
"""The uplink is an OVS bond: floating IPs work by whichever member is up, with the agent alive or dead."""

import contextlib
import json
import select
import socket
import threading

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA
from scapy.layers.l2 import Ether

from lab import bonds, netns
from lab.host import FIP_A, FIP_B
from tests.e2e import steps

ON_LINK = "2001:db8:100::a"
SECOND = 20.0
"""Seconds, at most, until a client has an answer after a failover."""


@pytest.fixture
def lab(make_lab):
    lab = make_lab(agent=True, bind=False)
    lab.wires = bonds.bond_uplink(lab)
    lab.bind("vm-a", "vm-b")
    for vm in ("vm-a", "vm-b"):
        lab[vm].serve()
    lab.wait_reachable(FIP_A, FIP_B)
    steps.wait_settled(lab)
    return lab


def other(lab, wire):
    return next(name for name in lab.wires if name != wire)


def fail_over(lab):
    """Cut the active wire; returns the one that is active then."""
    was = bonds.active(lab)
    bonds.link_down(lab, was)
    lab.wait_for(lambda: bonds.active(lab) == other(lab, was), 10, "the bond fails over")
    return other(lab, was)


def test_floating_ips_work_by_any_member(lab):
    lab.wait_for(lambda: lab.agent.get("/uplinks")[0]["state"] == "active", 10, "its gateway has answered")
    for _ in range(2):
        now = fail_over(lab)
        lab.wait_reachable(FIP_A, FIP_B, seconds=SECOND)
        steps.wait_settled(lab)
        trace = lab.agent.ctl_json("trace", FIP_A)
        assert trace["reachable"], trace
        way_out = next(step["detail"] for step in trace["steps"] if step["name"] == "uplink")
        assert f"bond {bonds.BOND}: {lab.host_interface(now)} " in way_out
        bonds.link_up(lab, other(lab, now))
        lab.wait_for(lambda: lab.ovs.appctl("bond/show", bonds.BOND).stdout.count(": enabled") == 2, 10,
                     "both members are up")
    lab.wait_reachable(FIP_A, FIP_B, seconds=SECOND)


def test_a_failover_with_the_agent_dead(lab):
    lab.agent.kill()
    flows = steps.owned_flows(lab)
    for _ in range(2):
        bonds.link_up(lab, other(lab, fail_over(lab)))
        lab.wait_reachable(FIP_A, FIP_B, seconds=SECOND)
    assert steps.owned_flows(lab) == flows


def test_no_member_is_up(lab):
    for wire in lab.wires:
        bonds.link_down(lab, wire)
    lab.wait_for(lambda: "active member\n" not in lab.ovs.appctl("bond/show", bonds.BOND).stdout, 10,
                 "no member is up")
    trace = json.loads(lab.ctl("trace", FIP_A, "-f", "json", check=False).stdout)
    assert trace["stops_at"] == "uplink"
    assert "no member of the bond is up" in str(trace["steps"])
    for wire in lab.wires:
        bonds.link_up(lab, wire)
    lab.wait_reachable(FIP_A, FIP_B, seconds=SECOND)


@contextlib.contextmanager
def advertisements(lab, device):
    """Collect (target, Ethernet source) of advertisements that come in by a device of the upstream router."""
    def listen():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        sock.bind((device, 3))
        return sock

    found, stop = set(), threading.Event()

    def collect(sock):
        while not stop.is_set():
            if select.select([sock], [], [], 0.1)[0]:
                packet = Ether(sock.recv(2048))
                if ICMPv6ND_NA in packet and not packet[ICMPv6ND_NA].S:
                    found.add((packet[ICMPv6ND_NA].tgt, packet.src))

    with netns.call_in(lab.upstream.netns, listen) as sock:
        thread = threading.Thread(target=collect, args=(sock,))
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            thread.join()


def test_addresses_are_announced_where_they_are_now(lab):
    with lab.topology.batch():
        lab.connect_tenant("a", "uplink-net")
        vm = lab.add_vm("vm-c", "a", address="10.0.0.9")
        lab.topology.add_fip(ON_LINK, "vm-c")
    lab.wait_reachable(ON_LINK)
    steps.wait_settled(lab)
    uplink = lab.uplinks["uplink"]
    with advertisements(lab, other(lab, bonds.active(lab))) as found:
        fail_over(lab)
        wanted = {(address, uplink["mac"]) for address in (ON_LINK, uplink["address"])}
        lab.wait_for(lambda: wanted <= found, 15, f"announcements by the other member, not only {found}")
    assert lab.client.reaches(ON_LINK, SECOND), vm.name
