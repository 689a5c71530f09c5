# SPDX-License-Identifier: Apache-2.0
"""The API's answers: what the operator reads, and that making them holds up nobody."""

import dataclasses
import time
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from fip64agent import hub
from fip64agent.admin import clients, flows, render, report
from fip64agent.admin.listings import floatingips, uplinks
from fip64agent.admin.state import States
from fip64agent.exceptions import TopologyError
from fip64agent.links.gateways import Reachability
from fip64agent.plan.desired import NOTHING, Host
from fip64agent.plan.inputs import Datapath, Inputs, Interface
from fip64agent.plan.planner import plan
from fip64agent.switch import pipeline
from fip64agent.switch.features import features
from fip64agent.topology.model import KINDS, Finding, FloatingIP, Network, Port, Unreadable
from fip64agent.topology.resources import Resources
from fip64agent.translator import Choice
from fip64agent.translator.base import About, ClientBinding
from tests.fakes import topologies
from tests.fakes.scripted_agent import ScriptedAgent


@pytest.fixture
def agent():
    return ScriptedAgent().settle()


def texts(agent) -> list[str]:
    return [f"{problem['severity']}: {problem['text']}" for problem in report.status(agent)["problems"]]


def test_nothing_yet():
    assert texts(ScriptedAgent()) == [
        "pending: no topology was read yet from /etc/fip64agent/topology.yaml",
        "pending: links waits for the first pass", "pending: translator waits for the first pass",
        "pending: switch waits for the first pass"]


def test_no_topology_at_all_is_an_error():
    agent = ScriptedAgent()
    agent.topology_error = TopologyError(["/etc/t.yaml: No such file or directory"])
    (problem, *_others) = report.status(agent)["problems"]
    assert problem["text"] == "the topology in /etc/fip64agent/topology.yaml is refused; none is in force"
    assert problem["details"] == ["/etc/t.yaml: No such file or directory"]
    assert report.status(agent)["state"] == "error"


def test_a_silent_gateway_is_the_first_thing_reported(agent):
    """Before all else that is wrong with the agent, and before what is wrong because of it."""
    agent.topology_error = TopologyError(["/etc/t.yaml: No such file or directory"])
    agent.rooms["translator"].trouble = "tayga of router red (pid 7) is stopped (state T)"
    agent.gateways.known["2001:db8:ffff::1"] = Reachability(False, 0.0)
    found = texts(agent)
    assert "gateway 2001:db8:ffff::1 of uplink uplink does not answer Neighbor Solicitations" in found[0]
    assert found[0].startswith("error: uplink in error: ")
    assert "the topology in" in "".join(found[1:]) and "tayga of router red" in "".join(found[1:])
    (row,) = report.objects(agent, uplinks.LISTING)
    assert row["gateways"] == {"2001:db8:ffff::1": "dead"}
    agent.gateways.known["2001:db8:ffff::1"] = Reachability(None)
    assert report.objects(agent, uplinks.LISTING)[0]["gateways"] == {"2001:db8:ffff::1": "unknown"}


def test_silent_gateways_of_several_uplinks_are_one_sentence(agent):
    gateway = "2001:db8:eeee::1"
    agent.site.add(
        Network("other-net", mtu=1500),
        topologies.subnet("other-v6", "other-net", "2001:db8:eeee::/64", gateway),
        Port("other", "other-net", topologies.mac(9), device_owner=topologies.ROUTER_GATEWAY,
             device_id="edge", fixed_ips=(topologies.fixed("other-v6", "2001:db8:eeee::2"),)),
        Interface("eth-other", 9, "other"))
    agent.settle()
    agent.gateways.known |= {gateway: Reachability(False, 0.0), "2001:db8:ffff::1": Reachability(False, 60.0)}
    assert texts(agent)[0] == ("error: 2 uplinks in error: other, uplink: their gateways do not answer "
                               "Neighbor Solicitations")
    assert {row["reason"][:30] for row in report.objects(agent, uplinks.LISTING)} == {
        "gateway 2001:db8:eeee::1 of up", "gateway 2001:db8:ffff::1 of up"}


def test_one_silent_gateway_of_several_is_a_warning(agent):
    agent.site.change("subnets", "uplink-v6",
                      host_routes=topologies.routes(("2001:db8:e::/48", "2001:db8:ffff::9")))
    agent.settle()
    agent.gateways.known["2001:db8:ffff::9"] = Reachability(False, 0.0)
    assert texts(agent) == [
        "warning: gateway 2001:db8:ffff::9 of uplink uplink does not answer Neighbor Solicitations (since "
        "1970-01-01T00:00:00+00:00); what is routed to another one goes on"]
    assert report.status(agent)["state"] == "active"


def test_a_loop_that_hangs_is_reported(agent):
    agent.loop.last_alive -= 1000
    assert texts(agent)[0].startswith("error: the reconcile loop shows no sign of life")


def test_a_translator_that_is_not_healthy_is_reported(agent):
    agent.rooms["translator"].trouble = "tayga of router red (pid 7) is stopped (state T)"
    assert texts(agent) == ["error: translator: tayga of router red (pid 7) is stopped (state T)"]


def test_what_a_translator_that_works_warns_of_is_reported(agent):
    agent.rooms["translator"].remarks = ["VPP dropped 7 packets"]
    assert texts(agent) == ["warning: translator: VPP dropped 7 packets"]
    assert report.status(agent)["state"] == "active"


def test_a_translator_that_is_down_is_told_once(agent):
    agent.rooms["translator"].down = agent.rooms["translator"].trouble = "VPP (pid 7) hung"
    assert [text for text in texts(agent) if text.startswith("error")] == [
        "error: translator cannot work now: VPP (pid 7) hung; nothing is changed there until it can"]


def test_the_translator_s_program_and_why_it_is_this_one(agent):
    agent.choice = Choice("vpp", "vpp and its plugin are there")
    agent.rooms["translator"].program = About("managed", "26.06", 77, 3700.04, 2, 0.0004)
    agent.rooms["translator"].down = "VPP (pid 77) hung"
    answer = report.status(agent)
    assert answer["translator_details"] == {
        "chosen": "vpp and its plugin are there", "launch": "managed", "version": "26.06", "pid": 77,
        "uptime_seconds": 3700.0, "restarts": 2, "probe_seconds": 0.0004,
        "next_start_seconds": None, "down": "VPP (pid 77) hung"}
    line = ("translator    tayga (vpp and its plugin are there), 26.06, process 77, up 1 h 1 min, "
            "lost 2 times since the agent started, DOWN: VPP (pid 77) hung")
    assert line in render.status(answer).splitlines()


def test_what_the_datapath_can_do(agent):
    line = next(line for line in render.status(report.status(agent)).splitlines() if "datapath" in line)
    assert line == "datapath      not known yet"
    agent.inputs = dataclasses.replace(agent.inputs, datapath=Datapath("system", False, True, True, True))
    answer = report.status(agent)
    assert answer["datapath"] == {"kind": "system", "nd_flags": False, "packet_size": True, "conntrack": True,
                                  "meters": True}
    assert ("datapath      kernel (system), sets ND flags: no, checks packet size: yes, conntrack: yes, "
            "meters: yes") in render.status(answer).splitlines()


def test_when_vpp_is_started_again(agent):
    agent.rooms["translator"].program = About("managed", next_start=31.7)
    agent.rooms["translator"].down = "VPP ended with status 7"
    (line,) = [line for line in render.status(report.status(agent)).splitlines() if "translator  " in line]
    assert line.endswith("DOWN: VPP ended with status 7, started again in 32 s")


def test_what_nobody_wants_any_more_and_cannot_be_removed(agent):
    agent.rooms["links"].refuses["links of fip fip-vm-red"] = "Device or resource busy"
    del agent.site.floatingips["fip-vm-red"]
    agent.settle()
    assert texts(agent) == ["error: left behind: links cannot remove links of fip fip-vm-red: "
                            "Device or resource busy"]


def test_many_with_one_reason_are_one_problem():
    agent = ScriptedAgent()
    topology, interfaces = topologies.big_topology(3, 300)
    uplinks = {name: interface for name, interface in interfaces.items() if interface.iface_id == "uplink"}
    agent.inputs = topologies.sound_inputs(Inputs(topology, uplinks))
    agent.topology_loaded_at = 1.0
    agent.loop.submit(plan(agent.inputs))
    agent.open_veths()
    agent.loop.step()
    problems = [problem for problem in report.status(agent)["problems"] if problem["kind"] == "fip"]
    (problem,) = problems
    assert problem["count"] == 300 and len(problem["objects"]) == 100
    assert problem["text"].startswith("300 floating IPs pending: 2001:db8:f::")
    assert problem["text"].endswith(" and 295 more: its port is not bound on this host")


def test_clients(agent):
    agent.rooms["translator"].bind("red", "2001:db8::1", "100.64.0.2", 0.0)
    agent.rooms["translator"].bind("blue", "2001:db8::2", "100.64.0.2")
    everybody = clients.rows(agent)
    assert [(row["router_id"], row["client"]) for row in everybody] == [
        ("blue", "2001:db8::2"), ("red", "2001:db8::1")]
    assert clients.rows(agent, "red") == [
        {"router_id": "red", "router": "red", "client": "2001:db8::1", "pool_address": "100.64.0.2",
         "static": False, "last_seen": "1970-01-01T00:00:00+00:00",
         "idle_seconds": pytest.approx(time.time(), abs=2)}]


def test_clients_of_a_prefix(agent):
    for number in (1, 2):
        agent.rooms["translator"].bind("red", f"2001:db8:{number}::1", f"100.64.0.{number}")
    (row,) = clients.rows(agent, within=IPv6Network("2001:db8:2::/64"))
    assert row["pool_address"] == "100.64.0.2" and row["last_seen"] is row["idle_seconds"] is None


def test_a_router_by_name_only_if_one_has_it(agent):
    agent.site.change("routers", "red", name="main").change("routers", "blue", name="main")
    agent.settle()
    assert clients.find_router(States(agent), "main") is None
    agent.site.change("routers", "red", name="first")
    agent.settle()
    assert clients.find_router(States(agent), "first") == "red"


def flow(number: int, table="classifier", cookie=None) -> dict:
    owner = pipeline.encode_cookie(features()["deliver"].number, ("fip", "fip-vm-red"))
    return {"table": table, "feature": "deliver", "priority": number, "match": "ip", "actions": "drop",
            "cookie": f"0x{owner if cookie is None else cookie:016x}", "packets": 1, "bytes": 2, "owner": ""}


def test_flows_have_names_and_are_ordered_as_a_packet_meets_them(agent):
    foreign = flow(9, "7", cookie=0x77)
    agent.rooms["switch"].flows = [flow(1, "164"), flow(2), flow(3), foreign]
    rows = flows.rows(agent)
    assert [(row["table"], row["priority"]) for row in rows] == [(0, 3), (0, 2), (164, 1)]
    assert {(row["feature"], row["object"]) for row in rows} == {("deliver", "fip fip-vm-red")}
    agent.rooms["switch"].flows = [flow(1, cookie=pipeline.COOKIE_VALUE | 0xFF << 40)]
    (row,) = flows.rows(agent)
    assert (row["feature"], row["object"]) == ("unknown", "(not in the plan)")
    agent.loop.submit(NOTHING)  # no uplink, so no Host
    agent.rooms["switch"].flows = [flow(1, cookie=pipeline.encode_cookie(1, Host().key))]
    (row,) = flows.rows(agent)
    assert row["object"] == "host"


def fips(agent):
    return report.objects(agent, floatingips.LISTING)


@pytest.mark.parametrize("question", [report.status, fips, clients.rows, flows.rows])
def test_ten_thousand_rows_hold_up_nobody(question):
    agent = ScriptedAgent()
    agent.inputs = topologies.sound_inputs(Inputs(*topologies.big_topology(10, 10_000)))
    agent.loop.submit(plan(agent.inputs))
    agent.loop.step()
    agent.rooms["switch"].flows = [flow(number) for number in range(10_000)]
    router_id = min(agent.loop.desired.tenants)
    agent.rooms["translator"].bindings[router_id] = [
        ClientBinding(router_id, IPv6Address(number), IPv4Address(number), 0.0) for number in range(10_000)]
    turns = []

    def others():
        while True:
            turns.append(None)
            hub.sleep(0)

    thread = hub.spawn(others)
    try:
        question(agent)
    finally:
        thread.kill()
    assert len(turns) >= 20


def test_faults_of_the_topology(agent):
    """What is faulty is in error, with its address; what stays in its last good form works, and is shown."""
    resources = Resources(agent.site.settings.nat64_pool)
    resources.update({(kind, item_id): item for kind in KINDS
                      for item_id, item in getattr(agent.site.topology, kind).items()})
    resources.update({("ports", "vm-red"): Unreadable((Finding(("mac_address",), "is required"),)),
                      ("subnets", "new"): topologies.subnet("new", "nowhere", "10.7.0.0/24"),
                      ("floatingips", "new"): FloatingIP("new", "ext", IPv6Address("2001:db8:f::77"), "nix")})
    agent.inputs = dataclasses.replace(agent.inputs, topology=resources.topology)
    agent.topology_error = TopologyError(["t.yaml:3: ports[2].mac_address: is required"], refused=False)
    rows = {row["id"]: row for row in report.objects(agent, floatingips.LISTING)}
    assert (rows["new"]["state"], rows["new"]["reason"]) == ("error", "port_id: no port has the id 'nix'")
    assert rows["new"]["floating_ip_address"] == "2001:db8:f::77"
    assert rows["fip-vm-red"]["state"] == "active"
    assert floatingips.LISTING.details.find(States(agent), "2001:db8:f:0::77") == "new"
    found = texts(agent)
    assert ("error: the topology in /etc/fip64agent/topology.yaml has faults; all else in it is in force"
            in found)
    assert ("warning: in force as last good, not as the topology has it now, and only until the agent "
            "restarts: port vm-red") in found
    assert "error: floating IP in error: 2001:db8:f::77: port_id: no port has the id 'nix'" in found
