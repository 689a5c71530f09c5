# SPDX-License-Identifier: Apache-2.0
"""The steps of a trace that ask Open vSwitch, with real flows in a real ovs-vswitchd (dummy datapath)."""

import contextlib
import tempfile
from ipaddress import IPv6Address

import pytest

from fip64agent.admin import flows as flow_report
from fip64agent.admin.trace import PacketTrace
from fip64agent.plan.planner import plan
from fip64agent.reconcile.explain import NOTE, OK, PacketStopped
from fip64agent.switch.connection.codec import FlowItem
from fip64agent.switch.room import SwitchRoom
from lab.openvswitch import PrivateOvs
from tests.fakes.scripted_agent import ScriptedAgent
from tests.fakes.topologies import add_tenant, add_vm

pytestmark = pytest.mark.needs("ovsdb-server", "ovs-vswitchd", "ovs-vsctl")
BRIDGE = "br-t"
FLOW_STEPS = ("neighbor", "redirect", "deliver", "arp", "answer", "uplink")


@pytest.fixture(scope="module")
def ovs(tmp_path_factory):
    with tempfile.TemporaryDirectory(prefix="f64a-") as directory, PrivateOvs(directory, dummy=True) as ovs:
        ovs.add_bridge(BRIDGE, "fail_mode=secure")
        yield ovs


@pytest.fixture
def agent(ovs):
    agent = ScriptedAgent()
    site = agent.site
    site.change("networks", "uplink-net", external=True)  # so that it may have floating IPs, on-link ones
    add_tenant(site, "green", external="uplink-net")
    add_vm(site, "vm-link", "green", "10.0.0.9", "2001:db8:ffff::77", external="uplink-net")
    agent.open_veths()
    ovs.vsctl(*(word for interface in site.interfaces.values() for word in (
        "--", "--may-exist", "add-port", BRIDGE, interface.name, "--", "set", "interface", interface.name,
        "type=dummy", f"ofport_request={interface.ofport}")))
    switch = SwitchRoom(ovs.db, str(ovs.directory), BRIDGE)
    switch.start()
    agent.rooms["switch"] = switch
    agent.plan()
    items = [item for obj in plan(agent.inputs).objects() for item in switch.expand(obj)
             if isinstance(item, FlowItem)]
    assert switch.apply([(None, item) for item in items]) == {}
    yield agent
    with contextlib.suppress(Exception):
        switch.prune(items)
    switch.close()


def outcomes(agent, fip: str, client: str | None = None) -> dict[str, str]:
    """{step: result, or "stop: reason"} of the steps that look at flows."""
    trace = PacketTrace(agent, fip, IPv6Address(client) if client else None)
    result = {}
    for check in trace.checks():
        if check.name in FLOW_STEPS:
            try:
                result[check.name] = check.look()[0]
            except PacketStopped as stop:
                result[check.name] = f"stop: {stop}"
    return result


@pytest.mark.parametrize("client", [None, "2001:db8:77::1"])
@pytest.mark.parametrize("fip", ["fip-vm-red", "fip-vm-blue", "fip-vm-link"])
def test_all_flows_are_right(agent, fip, client):
    assert outcomes(agent, fip, client) == dict.fromkeys(FLOW_STEPS, OK)


def test_answer_arp_switched_off_is_noted(agent):
    agent.conf.set_override("answer_arp", False, "ovs")
    assert outcomes(agent, "fip-vm-red")["arp"] == NOTE


def test_solicitations_for_an_on_link_floating_ip(agent, ovs):
    assert agent.loop.desired.mappings["fip-vm-link"].on_link
    ovs.ofctl("del-flows", BRIDGE, "icmp6,icmp_type=135")
    found = outcomes(agent, "fip-vm-link")
    assert found.pop("neighbor").startswith("stop: does not reach ovs-nd-")
    assert set(found.values()) == {OK}
    assert outcomes(agent, "fip-vm-red")["neighbor"] == OK  # routed: nobody solicits for it


@pytest.mark.parametrize(("step", "match"), [
    ("redirect", "in_port={fip.uplink_ofport},ipv6"), ("deliver", "in_port={fip.downlink_ofport},ip"),
    ("arp", "arp,arp_tpa=10.0.0.1"), ("answer", "in_port={fip.vm_ofport},ip"),
    ("uplink", "in_port={uplink.veth_ofport},ipv6")])
def test_a_flow_that_is_missing_is_where_it_stops(agent, ovs, step, match):
    desired = agent.loop.desired
    ovs.ofctl("del-flows", BRIDGE, match.format(fip=desired.mappings["fip-vm-red"],
                                                uplink=desired.uplinks["uplink"]))
    found = outcomes(agent, "fip-vm-red")
    assert found.pop(step).startswith("stop: does not reach ")
    assert set(found.values()) == {OK}


def test_a_foreign_flow_that_takes_the_packet_is_shown(agent, ovs):
    ovs.ofctl("add-flow", BRIDGE, "cookie=0x77,priority=60000,in_port=1,ipv6,actions=drop")
    try:
        reason = outcomes(agent, "fip-vm-red")["redirect"]
    finally:
        ovs.ofctl("del-flows", BRIDGE, "cookie=0x77/-1")
    assert "[classifier 60000 foreign, cookie 0x77] ipv6,in_port=1" in reason


def test_flows_by_name(agent):
    rows = flow_report.rows(agent)
    assert {row["feature"] for row in rows} >= {"redirect", "deliver", "back", "arp", "default"}
    (deliver,) = [row for row in rows if row["feature"] == "deliver" and row["object"] == "fip fip-vm-red"]
    assert deliver["table_name"] == "classifier" and "10.0.0.5" in deliver["match"]
    assert all(row["feature"] == "arp" for row in flow_report.select(rows, "arp", "0"))
    assert [row["table"] for row in rows] == sorted(row["table"] for row in rows)
    assert flow_report.select(rows, None, "classifier") == flow_report.select(rows, None, "0") == rows
