# SPDX-License-Identifier: Apache-2.0
"""VPP and the agent under bad luck: broken plugins, deaths at any moment, many interfaces."""

import os
import random
import re
import signal
import time

import pytest

from fip64agent.translator.vpp.api import messages
from lab import vpp
from lab.host import FIP_A, FIP_B
from lab.shell import run
from tests.e2e import steps

pytestmark = pytest.mark.only("vpp")

READS = re.compile(r"(_dump|_get|_get_table|_version)$|^(get_api_json|control_ping|want_\w+|cli_inband)$")
"""Messages that change nothing. cli_inband: `show` commands, and one that must fail."""


@pytest.fixture
def lab(make_lab):
    lab = make_lab(agent=True)
    lab.wait_reachable(FIP_A, FIP_B)
    steps.wait_settled(lab)
    return lab


def the_vpp(lab) -> int:
    (pid,) = steps.translators(lab)
    return pid


def api_messages(lab) -> list[str]:
    """Names of the messages that VPP got since its trace was begun."""
    name = f"f64-{lab.prefix}{os.getpid()}.api"  # VPP takes no directory: it writes to /tmp
    saved = re.search(r"saved to (\S+)", steps.vppctl(lab, f"api trace save {name}"))[1]
    try:
        shown = steps.vppctl(lab, f"api trace dump file {saved}")
    finally:
        os.unlink(saved)
    return re.findall(r"(?m)^vl_api_(\w+)_t:", shown)


def test_an_agent_that_was_killed_sends_nothing_but_questions_at_its_next_start(lab):
    """VPP's own record of its API."""
    pings = [lab.client.start_ping(address, interval=0.01) for address in (FIP_A, FIP_B)]
    lab.agent.kill()
    for command in ("api trace free", "api trace on nitems 100000"):
        steps.vppctl(lab, command)
    lab.agent.start()
    steps.wait_settled(lab)
    asked = api_messages(lab)
    assert "fip64_mapping_dump" in asked and "sw_interface_dump" in asked, asked
    assert [name for name in asked if not READS.search(name)] == []
    for running in pings:
        answer = running.stop()
        assert answer.ok and answer.sent > 50, answer
    # The record tells of changes too, or it would prove nothing.
    lab.topology.remove_fip(FIP_B)
    lab.wait_for(lambda: not steps.fip(lab, FIP_B), 5, "FIP B goes")
    steps.wait_settled(lab)
    assert "fip64_mapping_add_del" in api_messages(lab)


def of_another_vpp(content: bytes) -> bytes:
    said = run(str(vpp.find().binary), "--version").stdout
    version = re.search(r"vpp v(\S+)", said)[1].encode()
    assert version in content
    return content.replace(version, b"1" + version[1:])


def of_another_api(content: bytes) -> bytes:
    ours = f"fip64_mapping_add_del_{messages.FIP64['fip64_mapping_add_del']}".encode()
    assert content.count(ours) >= 1
    return content.replace(ours, b"fip64_mapping_add_del_deadbeef")


@pytest.mark.parametrize(("alter", "words"), [
    (of_another_vpp, "version mismatch"),
    (of_another_api, "fip64_mapping_add_del 0xdeadbeef"),
])
def test_a_plugin_of_another_build_is_named_and_the_right_one_heals(make_lab, short_tmp, alter, words):
    found = vpp.find()
    plugin = short_tmp / vpp.PLUGIN
    plugin.write_bytes(alter(found.plugin.read_bytes()))
    lab = make_lab(agent=True, config={"vpp": {"plugin_path": str(short_tmp)}})
    reported = lab.wait_for(lambda: next((line for line in lab.ctl("status", check=False).stdout.splitlines()
                                      if words in line), None), 20, "status tells what is wrong")
    print(f"\n{reported.strip()}")
    assert lab.ctl("status", check=False).returncode == 1
    assert words in lab.agent.log()
    assert steps.fip(lab, FIP_A)["state"] != "active"
    if alter is of_another_api:  # that VPP runs: it is replaced when the operator says so
        plugin.with_suffix(".new").write_bytes(found.plugin.read_bytes())
        plugin.with_suffix(".new").rename(plugin)
        os.kill(the_vpp(lab), signal.SIGTERM)
    else:
        plugin.with_suffix(".new").write_bytes(found.plugin.read_bytes())
        plugin.with_suffix(".new").rename(plugin)
    lab.wait_reachable(FIP_A, FIP_B, seconds=30)
    steps.wait_settled(lab)
    assert lab.ctl("status", check=False).returncode == 0


def test_vpp_is_restarted_however_often_it_dies(lab):
    for number in (signal.SIGKILL, signal.SIGABRT, signal.SIGTERM):
        victim = the_vpp(lab)
        os.kill(victim, number)
        lab.wait_for(lambda victim=victim: set(steps.translators(lab)) - {victim}, 10, "another VPP runs")
        lab.wait_reachable(FIP_A, FIP_B, seconds=15)
    status = lab.agent.get("/status")["translator_details"]
    assert status["restarts"] == 3, status
    log = lab.agent.log()
    assert all(name in log for name in ("SIGKILL", "SIGABRT", "SIGTERM")), lab.agent.log_tail(20)


def test_the_agent_killed_at_random_points_of_vpps_start_leaves_one_vpp_and_all_traffic(lab):
    choose = random.Random(64)
    for _round in range(8):
        for pid in steps.translators(lab):
            os.kill(pid, signal.SIGKILL)
        time.sleep(choose.uniform(0, 0.7))
        lab.agent.kill()
        lab.agent.start(wait=0)
        time.sleep(choose.uniform(0, 2.5))
        if choose.random() < 0.5:
            lab.agent.kill()
            lab.agent.start(wait=0)
    lab.agent.wait_ready()
    lab.wait_reachable(FIP_A, FIP_B, seconds=20)
    steps.wait_settled(lab)
    assert len(steps.translators(lab)) == 1
    assert lab.ctl("status", check=False).returncode == 0


def test_the_link_of_vpp_is_unplugged_by_an_operator_and_its_interfaces_set_down(lab):
    shown = steps.vppctl(lab, "show interface")
    names = re.findall(r"(?m)^(host-vpp-\S+)", shown)
    assert len(names) >= 2, shown
    for name in names:
        steps.vppctl(lab, f"set interface state {name} down")
        steps.within(steps.REPAIRED, lambda: lab.client.reaches(FIP_A) and lab.client.reaches(FIP_B),
                     f"both FIPs answer again after {name} was set down")
    steps.vppctl(lab, f"delete host-interface name {names[0].removeprefix('host-')}")
    steps.within(steps.REPAIRED, lambda: lab.client.reaches(FIP_A) and lab.client.reaches(FIP_B),
                 f"both FIPs answer again after {names[0]} was deleted")
    steps.wait_settled(lab)


def test_two_uplinks_and_one_of_them_goes_and_comes(lab):
    """Each floating IP answers by its own uplink, from a table of its own."""
    lab.add_uplink("uplink2", "2001:db8:200::/64", router="edge2")
    lab.add_tenant("c", "10.3.0.0/24", external="uplink2-net")
    lab.add_vm("vm-c", "c", "10.3.0.9", serve=True)
    other = "2001:db8:200::9"
    lab.topology.add_fip(other, "vm-c")
    lab.wait_reachable(other)
    for _ in range(3):
        running = lab.client.start_ping(FIP_A)
        lab.unbind("uplink2")
        lab.wait_for(lambda: steps.fip(lab, other)["state"] == "pending", 5, "its FIP waits")
        steps.wait_settled(lab)
        assert not lab.client.reaches(other)
        lab.bind("uplink2")
        lab.wait_reachable(other, seconds=5)
        answer = running.stop()
        assert answer.ok, f"the other uplink's traffic lost {answer.lost}"
    steps.wait_settled(lab)
    assert steps.vppctl(lab, "show interface").count("host-vpp-") == 3 + 3  # and a sub-interface per tenant


def test_101_uplinks_come_and_go(lab):
    """MidoNet's test of many interfaces, through the agent."""
    names = [f"many{number}" for number in range(100)]
    with lab.topology.batch():
        for number, name in enumerate(names):
            lab.add_uplink(name, f"2001:db8:{0x1000 + number:x}::/64", router=f"router-{name}", bind=False)
    running = lab.client.start_ping(FIP_A)
    lab.bind(*names)
    lab.wait_for(lambda: [row["state"] for row in lab.agent.get("/uplinks")] == ["active"] * 101, 240,
                 "101 uplinks are active")
    steps.wait_settled(lab, 120)
    for name in names[::9]:
        assert lab.upstream.reaches(lab.uplinks[name]["address"], 3), name
    lab.unbind(*names)
    lab.wait_for(lambda: len(lab.agent.get("/uplinks")) == 1, 120, "100 uplinks go")
    steps.wait_settled(lab, 120)
    answer = running.stop()
    print(f"\nwhile 100 uplinks came and went: lost {len(answer.lost)} of {answer.sent}, longest "
          f"{answer.rtt_max:.0f} ms")
    slow = [line for line in lab.agent.log().splitlines() if "does not answer" in line]
    print(f"VPP was silent for longer than a probe waits {len(slow)} times")
    assert lab.agent.get("/status")["translator_details"]["restarts"] == 0, "a VPP that is busy has not hung"
    # VPP's thread forwards between two interfaces, not while it makes or removes one (40 ms, longer if busy).
    assert len(answer.lost) < answer.sent / 10, f"lost {len(answer.lost)} of {answer.sent}"
    assert len(set(re.findall(r"host-vpp-\w+", steps.vppctl(lab, "show interface")))) == 2
    assert len([name for name in steps.links(lab) if name.startswith("vpp-")]) == 2


def test_60_tenants_come_and_go(lab):
    names = [f"t{number}" for number in range(60)]
    before = steps.vpp_state(lab)
    with lab.topology.batch():
        for name in names:
            lab.add_tenant(name)
    vms = [lab.add_vm(f"vm-{name}", name, bind=False) for name in names]
    with lab.topology.batch():
        for number, name in enumerate(names):
            lab.topology.add_fip(f"2001:db8:f::1:{number:x}", f"vm-{name}")
    running = lab.client.start_ping(FIP_A)
    lab.bind(*(vm.name for vm in vms))
    lab.wait_for(lambda: [row["state"] for row in lab.agent.get("/fips")] == ["active"] * 62, 30, "62 FIPs")
    assert all(lab.client.reaches(f"2001:db8:f::1:{number:x}", 5) for number in range(0, 60, 7))
    assert len(steps.tenants(lab)) == 62
    with lab.topology.batch():
        for number in range(60):
            lab.topology.remove_fip(f"2001:db8:f::1:{number:x}")
    lab.wait_for(lambda: len(steps.tenants(lab)) == 2, 30, "60 tenants go")
    steps.wait_settled(lab)
    answer = running.stop()
    assert answer.ok, f"tenant a lost {len(answer.lost)} of {answer.sent}"
    assert steps.vpp_state(lab) == before


def test_somebody_elses_vpp_on_this_host_is_none_of_ours(lab, short_tmp):
    with vpp.Vpp(short_tmp / "theirs", netns=lab.host) as theirs:
        theirs.cli("create loopback interface", check=True)
        os.kill(the_vpp(lab), signal.SIGKILL)
        lab.wait_reachable(FIP_A, FIP_B)
        lab.agent.restart()
        lab.wait_reachable(FIP_A, FIP_B)
        lab.agent.stop()
        run(*lab.agent.command("fip64-cleanup"))
        assert not steps.translators(lab)
        assert theirs.running and "loop0" in theirs.cli("show interface")
