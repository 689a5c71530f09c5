# SPDX-License-Identifier: Apache-2.0
"""The agent starts long before what it stands on, says what it waits for, and goes on by itself."""

import time

from lab import host

NO_SERVER = "cannot reach ovsdb-server on"
NO_BRIDGE = "OVS has no bridge br-int: create it (ovs-vsctl --may-exist add-br br-int)"
CURE = ("add", "bridge", "br-int", "protocols", "OpenFlow13")


def waits(lab, what: str, seconds: float) -> None:
    """For so long the agent lives and says in its status what it waits for, and in its log once."""
    lab.wait_for(lambda: what in lab.agent.log(), 10, f"{what!r} is logged")
    time.sleep(seconds)
    assert lab.agent.running
    assert what in " ".join(lab.ctl("status", check=False).stdout.split())
    assert lab.agent.log().count(what) == 1, lab.agent.log_tail()


def test_open_vswitch_is_started_after_the_agent(make_lab):
    lab = make_lab()
    lab.ovs.stop()
    lab.agent.start()
    waits(lab, NO_SERVER, 7)
    lab.ovs.start()
    lab.wait_reachable(host.FIP_A, host.FIP_B)
    assert lab.ctl("status").returncode == 0


def test_the_bridge_is_made_after_the_agent_was_started(make_lab):
    lab = make_lab()
    lab.ovs.vsctl("del-br", lab.bridge)
    lab.agent.start()
    waits(lab, NO_BRIDGE, 7)
    lab.ovs.add_bridge(lab.bridge)
    lab.bind("uplink", "vm-a", "vm-b")
    lab.wait_reachable(host.FIP_A, host.FIP_B)
    assert lab.ctl("status").returncode == 0


def test_the_agent_that_waits_can_be_stopped(make_lab):
    lab = make_lab()
    lab.ovs.stop()
    lab.agent.start()
    assert lab.agent.stop() == 0


def test_the_bridge_speaks_another_openflow_version_for_a_while(lab):
    lab.ovs.vsctl("set", "bridge", lab.bridge, "protocols=OpenFlow10")
    waits(lab, f"ovs-vsctl {' '.join(CURE)}", 7)
    assert "unsupported version" not in lab.agent.log()
    assert lab.client.reaches(host.FIP_A), "what is installed goes on"
    lab.ovs.vsctl(*CURE)
    lab.wait_for(lambda: lab.ctl("status", check=False).returncode == 0, 10, "all is well again")
    lab.ovs.ofctl("del-flows", lab.bridge)
    lab.wait_reachable(host.FIP_A, host.FIP_B)
