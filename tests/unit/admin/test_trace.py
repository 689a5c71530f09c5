# SPDX-License-Identifier: Apache-2.0
"""Traces of a scripted agent: where they stop, and what is reported then."""

import dataclasses
from ipaddress import IPv4Address, IPv6Address

import pytest

from fip64agent.admin.trace import PacketTrace, trace
from fip64agent.reconcile.explain import NOT_REACHED, NOTE, OK, STOP, PacketStopped
from fip64agent.translator.base import TracedPacket
from fip64agent.translator.tayga.links import TaygaLayout
from tests.fakes.scripted_agent import ScriptedAgent


@pytest.fixture
def agent():
    return ScriptedAgent().settle()


def results(agent, fip="fip-vm-red") -> dict[str, str]:
    return {step["name"]: step["result"] for step in trace(agent, fip)["steps"]}


def stop(agent, fip="fip-vm-red") -> tuple[str, str]:
    """(name, detail) of the step where the trace stops; all before it passed, none after it was reached."""
    answer = trace(agent, fip)
    assert not answer["reachable"]
    steps = answer["steps"]
    number = next(number for number, step in enumerate(steps) if step["result"] == STOP)
    assert all(step["result"] in (OK, NOTE) for step in steps[:number])
    assert all(step["result"] == NOT_REACHED for step in steps[number + 1:])
    assert answer["stops_at"] == steps[number]["name"]
    return steps[number]["name"], steps[number]["detail"]


def test_a_floating_ip_that_is_down(agent):
    agent.site.change("floatingips", "fip-vm-red", port_id=None)
    agent.settle()
    assert stop(agent) == ("fip", "down: not associated with a port")


def test_a_floating_ip_of_another_host(agent):
    del agent.site.interfaces["tap-vm-red"]
    agent.settle()
    assert stop(agent) == ("fip", "pending: port vm-red is not bound on this host")


def test_a_floating_ip_in_error_is_walked_on_to_find_out_where(agent):
    agent.rooms["switch"].refuses["switch of fip fip-vm-red"] = "table full"
    agent.rooms["switch"].installed.pop("switch of fip fip-vm-red")
    agent.loop.invalidate("switch")
    agent.loop.step()
    found = results(agent)
    assert (found["fip"], found["ports"], found["neighbor"], found["redirect"]) == (NOTE, OK, OK, STOP)


def test_a_veth_that_ovs_has_not_opened(agent):
    downlink = agent.loop.desired.tenants["red"].interface
    agent.site.change("interfaces", downlink, ofport=None, error="no such device")
    agent.plan()
    agent.loop.step()
    assert stop(agent) == ("ports", f"Open vSwitch has not opened {downlink}: no such device")


def test_a_switch_that_cannot_be_asked(agent):
    agent.rooms["switch"].down = "ovs-vswitchd does not answer"
    name, detail = stop(agent)
    assert (name, detail) == ("redirect", "cannot be looked at: ovs-vswitchd does not answer")


def test_a_namespace_that_is_gone_stops_it_at_the_route(agent):
    veth = agent.loop.desired.uplinks["uplink"].veth_ofport
    agent.rooms["switch"].traces[1] = f" 0. ipv6,in_port=1, priority 40000\n    output:{veth}\n"
    agent.rooms["links"].layout = TaygaLayout("f64-no-such-")
    agent.settle()
    assert stop(agent) == ("route", "network namespace f64-no-such-core does not exist")


def traced(agent, client=None) -> PacketTrace:
    return PacketTrace(agent, "fip-vm-red", IPv6Address(client) if client else None)


def make_check(agent, name: str):
    """Make one check of a trace."""
    (check,) = [check for check in traced(agent).checks() if check.name == name]
    return check.look()


def test_the_default_client_is_on_the_uplink_s_link(agent):
    assert traced(agent).client in agent.loop.desired.uplinks["uplink"].onlink[0]
    assert str(traced(agent, "2001:db8:77::1").client) == "2001:db8:77::1"


def test_the_translator_s_mapping_is_read_back(agent):
    translator = agent.rooms["translator"]
    assert make_check(agent, "translate")[0] == OK
    translator.trouble = "tayga is stopped"
    assert make_check(agent, "translate")[0] == NOTE
    installed = translator.installed.pop("translator of tenant red")
    with pytest.raises(PacketStopped, match="translator of tenant red is not there"):
        make_check(agent, "translate")
    translator.installed[installed.key] = dataclasses.replace(installed, value="old")
    with pytest.raises(PacketStopped, match="is there, but not as planned"):
        make_check(agent, "translate")
    translator.down = "tayga is not installed"
    with pytest.raises(PacketStopped, match=r"^tayga is not installed$"):
        make_check(agent, "translate")


def test_the_client_s_binding_is_what_the_trace_goes_on_with(agent):
    assert "none of this client is known" in make_check(agent, "client")[2]
    agent.rooms["translator"].bind("red", "2001:db8:77::1", "100.64.0.9")
    found = traced(agent, "2001:db8:77::1")
    (client,) = [check for check in found.checks() if check.name == "client"]
    assert client.look()[2] == "100.64.0.9"
    assert found.packet.pool_address == IPv4Address("100.64.0.9")


def test_live_packets_that_cannot_be_shown(agent):
    answer = trace(agent, "fip-vm-red", live=5)
    assert answer["seen"] is None and answer["live_problem"] == "tayga shows no packets" and answer["steps"]


def test_live_packets(agent):
    agent.rooms["translator"].seen = [TracedPacket(0.5, ("way", "told"))]
    assert trace(agent, "fip-vm-red", live=5)["seen"] == [{"seconds": 0.5, "lines": ["way", "told"]}]
    assert trace(agent, "fip-vm-red")["seen"] is None
    del agent.site.interfaces["tap-vm-red"]
    agent.settle()
    assert trace(agent, "fip-vm-red", live=5)["seen"] is None  # not here


def test_every_step_has_a_name_of_its_own(agent):
    names = [check.name for check in traced(agent).checks()]
    assert len(set(names)) == len(names) == 14
