# SPDX-License-Identifier: Apache-2.0
"""Things that die or are removed by hand: traffic goes on where it can, and all is repaired within 5 s."""

import os
import random
import signal
import time

import pytest

from lab.host import FIP_A, FIP_B
from lab.shell import run
from tests.e2e import steps


@pytest.fixture(scope="module")
def lab(make_module_lab):
    lab = make_module_lab(agent=True)
    lab.wait_reachable(FIP_A, FIP_B)
    steps.wait_settled(lab)
    return lab


@pytest.fixture(autouse=True)
def ends_well(lab):
    """Whatever a test breaks, everything is right again after it, as the agent itself sees it."""
    yield
    if not lab.agent.running:
        lab.agent.start()
    lab.wait_reachable(FIP_A, FIP_B, seconds=steps.REPAIRED)
    steps.wait_settled(lab)


def test_agent_killed_under_ping_loses_nothing_and_its_restart_changes_nothing(lab):
    before = steps.dump(lab)
    pings = [lab.client.start_ping(address, interval=0.01) for address in (FIP_A, FIP_B)]
    time.sleep(0.3)
    lab.agent.kill()
    time.sleep(1)
    assert steps.dump(lab) == before
    lab.agent.start()
    steps.wait_settled(lab)
    for running in pings:
        answer = running.stop()
        assert answer.ok and answer.sent > 130, answer
    assert steps.dump(lab) == before


def test_agent_stopped_leaves_traffic_alone(lab):
    before = steps.dump(lab)
    running = lab.client.start_ping(FIP_A, interval=0.01)
    assert lab.agent.stop() == 0
    lab.agent.start()
    steps.wait_settled(lab)
    answer = running.stop()
    assert answer.ok, answer
    assert steps.dump(lab) == before


def test_a_change_made_while_the_agent_was_away_is_carried_out_at_its_start(lab):
    lab.agent.kill()
    lab.topology.remove_fip(FIP_B)
    assert lab.client.ping(FIP_B, count=3).ok
    lab.agent.start()
    steps.wait_settled(lab)
    assert lab.client.ping(FIP_B, count=3, wait=0.3).received == 0
    lab.topology.add_fip(FIP_B, "vm-b")
    lab.wait_reachable(FIP_B, seconds=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ovs_vswitchd_restarted(lab, number):
    lab.ovs.restart_vswitchd(number)
    steps.within(steps.REPAIRED, lambda: lab.client.reaches(FIP_A) and lab.client.reaches(FIP_B),
                 "both FIPs answer again")


def test_ovsdb_server_restarted(lab):
    before, births = steps.dump(lab), steps.flow_install_times(lab)
    running = lab.client.start_ping(FIP_A, interval=0.01)
    lab.ovs.restart_ovsdb()
    # For the userspace datapath ovs-vswitchd's main thread forwards, and not before it has connected again:
    # after 1 s, 2 s more if that was too early, and so on. What is lost meanwhile is not the agent's loss.
    lab.wait_reachable(FIP_A, FIP_B, seconds=20)
    assert lab.client.ping(FIP_A, count=50).ok
    answer = running.stop()
    print(f"\nwhile ovsdb-server was restarted: lost {len(answer.lost)} of {answer.sent}, longest "
          f"{answer.rtt_max:.0f} ms")
    steps.wait_settled(lab)
    assert steps.dump(lab) == before
    assert steps.reinstalled_flows(births, steps.flow_install_times(lab)) == []
    # It is heard again: a binding that changes now is seen.
    lab.unbind("vm-b")
    steps.wait_state(lab, FIP_B, "pending", steps.REPAIRED)
    lab.bind("vm-b")
    steps.wait_state(lab, FIP_B, "active", steps.REPAIRED)


def test_translator_killed(lab):
    killed = steps.translators(lab)
    assert len(killed) == (2 if lab.translator == "tayga" else 1)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    steps.within(steps.REPAIRED, lambda: lab.client.reaches(FIP_A) and lab.client.reaches(FIP_B),
                 "both FIPs answer again")
    assert not killed.keys() & steps.translators(lab).keys()


def test_translator_killed_while_the_agent_is_away(lab):
    lab.agent.kill()
    for pid in steps.translators(lab):
        os.kill(pid, signal.SIGKILL)
    assert not lab.client.reaches(FIP_A)
    lab.agent.start()
    steps.within(steps.REPAIRED, lambda: lab.client.reaches(FIP_A) and lab.client.reaches(FIP_B),
                 "both FIPs answer again")


def test_client_keeps_its_pool_address_over_a_translator_restart(lab):
    lab["vm-a"].serve()
    before = lab.client.http_get(FIP_A)["answer"]["you_are"]
    for pid, command in steps.translators(lab).items():
        if lab.translator == "vpp" or lab.topology.id("routers", "router-a") in command:
            os.kill(pid, signal.SIGTERM)
    lab.wait_for(lambda: lab.client.reaches(FIP_A), steps.REPAIRED, "FIP A answers again")
    assert lab.client.http_get(FIP_A)["answer"]["you_are"] == before


def test_every_veth_deleted_by_hand_comes_back(lab):
    for name in [name for name in steps.links(lab) if name.startswith("ovs-")]:
        run("ip", "link", "del", name, netns=lab.host)
        steps.within(steps.REPAIRED, lambda: lab.client.reaches(FIP_A) and lab.client.reaches(FIP_B),
                     f"both FIPs answer again after {name} was deleted")


@pytest.mark.only("tayga")  # VPP has no namespaces
def test_namespace_deleted_by_hand_comes_back(lab):
    for name in steps.namespaces(lab):
        # It takes the mount away, then the file, and complains when the agent was quicker with the file.
        run("ip", "netns", "del", name, check=False)
        steps.within(steps.REPAIRED, lambda: lab.client.reaches(FIP_A) and lab.client.reaches(FIP_B),
                     f"both FIPs answer again after {name} was deleted")


def test_flows_deleted_by_hand_come_back(lab):
    expected = steps.owned_flows(lab)
    lab.ovs.ofctl("del-flows", lab.bridge, "cookie=0xf164000000000000/0xffff000000000000")
    steps.within(steps.REPAIRED, lambda: steps.owned_flows(lab) == expected, "all flows are back")


def test_one_flow_deleted_by_hand_comes_back(lab):
    expected = steps.owned_flows(lab)
    flow = next(flow for flow in lab.agent.get("/flows") if flow["feature"] == "deliver")
    lab.ovs.ofctl("del-flows", lab.bridge, f"cookie={flow['cookie']}/-1")
    assert steps.owned_flows(lab) != expected
    steps.within(steps.REPAIRED, lambda: steps.owned_flows(lab) == expected, "the flow is back")


def test_damage_that_diff_saw_first_is_repaired_too(lab):
    expected = steps.owned_flows(lab)
    lab.ovs.ofctl("del-flows", lab.bridge, "cookie=0xf164000000000000/0xffff000000000000")
    assert lab.ctl("diff", check=False).returncode in (0, 2)
    steps.within(steps.REPAIRED, lambda: steps.owned_flows(lab) == expected, "all flows are back")


def test_ovs_port_deleted_by_hand_comes_back(lab):
    for name in [name for name in steps.links(lab) if name.startswith("ovs-")]:
        lab.ovs.vsctl("del-port", lab.bridge, name)
    steps.within(steps.REPAIRED, lambda: lab.client.reaches(FIP_A) and lab.client.reaches(FIP_B),
                 "both FIPs answer again")


@pytest.mark.only("tayga")  # with VPP, the kernel routes nothing
def test_routes_and_addresses_deleted_by_hand_come_back(lab):
    core = next(name for name in steps.namespaces(lab) if name.endswith("core"))
    run("ip", "-6", "route", "flush", "table", "all", "type", "unicast", netns=core, check=False)
    steps.within(steps.REPAIRED, lambda: lab.client.reaches(FIP_A) and lab.client.reaches(FIP_B),
                 "both FIPs answer again")


def test_killed_at_20_random_points_of_a_bulk_change_converges_to_the_plan(lab):
    """SIGKILL while up to 40 FIPs of 8 tenants come or go; the starts end exactly at the plan."""
    choose = random.Random(64)
    wanted = {}
    with lab.topology.batch():
        for number in range(8):
            lab.add_tenant(f"t{number}")
    for number in range(8):
        vm = lab.add_vm(f"vm-t{number}", f"t{number}")
        subnet = lab.topology.id("subnets", f"subnet-t{number}")
        for host in range(5):
            fixed = f"10.0.0.{5 + host}"
            if host:
                vm.ip(f"addr add {fixed}/24 dev eth0")
                lab.topology.find("ports", vm.name)["fixed_ips"].append(
                    {"subnet_id": subnet, "ip_address": fixed})
            wanted[f"2001:db8:f::{number + 1:x}:{host}"] = (vm.name, fixed)
    lab.topology.write()
    steps.wait_settled(lab)
    present: set[str] = set()
    for _round in range(20):
        with lab.topology.batch():
            for address in choose.sample(sorted(wanted), choose.randint(1, len(wanted))):
                if address in present:
                    lab.topology.remove_fip(address)
                else:
                    vm_port, fixed = wanted[address]
                    lab.topology.add_fip(address, vm_port, fixed_ip_address=fixed)
                present ^= {address}
        time.sleep(choose.uniform(0, 0.8))
        lab.agent.kill()
        lab.agent.start()
    steps.wait_settled(lab)
    # Active once the gateway has answered the agent that was started last.
    lab.wait_for(lambda: all(row["state"] == "active" for row in lab.agent.get("/fips")), 15, "all is active")
    tenants = {lab.topology.id("routers", f"router-{wanted[address][0].removeprefix('vm-')}")
               for address in present} | {lab.topology.id("routers", f"router-{name}") for name in "ab"}
    assert {row["floating_ip_address"] for row in lab.agent.get("/fips") if row["state"] == "active"} == (
        present | {FIP_A, FIP_B})
    assert steps.tenants(lab) == tenants
    for address in present:
        assert lab.client.reaches(address, 2), address
    with lab.topology.batch():
        for address in present:
            lab.topology.remove_fip(address)
    steps.wait_settled(lab)
    assert len(steps.tenants(lab)) == 2
    assert len(steps.translators(lab)) == (2 if lab.translator == "tayga" else 1)
