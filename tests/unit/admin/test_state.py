# SPDX-License-Identifier: Apache-2.0
"""The state of every object, and the reason: all that can be the matter with one."""

import dataclasses

import pytest

from fip64agent.admin.listings import uplinks
from fip64agent.admin.state import DOWN, State, States
from fip64agent.links.gateways import Reachability
from fip64agent.plan.desired import ACTIVE, ERROR, PENDING
from fip64agent.plan.inputs import Interface
from tests.fakes import topologies
from tests.fakes.scripted_agent import ScriptedAgent

RED, BLUE = "fip-vm-red", "fip-vm-blue"


@pytest.fixture
def agent():
    return ScriptedAgent().settle()


def states(agent) -> States:
    return States(agent)


def refuse(agent, room, key, reason="no such device"):
    """Make one item fail, as from the start."""
    agent.rooms[room].refuses[key] = reason
    agent.rooms[room].installed.pop(key, None)
    agent.loop.invalidate(room)
    agent.loop.step()


def test_all_is_active_when_all_is_carried_out(agent):
    now = states(agent)
    assert [list(now.all(kind)) for kind in ("uplink", "tenant", "fip")] == [
        [("uplink", State(ACTIVE))], [("blue", State(ACTIVE)), ("red", State(ACTIVE))],
        [(BLUE, State(ACTIVE)), (RED, State(ACTIVE))]]


def test_nothing_is_known_before_the_first_topology():
    now = states(ScriptedAgent())
    assert [now.names(kind) for kind in ("uplink", "tenant", "fip")] == [[], [], []]


def test_a_plan_that_no_pass_has_carried_out_is_pending():
    agent = ScriptedAgent()
    agent.open_veths()
    agent.plan()
    for room in agent.loop._states:
        room.blocked = None
    assert states(agent).state("fip", RED) == State(PENDING, "is being installed")
    agent.loop.step()
    assert states(agent).state("fip", RED).state == ACTIVE


def test_a_blocked_room_makes_all_pending_and_is_named(agent):
    agent.rooms["switch"].down = "ovs-vswitchd does not answer"
    agent.loop.invalidate("switch")
    agent.loop.step()
    now = states(agent)
    expected = State(PENDING, "switch: ovs-vswitchd does not answer")
    assert {now.state("fip", RED), now.state("tenant", "red"), now.state("uplink", "uplink")} == {expected}


def test_an_interface_that_ovs_has_not_opened_is_waited_for():
    agent = ScriptedAgent()
    agent.plan()
    agent.loop.step()
    veth = agent.loop.desired.uplinks["uplink"].veth
    waits = State(PENDING, f"waits for Open vSwitch to open interface {veth}")
    assert states(agent).state("uplink", "uplink") == waits
    assert states(agent).state("fip", RED).state == PENDING


def test_the_downlink_is_waited_for_by_its_tenant_s_floating_ips_alone(agent):
    downlink = agent.loop.desired.tenants["red"].interface
    agent.site.change("interfaces", downlink, ofport=None)
    agent.plan()
    agent.loop.step()
    now = states(agent)
    assert now.state("fip", RED) == State(PENDING, f"waits for Open vSwitch to open interface {downlink}")
    assert now.state("fip", BLUE).state == ACTIVE


def test_an_interface_that_ovs_cannot_open_is_an_error():
    agent = ScriptedAgent()
    agent.plan()
    veth = agent.loop.desired.uplinks["uplink"].veth
    agent.site.add(Interface(veth, None, error="could not open network device"))
    agent.plan()
    agent.loop.step()
    assert states(agent).state("uplink", "uplink") == State(
        ERROR, f"Open vSwitch cannot open interface {veth}: could not open network device")


@pytest.mark.parametrize(("room", "key", "hit"), [
    ("switch", "switch of fip fip-vm-red", {RED}),
    ("switch", "switch of gateway vm-red 10.0.0.1", {RED}),
    ("translator", "translator of tenant red", {RED}),
    ("links", "links of uplink uplink", {RED, BLUE}),
    ("links", "links of host", {RED, BLUE}),
])
def test_a_failure_hits_what_stands_on_it_and_nothing_else(agent, room, key, hit):
    refuse(agent, room, key)
    now = states(agent)
    reason = f"{room} cannot install {key}: no such device"
    for fip in (RED, BLUE):
        assert now.state("fip", fip) == (State(ERROR, reason) if fip in hit else State(ACTIVE))


def test_a_failure_of_the_host_hits_uplinks_and_tenants_too(agent):
    refuse(agent, "links", "links of host")
    now = states(agent)
    assert now.state("uplink", "uplink").state == now.state("tenant", "blue").state == ERROR


def test_several_failures_are_counted(agent):
    refuse(agent, "switch", "switch of fip fip-vm-red", "table full")
    refuse(agent, "links", "links of fip fip-vm-red")
    assert states(agent).state("fip", RED).reason.endswith("(and 1 more failures)")


def test_an_error_beats_pending(agent):
    refuse(agent, "switch", "switch of fip fip-vm-red", "table full")
    agent.rooms["links"].down = "netlink is gone"
    agent.loop.invalidate("links")
    agent.loop.step()
    assert states(agent).state("fip", RED).state == ERROR
    assert states(agent).state("fip", BLUE) == State(PENDING, "links: netlink is gone")


def test_what_cannot_be_removed_is_an_error_of_its_object(agent):
    switch = agent.rooms["switch"]
    switch.installed["old"] = dataclasses.replace(switch.installed["switch of fip fip-vm-red"], key="old")
    switch.refuses["old"] = "busy"
    agent.loop.invalidate("switch")
    agent.loop.step()
    assert states(agent).state("fip", RED) == State(ERROR, "switch cannot remove old: busy")
    assert states(agent).state("fip", BLUE).state == ACTIVE


def test_a_floating_ip_without_a_port_is_down(agent):
    agent.site.change("floatingips", RED, port_id=None)
    agent.settle()
    assert states(agent).state("fip", RED) == State(DOWN, "not associated with a port")


def test_the_plan_s_problem_is_the_reason(agent):
    del agent.site.interfaces["tap-vm-red"]
    agent.settle()
    state = states(agent).state("fip", RED)
    assert state == State(PENDING, "port vm-red is not bound on this host")
    agent.site.change("floatingips", RED, port_id="nobody")
    agent.settle()
    assert states(agent).state("fip", RED) == State(ERROR, "port_id: no port has the id 'nobody'")


def test_an_uplink_that_is_nothing_but_a_problem_is_listed(agent):
    agent.site.change("networks", "uplink-net", mtu=1279)
    agent.settle()
    now = states(agent)
    assert now.names("uplink") == ["uplink"]
    assert now.state("uplink", "uplink").state == ERROR and "1279" in now.state("uplink", "uplink").reason


def test_what_is_at_fault_is_told_with_the_state_of_all_that_stand_on_it(agent):
    def causes():
        now = states(agent)
        return tuple(now.state(kind, name).cause for kind, name in
                     (("uplink", "uplink"), ("tenant", "red"), ("fip", RED)))

    assert causes() == (None, None, None)
    refuse(agent, "links", "links of uplink uplink")
    assert causes() == (None, None, ("uplink", "uplink")), "the uplink itself, and it for its floating IP"
    refuse(agent, "switch", f"switch of fip {RED}")
    assert causes()[2] is None, "its own fault comes first"
    refuse(agent, "links", "links of host")
    assert causes()[1] == ("host",) and states(agent).state("fip", BLUE).cause == ("host",)


def test_a_room_that_cannot_work_is_at_fault(agent):
    agent.rooms["switch"].down = "ovs-vswitchd does not answer"
    now = states(agent)
    assert {now.state("fip", RED).cause, now.state("uplink", "uplink").cause} == {("room", "switch")}


# -- gateways -------------------------------------------------------------------------------------

GATEWAY, SECOND = "2001:db8:ffff::1", "2001:db8:ffff::9"
DEAD_SINCE = 1_800_000_000.0


def with_second_gateway(agent):
    """Give the uplink's subnet a route to elsewhere by another gateway."""
    agent.site.change("subnets", "uplink-v6", host_routes=topologies.routes(("2001:db8:e::/48", SECOND)))
    return agent.settle()


def test_an_uplink_whose_gateway_is_silent_is_in_error_and_all_that_stands_on_it(agent):
    agent.gateways.known[GATEWAY] = Reachability(False, DEAD_SINCE)
    now = states(agent)
    expected = State(ERROR, f"gateway {GATEWAY} of uplink uplink does not answer Neighbor Solicitations "
                            "(since 2027-01-15T08:00:00+00:00)")
    assert {now.state("uplink", "uplink"), now.state("fip", RED), now.state("fip", BLUE)} == {expected}
    assert now.state("tenant", "red") == State(ACTIVE)
    assert uplinks.silent(now, "uplink") == expected.reason


def test_an_uplink_waits_for_the_first_answer_of_its_gateway(agent):
    agent.gateways.known[GATEWAY] = Reachability(None)
    now = states(agent)
    expected = State(PENDING, f"waits for gateway {GATEWAY} of uplink uplink to answer Neighbor "
                              "Solicitations")
    assert {now.state("uplink", "uplink"), now.state("fip", RED)} == {expected}
    assert uplinks.silent(now, "uplink") == ""


def test_one_living_gateway_is_enough(agent):
    with_second_gateway(agent)
    agent.gateways.known[SECOND] = Reachability(False, DEAD_SINCE)
    now = states(agent)
    assert now.state("uplink", "uplink") == now.state("fip", RED) == State(ACTIVE)
    assert uplinks.silent(now, "uplink").startswith(f"gateway {SECOND} of uplink uplink does not answer")
    agent.gateways.known[SECOND] = Reachability(None)
    assert states(agent).state("uplink", "uplink") == State(ACTIVE)


def test_without_a_living_gateway_one_that_is_not_known_is_waited_for(agent):
    with_second_gateway(agent)
    agent.gateways.known |= {GATEWAY: Reachability(False, DEAD_SINCE), SECOND: Reachability(None)}
    assert states(agent).state("uplink", "uplink") == State(
        PENDING, f"waits for gateway {SECOND} of uplink uplink to answer Neighbor Solicitations")
    agent.gateways.known[SECOND] = Reachability(False, DEAD_SINCE + 60)
    assert states(agent).state("uplink", "uplink") == State(
        ERROR, f"gateways {GATEWAY} and {SECOND} of uplink uplink do not answer Neighbor Solicitations "
               "(since 2027-01-15T08:01:00+00:00)")


def test_an_uplink_without_next_hops_needs_no_gateway(agent):
    agent.site.change("subnets", "uplink-v6", gateway_ip=None)
    agent.settle()
    agent.gateways.known[GATEWAY] = Reachability(False, DEAD_SINCE)
    assert states(agent).state("uplink", "uplink") == State(ACTIVE)


def test_where_nobody_watches_the_gateway_an_uplink_is_active(agent):
    agent.gateways.known[GATEWAY] = None
    assert states(agent).state("uplink", "uplink") == State(ACTIVE)
    assert uplinks.next_hops(states(agent), "uplink") == {}


@pytest.mark.parametrize("amiss", ["room", "item"])
def test_a_gateway_is_not_blamed_while_the_way_there_is_not_installed(agent, amiss):
    agent.gateways.known[GATEWAY] = Reachability(False, DEAD_SINCE)
    if amiss == "room":
        agent.rooms["switch"].down = "ovs-vswitchd does not answer"
        agent.loop.invalidate("switch")
        agent.loop.step()
        expected = State(PENDING, "switch: ovs-vswitchd does not answer")
    else:
        refuse(agent, "links", "links of uplink uplink")
        expected = State(ERROR, "links cannot install links of uplink uplink: no such device")
    assert states(agent).state("uplink", "uplink") == expected
    assert uplinks.silent(states(agent), "uplink") == ""
