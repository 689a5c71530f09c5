# SPDX-License-Identifier: Apache-2.0
"""What the kernel says about routes and neighbors, in a namespace of our own."""

import os
import uuid
from ipaddress import IPv6Address

import pytest

from fip64agent.links import lookup
from lab.shell import run

pytestmark = [pytest.mark.root, pytest.mark.needs("ip")]
CLIENT, FIP, HOP = (IPv6Address(text) for text in ("2001:db8:1::5", "2001:db8:f::10", "2001:db8:ffff::9"))


@pytest.fixture(scope="module")
def netns():
    name = f"f64k{os.getpid()}-{uuid.uuid4().hex[:6]}"
    run("ip", "netns", "add", name)
    try:
        for line in ("link set lo up", "link add wan type veth peer name wan-peer", "link set wan up",
                     "link set wan-peer up", "link add lan type veth peer name lan-peer", "link set lan up",
                     "link set lan-peer up", "addr add 2001:db8:ffff::1/64 dev wan nodad",
                     "-6 route add 2001:db8:1::/64 via 2001:db8:ffff::9 dev wan",
                     "-6 route add 2001:db8:f::10/128 via fe80::2 dev lan",
                     "-6 route add blackhole 2001:db8:f::/64", "-6 route add unreachable 2001:db8:e::/64",
                     "-6 neigh add 2001:db8:ffff::9 lladdr 02:00:00:00:00:09 dev wan nud permanent"):
            run("ip", "-n", name, *line.split())
        run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", netns=name)
        yield name
    finally:
        run("ip", "netns", "delete", name)


def test_the_next_hop_of_a_packet(netns):
    there = lookup.route(netns, CLIENT, FIP, "wan")
    assert (there.device, there.via) == ("lan", "fe80::2")
    back = lookup.route(netns, FIP, CLIENT, "lan")
    assert (back.device, back.via) == ("wan", str(HOP))
    assert lookup.route(netns, FIP, HOP, "lan").via in (None, str(HOP))
    assert str(back) == "dev wan via 2001:db8:ffff::9 (table 254)"


@pytest.mark.parametrize(("destination", "reason"), [
    ("2001:db8:f::11", "a blackhole route"), ("2001:db8:e::1", "an unreachable route"),
    ("2001:db8:d::1", "no route")])
def test_no_next_hop(netns, destination, reason):
    with pytest.raises(lookup.LookupFailed) as caught:
        lookup.route(netns, CLIENT, IPv6Address(destination), "wan")
    assert str(caught.value) == f"{reason} for {destination} from {CLIENT}"


def test_an_interface_or_a_namespace_that_is_not_there(netns):
    with pytest.raises(lookup.LookupFailed, match="interface gone does not exist"):
        lookup.route(netns, CLIENT, FIP, "gone")
    with pytest.raises(lookup.LookupFailed, match="network namespace f64-nowhere does not exist"):
        lookup.route("f64-nowhere", CLIENT, FIP, "wan")
    assert not os.path.exists("/run/netns/f64-nowhere")  # asking must not make it


def test_neighbors(netns):
    assert lookup.neighbor(netns, "wan", HOP) == ("PERMANENT", "02:00:00:00:00:09")
    assert lookup.neighbor(netns, "wan", IPv6Address("2001:db8:ffff::77")) is None
    with pytest.raises(lookup.LookupFailed):
        lookup.neighbor(netns, "gone", HOP)
