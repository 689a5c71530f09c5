# SPDX-License-Identifier: Apache-2.0
"""Whether gateways are alive: asked by a real kernel at one end of a veth, with the gateways at the other."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network

import pytest

from fip64agent import hub
from fip64agent.links import neighbors
from fip64agent.links.gateways import Gateways
from fip64agent.links.reachability import NUD_REACHABLE
from fip64agent.plan.desired import Uplink
from lab.shell import run
from tests.functional.links.conftest import Site, until

pytestmark = [pytest.mark.root, pytest.mark.needs("ip")]
_numbers = itertools.count()
FIRST, SECOND = IPv6Address("2001:db8:ffff::1"), IPv6Address("2001:db8:ffff::9")
DEFAULT, OTHER = IPv6Network("::/0"), IPv6Network("2001:db8:e::/48")
INTERVAL = 1.0


def uplink(netns: str, *routes: tuple[IPv6Network, IPv6Address]) -> Uplink:
    return Site("").uplink(routes=routes, nd_netns=netns, nd_peer="nd-00000000")


class Wire:
    """A veth from an uplink's Neighbor Discovery link to a namespace with the gateways."""

    def __init__(self) -> None:
        base = f"f64g{os.getpid()}-{next(_numbers)}-"
        self.near, self.far = f"{base}nd", f"{base}upstream"
        self.uplink = uplink(self.near, (DEFAULT, FIRST))
        self.installed = True
        self.watched = []

    def lay(self) -> None:
        """Make the link anew; the gateways' addresses go with it."""
        run("ip", "link", "add", self.uplink.nd_peer, "netns", self.near, "type", "veth",
            "peer", "name", "eth0", "netns", self.far)
        for netns, device in ((self.near, self.uplink.nd_peer), (self.far, "eth0")):
            run("sysctl", "-qw", f"net.ipv6.conf.{device}.accept_dad=0", netns=netns)
            run("ip", "-n", netns, "link", "set", device, "up")

    def gateway(self, verb: str, address: IPv6Address = FIRST) -> None:
        """`verb`: add or del."""
        run("ip", "-n", self.far, "addr", verb, f"{address}/64", "dev", "eth0", *["nodad"][:verb == "add"])

    def watch(self, interval: float = INTERVAL) -> Gateways:
        gateways = Gateways(lambda: [(self.uplink, self.installed)] if self.uplink else [], interval)
        self.watched.append(gateways)
        gateways.start()
        return gateways


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    for netns in (wire.near, wire.far):
        run("ip", "netns", "add", netns)
    try:
        wire.lay()
        yield wire
    finally:
        for gateways in wire.watched:
            gateways.stop()
        for netns in (wire.near, wire.far):
            run("ip", "netns", "del", netns)


def alive(gateways: Gateways, wire: Wire, address: IPv6Address = FIRST) -> bool | None:
    return gateways.reachability(wire.uplink, address).alive


def test_a_gateway_answers_goes_away_and_comes_back(wire, caplog):
    caplog.set_level(logging.INFO)
    wire.gateway("add")
    gateways = wire.watch()
    assert alive(gateways, wire) is None
    until(lambda: alive(gateways, wire))
    assert abs(gateways.reachability(wire.uplink, FIRST).since - time.time()) < 5
    assert not caplog.messages  # a gateway that answers is not logged
    wire.gateway("del")
    gone = time.time()
    until(lambda: alive(gateways, wire) is False, 30)
    assert gateways.reachability(wire.uplink, FIRST).since > gone - 5
    wire.gateway("add")
    until(lambda: alive(gateways, wire), 30)
    assert caplog.messages == [f"gateway {FIRST} of uplink up-0 does not answer Neighbor Solicitations",
                               f"gateway {FIRST} of uplink up-0 answers Neighbor Solicitations again"]


def test_one_that_was_never_there_is_dead_after_it_was_asked(wire):
    gateways = wire.watch()
    until(lambda: alive(gateways, wire) is False, 30)


def test_each_gateway_has_its_own_state(wire):
    wire.uplink = uplink(wire.near, (DEFAULT, FIRST), (OTHER, SECOND))
    wire.gateway("add", SECOND)
    gateways = wire.watch()
    until(lambda: alive(gateways, wire) is False and alive(gateways, wire, SECOND), 30)


def test_no_false_alarm_while_it_is_asked_again_and_again(wire, caplog):
    """Asked ten times as often as in production: 100 answers, none amiss."""
    caplog.set_level(logging.INFO)
    wire.gateway("add")
    gateways = wire.watch(0.1)
    until(lambda: alive(gateways, wire))
    begun = time.monotonic()
    while time.monotonic() - begun < 10:
        hub.sleep(0.05)
        assert alive(gateways, wire)
    assert not caplog.messages


def test_a_mac_that_changed_without_a_word_is_found_without_an_alarm(wire, caplog):
    wire.gateway("add")
    gateways = wire.watch()
    until(lambda: alive(gateways, wire))
    run("sysctl", "-qw", "net.ipv6.conf.eth0.ndisc_notify=0", netns=wire.far)
    run("ip", "-n", wire.far, "link", "set", "dev", "eth0", "address", "02:11:22:33:44:55")

    def known() -> bool:
        shown = run("ip", "-6", "neigh", "show", str(FIRST), netns=wire.near).stdout
        return "02:11:22:33:44:55 REACHABLE" in shown

    until(known, 30)
    hub.sleep(INTERVAL + 0.5)
    assert alive(gateways, wire) and not caplog.messages


def test_nothing_is_asked_before_the_uplink_is_installed(wire):
    wire.gateway("add")
    wire.installed = False
    gateways = wire.watch()
    hub.sleep(0.5)
    assert alive(gateways, wire) is None
    wire.installed = True
    gateways.check_soon()
    until(lambda: alive(gateways, wire))
    wire.installed = False  # a change of the uplink is being installed: what is known stays
    gateways.check_soon()
    wire.gateway("del")
    until(lambda: alive(gateways, wire) is False, 30)


def test_an_uplink_that_went_and_came_is_checked_anew(wire):
    gateways = wire.watch()
    until(lambda: alive(gateways, wire) is False, 30)
    there, wire.uplink = wire.uplink, None
    gateways.check_soon()
    hub.sleep(0.5)
    assert gateways.reachability(there, FIRST).alive is None
    wire.uplink = there
    wire.gateway("add")
    gateways.check_soon()
    until(lambda: alive(gateways, wire), 30)


def test_a_link_that_is_made_anew_is_no_dead_gateway(wire, caplog):
    wire.gateway("add")
    gateways = wire.watch()
    until(lambda: alive(gateways, wire))
    for _ in range(3):
        run("ip", "-n", wire.near, "link", "del", wire.uplink.nd_peer)
        hub.sleep(0.7)
        wire.lay()
        wire.gateway("add")
        gateways.check_soon()
        hub.sleep(1.5)
    assert alive(gateways, wire) and not caplog.messages


def test_a_namespace_that_is_gone_ends_nothing(wire):
    wire.gateway("add")
    there = wire.uplink
    wire.uplink = uplink("f64-no-such-namespace", (DEFAULT, FIRST))
    gateways = wire.watch()
    hub.sleep(0.5)
    assert alive(gateways, wire) is None
    wire.uplink = there
    gateways.check_soon()
    until(lambda: alive(gateways, wire))


def test_one_that_was_set_by_hand_is_not_touched(wire):
    run("ip", "-n", wire.near, "neigh", "add", str(FIRST), "lladdr", "02:00:00:00:00:99", "dev",
        wire.uplink.nd_peer, "nud", "permanent")
    gateways = wire.watch()
    until(lambda: alive(gateways, wire))
    hub.sleep(2 * INTERVAL)
    shown = run("ip", "-6", "neigh", "show", str(FIRST), netns=wire.near).stdout
    assert "02:00:00:00:00:99" in shown and "PERMANENT" in shown


def test_an_interval_of_zero_watches_nothing(wire):
    gateways = wire.watch(0)
    assert gateways.reachability(wire.uplink, FIRST) is None
    gateways.stop()


def test_nothing_of_the_namespace_stays_open(wire):
    """A socket into it would keep its links alive after it was removed."""
    wire.gateway("add")
    gateways = wire.watch()
    until(lambda: alive(gateways, wire))
    before = len(os.listdir("/proc/self/fd"))
    hub.sleep(3 * INTERVAL)
    assert len(os.listdir("/proc/self/fd")) <= before
    gateways.stop()
    links, states = neighbors.states(wire.near, [wire.uplink.nd_peer, "no-such-link"])
    assert links == {wire.uplink.nd_peer}
    assert states[wire.uplink.nd_peer, FIRST] == NUD_REACHABLE
