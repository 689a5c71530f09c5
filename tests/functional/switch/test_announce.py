# SPDX-License-Identifier: Apache-2.0
"""Floating IPs that are new here are announced: through the userspace datapath, to a real kernel."""

import dataclasses
import json
import subprocess
from ipaddress import IPv6Address

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr
from scapy.layers.l2 import Ether

from fip64agent import hub
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.examples import HOST, MAPPING
from lab.shell import inside, run
from tests.functional.switch.conftest import BRIDGE, until

FIP = str(MAPPING.floating_ip)
HERE = "2001:db8:100::99"


@pytest.fixture
def segment(wired, netns):
    """A neighbor's namespace, wired to the bridge as the uplink, and a room with one FIP."""
    outside = netns("outside")
    run("ip", "link", "add", "dev", "uplink", "type", "veth", "peer", "name", "eth0", netns=wired.ovs.netns)
    run("ip", "link", "set", "eth0", "netns", outside, netns=wired.ovs.netns)
    run("ip", "link", "set", "uplink", "up", netns=wired.ovs.netns)
    run("ethtool", "-K", "eth0", "tx", "off", netns=outside)
    run("ip", "link", "set", "eth0", "up", netns=outside)
    run("ip", "-6", "addr", "add", f"{HERE}/64", "dev", "eth0", "nodad", netns=outside)
    wired.ovs.vsctl("add-port", BRIDGE, "uplink", "--", "set", "interface", "uplink", "ofport_request=1")
    room = wired.room()
    return wired, room, outside


def install(room, *mappings):
    items = [item for obj in (HOST, *mappings) for item in room.expand(obj) if isinstance(item, FlowItem)]
    assert room.apply([(None, item) for item in items]) == {}
    return items


def neighbor(netns, address=FIP):
    rows = json.loads(run("ip", "-json", "-6", "neigh", "show", address, netns=netns).stdout or "[]")
    return rows[0] if rows else {}


_LISTEN = """
import sys, time
from scapy.config import conf
conf.verb = 0
from scapy.all import AsyncSniffer
from scapy.layers.inet6 import ICMPv6ND_NA
seen = 0
def look(packet):
    global seen
    seen += ICMPv6ND_NA in packet and packet[ICMPv6ND_NA].tgt == sys.argv[3]
sniffer = AsyncSniffer(iface="eth0", store=True, prn=look,
                       started_callback=lambda: print("ready", flush=True))
sniffer.start()
sys.stdin.readline()
deadline = time.monotonic() + 15
while seen < int(sys.argv[2]) and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(float(sys.argv[1]))
for packet in sniffer.stop():
    print(bytes(packet).hex(), flush=True)
"""


class Listener:
    """Prints what arrives at the neighbor until so many advertisements came, and for some seconds more."""

    def __init__(self, netns, count, seconds):
        import sys

        self.process = subprocess.Popen(
            inside(netns, [sys.executable, "-c", _LISTEN, str(seconds), str(count), FIP]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready"

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def advertisements(self, target=FIP):
        until(lambda: self.process.poll() is not None, 60)
        output, errors = self.process.communicate()
        assert self.process.returncode == 0, errors
        packets = [Ether(bytes.fromhex(line)) for line in output.split()]
        return [packet for packet in packets if ICMPv6ND_NA in packet and packet[ICMPv6ND_NA].tgt == target]


def assert_checksum(packet):
    stated = packet[ICMPv6ND_NA].cksum
    copy = packet.copy()
    del copy[ICMPv6ND_NA].cksum
    assert Ether(bytes(copy))[ICMPv6ND_NA].cksum == stated


def test_a_new_floating_ip_is_announced_three_times_and_an_adopted_one_not(segment):
    bench, room, outside = segment
    listener = Listener(outside, 3, 1.5)
    listener.go()
    install(room, MAPPING)
    until(lambda: room._announcer.sent == 3)
    packets = listener.advertisements()
    assert len(packets) == 3
    for packet in packets:
        assert (packet.src, packet.dst) == (MAPPING.uplink_mac, "33:33:00:00:00:01")
        assert (packet[ICMPv6ND_NA].R, packet[ICMPv6ND_NA].S, packet[ICMPv6ND_NA].O) == (1, 0, 1)
        assert packet[ICMPv6NDOptDstLLAddr].lladdr == MAPPING.uplink_mac
        assert_checksum(packet)
    room.close()
    again = bench.room()
    actual = again.actual()
    assert all(item.key in actual for item in again.expand(MAPPING))
    hub.sleep(0.3)
    assert again._announcer.sent == 0


def test_a_moved_floating_ip_is_learned_at_once(segment):
    _, room, outside = segment
    run("ip", "-6", "neigh", "replace", FIP, "lladdr", "02:00:00:00:0b:ad", "dev", "eth0", "nud", "stale",
        netns=outside)
    install(room, MAPPING)
    until(lambda: neighbor(outside).get("lladdr") == MAPPING.uplink_mac)


def test_a_floating_ip_that_goes_is_not_announced_any_more(segment):
    _, room, _ = segment
    other = dataclasses.replace(MAPPING, fip_id="other", floating_ip=IPv6Address("2001:db8:100::b"))
    items = install(room, other)
    until(lambda: room._announcer.sent)
    assert room.prune(items) == {}
    hub.sleep(0.1)  # one may be on its way
    sent = room._announcer.sent
    assert sent < 3
    hub.sleep(1.5)
    assert room._announcer.sent == sent
