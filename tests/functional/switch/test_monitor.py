# SPDX-License-Identifier: Apache-2.0
"""What others do to our flows on a real OVS: noticed at once, whether their number changes or not."""

import dataclasses
from collections.abc import Callable

import pytest

from fip64agent import hub
from fip64agent.plan.desired import Desired, Gateway, Host, Mapping64
from fip64agent.reconcile.loop import Loop
from fip64agent.switch.examples import GATEWAY, HOST, MAPPING
from lab.openvswitch import PrivateOvs
from tests.functional.switch.conftest import BRIDGE, OURS, until

COOKIE = "cookie=0xf164050000000000"
"""As ours, of nobody."""
VM = f"output:{MAPPING.vm_ofport}"


def desired(host: Host, mapping: Mapping64 | None = None, gateway: Gateway | None = None) -> Desired:
    return Desired.of_objects(filter(None, (host, mapping, gateway)))


class Site:
    """A room under a loop, as in the agent, with its flows installed."""

    def __init__(self, bench) -> None:
        self.ovs: PrivateOvs = bench.ovs
        self.flows: Callable[..., list[str]] = bench.flows
        self.room = bench.room(probe_interval=2)
        self.loop = Loop([self.room], audit_interval=10_000)
        self.room._on_change = lambda: self.loop.invalidate("switch")
        self._thread = hub.spawn(self.loop.run)
        self.loop.submit(desired(HOST, MAPPING, GATEWAY))
        until(lambda: self.loop.settled, what="settled")
        hub.sleep(0.3)
        self.passes = self.loop.passes

    def ours(self) -> list[str]:
        """But the default flow, which another system may have."""
        return [flow for flow in self.flows(OURS) if not flow.endswith("=NORMAL")]

    def victim(self) -> str:
        """The match, with table and priority, of our flow to the VM, as ovs-ofctl takes it."""
        (flow,) = (flow for flow in self.ours() if flow.endswith(VM) and "nw_dst=" in flow)
        return flow.split(", ", 1)[1].split(" actions=")[0].replace(", ", ",")

    def close(self) -> None:
        self._thread.kill()


@pytest.fixture
def site(bench):
    made = Site(bench)
    yield made
    made.close()


def replace(site, directory) -> None:
    """As ovs-save does it: the same flows, but one of them with a port number of yesterday."""
    saved = site.ovs.ofctl("dump-flows", BRIDGE, "--no-stats", "--no-names").stdout
    changed = saved.replace(VM, "output:77")
    assert changed != saved
    path = directory / "saved"
    path.write_text("\n".join(line for line in changed.splitlines() if "actions=" in line))
    site.ovs.ofctl("replace-flows", BRIDGE, str(path), "--bundle")


CHANGES = {
    "modified": lambda site, _: site.ovs.ofctl(
        "mod-flows", BRIDGE, f"{site.victim()},actions=drop", "--strict"),
    "restored with a stale port": replace,
    "overwritten with our cookie": lambda site, _: site.ovs.ofctl(
        "add-flow", BRIDGE, f"{COOKIE},{site.victim()},actions=drop"),
    "one deleted and one added": lambda site, _: (
        site.ovs.ofctl("del-flows", BRIDGE, site.victim(), "--strict"),
        site.ovs.ofctl("add-flow", BRIDGE, f"{COOKIE},priority=40000,in_port=5,actions=drop")),
    "deleted": lambda site, _: site.ovs.ofctl("del-flows", BRIDGE, OURS),
    "flushed for a first controller": lambda site, _: (
        site.ovs.vsctl("set", "bridge", BRIDGE, "fail_mode=secure"),
        site.ovs.vsctl("set-controller", BRIDGE, f"unix:{site.ovs.directory}/none")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_others_do_to_our_flows_is_repaired(site, short_tmp, what):
    before = site.ours()
    CHANGES[what](site, short_tmp)
    assert site.ours() != before
    seconds = until(lambda: site.ours() == before, seconds=10, what="repaired")
    print(f"{what}: repaired after {seconds:.2f} s")
    until(lambda: site.loop.settled)
    assert not site.loop.failures


def test_a_flow_that_others_put_in_the_place_of_ours_is_told_until_it_goes(site):
    before = site.ours()
    site.ovs.ofctl("add-flow", BRIDGE, f"cookie=0xabc,{site.victim()},actions=drop")
    until(lambda: site.loop.failures, seconds=10, what="told")
    (failure,) = site.loop.failures
    assert "another system has a flow with the same table, priority and match" in failure.reason
    site.ovs.ofctl("del-flows", BRIDGE, "cookie=0xabc/-1")
    until(lambda: site.ours() == before, seconds=10, what="ours is back")
    until(lambda: not site.loop.failures)


def test_our_own_changes_cause_no_further_pass(site):
    moved = dataclasses.replace(MAPPING, vm_mac="fa:16:3e:00:00:66")
    for plan in (desired(HOST, moved, GATEWAY), desired(HOST), desired(HOST, MAPPING, GATEWAY)):
        before = site.loop.passes
        site.loop.submit(plan)
        until(lambda: site.loop.settled)
        hub.sleep(0.5)
        assert site.loop.passes == before + 1


def test_flows_of_others_that_are_none_of_our_business_cause_no_pass(site):
    for flow in ("priority=7,in_port=3,actions=drop", "table=60,priority=40000,actions=drop",
                 "priority=40000,in_port=3,actions=drop"):
        site.ovs.ofctl("add-flow", BRIDGE, f"cookie=0xabc,{flow}")
    hub.sleep(0.5)
    site.ovs.ofctl("del-flows", BRIDGE, "cookie=0xabc/-1")
    hub.sleep(0.5)
    assert site.loop.passes == site.passes


@pytest.mark.parametrize("what", ["modified", "deleted", "one deleted and one added"])
def test_reports_that_the_switch_had_to_hold_back_are_made_up_for(site, short_tmp, what):
    """More of them than its buffer takes, while the agent does not read."""
    before = site.ours()
    path = short_tmp / "many"
    path.write_text("".join(f"cookie=0xabc,priority=5,in_port={number},ip,nw_src=192.0.2.0/24,actions=drop\n"
                            for number in range(1, 12_001)))
    site.ovs.ofctl("add-flows", BRIDGE, str(path), "--bundle")
    CHANGES[what](site, short_tmp)
    until(lambda: site.ours() == before, seconds=30, what="repaired")


def test_the_watch_is_taken_up_again_after_a_restart(site, caplog):
    caplog.set_level("INFO", "fip64agent.switch.connection.app")
    site.ovs.restart_vswitchd()
    until(lambda: "connected to the bridge" in caplog.text and site.loop.settled and site.ours(), what="back")
    hub.sleep(0.5)
    before = site.ours()
    CHANGES["modified"](site, None)
    until(lambda: site.ours() == before, seconds=10, what="repaired")
