# SPDX-License-Identifier: Apache-2.0
"""What is not ours is not touched: bridges, ports, flows, links, namespaces, processes."""

from lab.host import FIP_A, FIP_B
from lab.shell import popen, run
from tests.e2e import steps


def test_foreign_objects_survive_everything(make_lab):
    lab = make_lab()
    foreign_flows = [
        "table=0,priority=40000,in_port=4242,actions=drop",
        "table=0,priority=5,cookie=0x77,ipv6,ipv6_dst=2001:db8:f::a,in_port=4242,actions=drop",
        "table=60,priority=1,cookie=0xf165000000000001,actions=NORMAL",
    ]
    for flow in foreign_flows:
        lab.ovs.ofctl("add-flow", lab.bridge, flow)
    lab.ovs.add_bridge("br-other")
    lab.ovs.ofctl("add-flow", "br-other", "cookie=0xf164000000000000,priority=7,actions=drop")
    for name, peer in (("ovs-zzzzzzzz", "vpp-zzzzzzzz"), ("vpp-dl-3", "not-ours")):
        run("ip", "link", "add", name, "type", "veth", "peer", "name", peer, netns=lab.host)
    lab.ovs.vsctl("add-port", lab.bridge, "ovs-zzzzzzzz", "--", "set", "Port", "ovs-zzzzzzzz",
                  "external_ids:someone=else")
    run("ip", "netns", "add", f"{lab.prefix}foreign")
    sleeper = popen("sleep", "600", netns=f"{lab.prefix}foreign")
    try:
        def look():
            flows = [line.strip() for line in lab.flows().splitlines()
                     if "cookie=0xf164" not in line and "actions=" in line]
            other = lab.ovs.ofctl("dump-flows", "br-other", "--no-stats").stdout
            links = sorted(
                name for name in lab.run_in_host("ip", "-br", "link").stdout.split()
                if name.startswith(("ovs-zzz", "vpp-zzz", "vpp-dl-3", "not-ours")))
            ports = [port for port in lab.ovs.vsctl("list-ports", lab.bridge).stdout.split()
                     if port == "ovs-zzzzzzzz"]
            return flows, other, links, ports, sleeper.poll()

        before = look()
        assert len(before[0]) == len(foreign_flows) + 1  # and the bridge's own NORMAL
        lab.agent.start()
        lab.wait_reachable(FIP_A, FIP_B, seconds=10)
        steps.wait_settled(lab)
        assert look() == before
        lab.agent.restart()
        lab.topology.remove_fip(FIP_A)
        steps.wait_settled(lab)
        assert look() == before
        lab.agent.stop()
        run(*lab.agent.command("fip64-cleanup"))
        assert look() == before
        assert not steps.owned_flows(lab) and not steps.namespaces(lab) and not steps.translators(lab)
        assert [name for name in steps.links(lab) if "zzz" not in name and name != "vpp-dl-3"] == []
    finally:
        sleeper.kill()
        sleeper.wait()
        run("ip", "netns", "del", f"{lab.prefix}foreign")


def test_a_foreign_link_with_a_name_we_want_is_reported_and_left_alone(make_lab):
    lab = make_lab()
    port_id = lab.uplinks["uplink"]["port_id"]
    name = f"ovs-{port_id[:8]}"
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "somebody", netns=lab.host)
    lab.agent.start()
    row = lab.wait_for(lambda: next((u for u in lab.agent.get("/uplinks") if u["state"] == "error"), None),
                       5, "the uplink is in error")
    assert name in row["reason"]
    assert "somebody" in lab.run_in_host("ip", "-br", "link").stdout
    status = lab.ctl("status", check=False)
    assert status.returncode == 1 and name in status.stdout
    run("ip", "link", "del", name, netns=lab.host)
    lab.wait_reachable(FIP_A, seconds=10)


def test_cleanup_refuses_while_the_agent_runs_and_teardown_on_stop_removes_all(make_lab):
    lab = make_lab(agent=True, config={"DEFAULT": {"teardown_on_stop": True}})
    lab.wait_reachable(FIP_A, seconds=10)
    refused = run(*lab.agent.command("fip64-cleanup"), check=False)
    assert refused.returncode == 5 and "stop it first" in refused.stderr
    assert lab.client.ping(FIP_A, count=3).ok
    assert lab.agent.stop() == 0
    assert not steps.owned_flows(lab) and not steps.namespaces(lab)
    assert not steps.links(lab) and not steps.translators(lab)
