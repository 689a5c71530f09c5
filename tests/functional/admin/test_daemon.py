# SPDX-License-Identifier: Apache-2.0
"""fip64ctl against the real daemon, real OVS, a real translator and real namespaces."""

import contextlib
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab.daemon import wait_for
from lab.host import FIP_A, FIP_B

pytestmark = pytest.mark.root


@pytest.fixture
def quiet(module_lab):
    """The lab, as the agent left it: nothing to change."""
    wait_for(lambda: module_lab.ctl("diff", check=False).returncode == 0, 15, "nothing to change")
    return module_lab


def test_all_is_well(quiet):
    done = quiet.ctl("status")
    assert done.returncode == 0 and "all is well, 2 floating IPs are active" in done.stdout
    assert quiet.ctl("diff").stdout == "nothing to change\n"
    assert {row["state"] for row in quiet.agent.ctl_json("fip", "list")} == {"active"}
    assert [row["state"] for row in quiet.agent.ctl_json("uplink", "list")] == ["active"]


@pytest.mark.parametrize("fip", [FIP_A, FIP_B])
@pytest.mark.parametrize("client", [(), ("2001:db8:c::77",)], ids=["on the link", "far away"])
def test_a_packet_would_arrive_as_it_does(quiet, fip, client):
    assert quiet.client.reaches(fip)
    answer = quiet.agent.ctl_json("trace", fip, *client)
    assert answer["reachable"], answer
    assert {step["result"] for step in answer["steps"]} <= {"ok", "note"}


@pytest.mark.only("vpp")
def test_vpp_shows_what_it_does_with_real_packets(quiet):
    ping = quiet.client.start_ping(FIP_A, 0.05)
    try:
        done = quiet.ctl("trace", FIP_A, "--live", "5")
    finally:
        ping.stop()
    assert "Packets of this floating IP that the translator handled just now:" in done.stdout
    assert "ip6-fip64" in done.stdout and "ip4-fip64" in done.stdout
    assert "No packet of this floating IP came to the translator within 1 s." in quiet.ctl(
        "trace", FIP_B, "--live", "1").stdout


@pytest.mark.only("vpp")
def test_vpp_s_clients_are_listed_at_once(quiet):
    assert quiet.client.reaches(FIP_A)
    (row,) = quiet.agent.ctl_json("client", "list", "--router", "router-a")
    assert row["static"] is False and row["idle_seconds"] < 10


def test_status_tells_of_the_translator(quiet, translator):
    answer = quiet.agent.get("/status")
    assert answer["translator"] == translator
    details = answer["translator_details"]
    assert details["chosen"] == f"[fip64] translator = {translator}" and details["down"] is None
    if translator == "vpp":
        assert details["pid"] and details["version"] and details["restarts"] == 0


def test_the_flows_have_seen_packets(quiet):
    rows = quiet.agent.ctl_json("flow", "list", "--feature", "deliver")
    assert len(rows) == 2 and all(row["packets"] > 0 for row in rows)
    assert all(row["object"].startswith("fip ") for row in rows)


def test_the_plan_is_shown(quiet):
    kinds = [row["kind"] for row in quiet.agent.ctl_json("plan", "show")]
    assert sorted(set(kinds)) == ["fip", "gateway", "host", "tenant", "uplink"]


@contextlib.contextmanager
def flow(lab, text):
    lab.ovs.ofctl("add-flow", lab.bridge, f"cookie=0x77,{text}")
    try:
        yield
    finally:
        lab.ovs.ofctl("del-flows", lab.bridge, "cookie=0x77/-1")


def test_another_system_s_flow_that_takes_the_answer_is_found(quiet):
    with flow(quiet, f"priority=60000,in_port={quiet.ofport('vm-a')},ip,actions=drop"):
        assert not quiet.client.reaches(FIP_A, 0.5)
        answer = quiet.agent.get(f"/trace?fip={FIP_A}")
        assert answer["stops_at"] == "answer"
        (stop,) = [step for step in answer["steps"] if step["result"] == "stop"]
        assert "foreign, cookie 0x77" in stop["detail"]
        assert quiet.ctl("trace", FIP_A, check=False).returncode == 1
        assert quiet.agent.get(f"/trace?fip={FIP_B}")["reachable"]


def test_an_unbound_vm_is_pending_and_nothing_is_wrong(quiet):
    quiet.unbind("vm-b")
    try:
        wait_for(lambda: "is not bound on this host" in quiet.ctl("status").stdout, 10, "it is reported")
        assert quiet.agent.get(f"/trace?fip={FIP_B}")["stops_at"] == "fip"
    finally:
        quiet.bind("vm-b")
    wait_for(lambda: quiet.client.reaches(FIP_B), 10, "it is back")


def test_a_broken_topology_file_is_told_with_its_lines(quiet):
    quiet.topology.write("networks: 7\nports:\n- {id: x}\n")
    try:
        wait_for(lambda: quiet.ctl("status", check=False).returncode == 1, 10, "something is wrong")
        done = quiet.ctl("status", check=False)
        assert f"{quiet.topology.path}:1: networks" in done.stdout
        assert f"{quiet.topology.path}:3: ports[0]" in done.stdout
        assert "stays in force" in done.stdout and quiet.client.reaches(FIP_A)
    finally:
        quiet.topology.write()
    wait_for(lambda: quiet.ctl("status", check=False).returncode == 0, 10, "all is well again")


def test_an_ovs_that_is_down_is_told_at_once(quiet):
    quiet.ovs.stop_vswitchd()
    try:
        wait_for(lambda: "switch cannot work now" in quiet.ctl("status", check=False).stdout, 10, "reported")
        assert quiet.ctl("status", check=False).returncode == 1
        done = quiet.ctl("diff", check=False)
        assert done.returncode == 1 and done.stderr.startswith("fip64ctl: switch: ")
        assert quiet.ctl("trace", FIP_A, check=False).returncode == 1
    finally:
        quiet.ovs.start_vswitchd()
    wait_for(lambda: quiet.ctl("status", check=False).returncode == 0, 10, "all is well again")


def test_metrics_of_the_real_agent(make_lab):
    lab = make_lab(agent=True, config={"metrics": {"host": "::1", "port": 9464}})
    wait_for(lambda: lab.agent.get("/status")["objects"]["fip"]["active"] == 2, 15, "two FIPs")
    fetch = "import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1]).read())"
    text = lab.run_in_host(sys.executable, "-c", fetch, lab.agent.get("/status")["metrics"]).stdout
    found = {(sample.name, sample.labels.get("kind"), sample.labels.get("state")): sample.value
             for family in text_string_to_metric_families(text) for sample in family.samples}
    assert found["fip64_objects", "fip", "active"] == 2
    assert found["fip64_translator_healthy", None, None] == found["fip64_translator_up", None, None] == 1
