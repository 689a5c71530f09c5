# SPDX-License-Identifier: Apache-2.0
"""Floating IPs added, moved and removed at run time: effective at once, and nobody else notices."""

import pytest

from lab.host import FIP_A, FIP_B
from tests.e2e import steps

NEW = "2001:db8:f::c"


@pytest.fixture(scope="module")
def lab(make_module_lab):
    lab = make_module_lab(agent=True)
    lab.add_vm("vm-a2", "a", "10.0.0.6")
    for name in ("vm-a", "vm-a2", "vm-b"):
        lab[name].serve()
    lab.wait_reachable(FIP_A, FIP_B)
    return lab


@pytest.fixture(autouse=True)
def other_tenant_loses_nothing(lab):
    """Tenant b is under a 100/s ping during every change of tenant a."""
    running = lab.client.start_ping(FIP_B, interval=0.01)
    yield
    answer = running.stop()
    assert answer.ok, f"tenant b lost {answer.lost} of {answer.sent}"


def http_vm(lab, address):
    try:
        return lab.client.http_get(address, timeout=0.5)["answer"]["vm"]
    except RuntimeError:
        return None


def test_added_moved_removed(lab):
    lab.topology.add_fip(NEW, "vm-a2")
    steps.within(steps.EFFECTIVE, lambda: steps.fip(lab, NEW).get("state") == "active", "the FIP is active")
    assert lab.client.reaches(NEW, 0.5)
    lab.wait_for(lambda: http_vm(lab, NEW) == "vm-a2", 5, "its VM answers")

    # Re-used for another VM, of another tenant: the old VM is no longer reachable through it.
    lab.topology.remove_fip(FIP_A)
    lab.topology.move_fip(NEW, "vm-a")
    lab.wait_for(lambda: http_vm(lab, NEW) == "vm-a", 5, "the FIP leads to the other VM")
    lab["vm-a2"].forget_received()
    assert lab.client.ping(NEW, count=20).ok
    assert not lab["vm-a2"].received("ping")
    steps.wait_settled(lab)

    lab.topology.remove_fip(NEW)
    steps.within(steps.EFFECTIVE, lambda: steps.fip(lab, NEW) == {}, "the FIP is forgotten")
    steps.wait_settled(lab)
    assert lab.client.ping(NEW, count=5, wait=0.5).received == 0
    lab["vm-a"].forget_received()
    assert not any(NEW.split("::")[1] in flow.split("ipv6_dst=")[-1][:20] for flow in steps.owned_flows(lab)
                   if "ipv6_dst=" in flow)
    lab.topology.add_fip(FIP_A, "vm-a")
    lab.wait_reachable(FIP_A, seconds=5)


def test_a_tenant_goes_with_its_last_floating_ip_and_comes_back(lab):
    tenant, before = lab.topology.id("routers", "router-a"), steps.tenants(lab)
    lab.topology.remove_fip(FIP_A)
    lab.wait_for(lambda: steps.tenants(lab) == before - {tenant}, 5, "the tenant goes")
    steps.wait_settled(lab)
    assert len(steps.translators(lab)) == 1
    lab.topology.add_fip(FIP_A, "vm-a")
    lab.wait_reachable(FIP_A, seconds=5)
    assert steps.tenants(lab) == before


def test_a_vm_port_that_is_unbound_waits_and_says_so(lab):
    lab.unbind("vm-a")
    row = steps.wait_state(lab, FIP_A, "pending", 5)
    assert "not bound" in row["reason"]
    lab.bind("vm-a")
    steps.wait_state(lab, FIP_A, "active", 5)
    lab.wait_reachable(FIP_A, seconds=5)


def test_an_association_that_is_taken_back(lab):
    lab.topology.move_fip(FIP_A, None)
    lab.wait_for(lambda: steps.fip(lab, FIP_A).get("state") != "active", 5, "the FIP is not active")
    steps.wait_settled(lab)
    assert lab.client.ping(FIP_A, count=3, wait=0.3).received == 0
    lab.topology.move_fip(FIP_A, "vm-a")
    lab.wait_reachable(FIP_A, seconds=5)


@pytest.mark.parametrize("which", ["lower", "higher"])
def test_a_second_floating_ip_for_a_vm_is_faulty_and_the_first_goes_on(lab, which):
    """Whichever has the lower id: the one that has the VM's address keeps it."""
    first = lab.topology.id("floatingips", FIP_A)
    second = next(address for address in (f"2001:db8:f::{number:x}" for number in range(0x1000, 0x1100))
                  if (lab.topology.id("floatingips", address) > first) == (which == "higher"))
    lab.topology.add_fip(second, "vm-a")
    lab.wait_for(lambda: lab.agent.get("/status")["topology"]["errors"], 20, "the fault is reported")
    assert first in str(lab.agent.get("/status")["topology"]["errors"])
    assert lab.client.ping(FIP_A, count=5).ok
    lab.topology.remove_fip(second)
    lab.wait_for(lambda: not lab.agent.get("/status")["topology"]["errors"], 20, "the topology is good again")
    assert lab.client.ping(FIP_A, count=5).ok
