# SPDX-License-Identifier: Apache-2.0
"""The upstream router as a neighbor: it dies, comes back, and changes its MAC without a word."""

import re
import time

import pytest

from lab.host import FIP_A, FIP_B, Lab
from tests.e2e import steps

GATEWAY = "2001:db8:100::1"
SILENT = f"gateway {GATEWAY} of uplink {{}} does not answer Neighbor Solicitations"
NOTICED = 30.0
"""Seconds within which a dead gateway is reported, on any machine; some 10 are usual."""
FOUND = 120.0
"""Seconds within which a new MAC is found, on any machine."""


def silent(lab: Lab) -> str:
    return SILENT.format(lab.uplinks["uplink"]["port_id"])


def uplink(lab: Lab) -> dict:
    row, = lab.agent.get("/uplinks")
    return row


def address(lab: Lab, verb: str) -> None:
    lab.upstream.ip(f"addr {verb} {GATEWAY}/64 dev uplink" + (" nodad" if verb == "add" else ""))


def link(lab: Lab, verb: str) -> None:
    """The kernel takes the addresses and routes of a link that goes down away."""
    lab.upstream.ip(f"link set uplink {'down' if verb == 'del' else 'up'}")
    if verb == "add":
        address(lab, "add")
        lab.upstream.ip(f"route replace 2001:db8:f::/64 via {lab.uplinks['uplink']['address']}")


@pytest.mark.parametrize("fault", [address, link])
def test_a_gateway_that_goes_away_is_the_first_thing_told_and_comes_back(lab, fault):
    lab.wait_for(lambda: uplink(lab)["state"] == "active", 10, "the uplink is active")
    fault(lab, "del")
    took = steps.within(NOTICED, lambda: uplink(lab)["state"] == "error", "the uplink is in error")
    print(f"reported after {took:.1f} s")
    assert uplink(lab)["reason"].startswith(silent(lab))
    assert uplink(lab)["gateways"] == {GATEWAY: "dead"}
    first, *others = lab.agent.get("/status")["problems"]
    assert first["reason"].startswith(silent(lab)) and first["kind"] == "uplink"
    shown = " ".join(lab.ctl("status", check=False).stdout.split())
    assert re.search(rf"Wrong: - uplink in error: \S+ \(\S+\): {re.escape(silent(lab))}", shown)
    assert all(silent(lab) in problem["reason"] for problem in others), "nothing else is wrong"
    assert {steps.fip(lab, fip)["state"] for fip in (FIP_A, FIP_B)} == {"error"}
    assert silent(lab) in steps.fip(lab, FIP_A)["reason"]
    # Another agent finds out for itself, and says nothing that is not so before.
    lab.agent.restart()
    lab.wait_for(lambda: lab.agent.get("/uplinks") and uplink(lab)["state"] == "error", NOTICED,
                 "the uplink is in error after a restart")
    fault(lab, "add")
    took = steps.within(NOTICED, lambda: uplink(lab)["state"] == "active", "the uplink is active again")
    print(f"active again after {took:.1f} s")
    lab.wait_reachable(FIP_A, FIP_B, seconds=FOUND)
    assert lab.agent.get("/status")["problems"] == []
    assert f"{silent(lab).replace('does not answer', 'answers')} again" in lab.agent.log()


def test_nothing_is_told_of_a_gateway_in_a_quiet_minute(lab):
    lab.wait_for(lambda: uplink(lab)["state"] == "active", 10, "the uplink is active")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert uplink(lab)["state"] == "active"
        time.sleep(0.5)
    assert "Neighbor Solicitations" not in lab.agent.log()
    lab.agent.restart()
    lab.wait_for(lambda: lab.agent.get("/uplinks") and uplink(lab)["state"] == "active", 10,
                 "the uplink is active after a restart")
    assert "Neighbor Solicitations" not in lab.agent.log()


@pytest.mark.parametrize("agent", ["alive", "dead"])
def test_a_gateway_that_changes_its_mac_without_a_word_is_found_again(lab, agent):
    """RFC 4861, section 7.3: by the agent's questions within seconds; without it as the translator's own
    Neighbor Unreachability Detection finds it, VPP's or the kernel's."""
    lab.wait_for(lambda: uplink(lab)["state"] == "active", 10, "the uplink is active")
    assert lab.client.ping(FIP_A, count=20).ok
    lab.upstream.run("sysctl", "-qw", "net.ipv6.conf.uplink.ndisc_notify=0")
    if agent == "dead":
        lab.agent.kill()
    lab.upstream.ip("link set dev uplink address 02:11:22:33:44:55")
    begun = time.monotonic()
    assert lab.client.reaches(FIP_A, FOUND), "the gateway was not found again"
    print(f"found after {time.monotonic() - begun:.1f} s")
    assert lab.client.ping(FIP_B, count=20).ok
    if agent == "alive":
        assert uplink(lab)["state"] == "active"
        assert "does not answer Neighbor Solicitations" not in lab.agent.log()


def test_one_of_two_gateways_is_looked_at_and_both_are_an_error(lab):
    other = "2001:db8:100::9"
    lab.upstream.ip(f"addr add {other}/64 dev uplink nodad")
    lab.topology.update("subnets", "uplink-subnet",
                        host_routes=[{"destination": "2001:db8:e::/48", "nexthop": other}])
    lab.wait_for(lambda: uplink(lab)["gateways"] == {GATEWAY: "alive", other: "alive"}, 20,
                 "two gateways answer")
    lab.upstream.ip(f"addr del {other}/64 dev uplink")
    lab.wait_for(lambda: lab.agent.get("/status")["problems"], NOTICED, "a problem is reported")
    (problem,) = lab.agent.get("/status")["problems"]
    assert problem["severity"] == "warning"
    assert problem["text"].startswith(f"gateway {other} of uplink")
    assert uplink(lab)["state"] == "active" and lab.client.ping(FIP_A, count=20).ok
    address(lab, "del")
    lab.wait_for(lambda: uplink(lab)["state"] == "error", NOTICED, "the uplink is in error")
    assert uplink(lab)["reason"].startswith(f"gateways {GATEWAY} and {other} of uplink")


def test_with_the_watch_off_an_uplink_is_active_without_its_gateway(make_lab):
    lab = make_lab(agent=True, config={"reconcile": {"gateway_interval": 0}})
    lab.wait_reachable(FIP_A)
    address(lab, "del")
    time.sleep(6)
    assert uplink(lab)["state"] == "active" and uplink(lab)["gateways"] == {}
