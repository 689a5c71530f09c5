# SPDX-License-Identifier: Apache-2.0
"""The lab itself, without the daemon: what it builds works, and nothing of it is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from fip64agent.links import marks
from fip64agent.topology.file import loader
from lab import netns, sweep
from lab.host import FIP_A, FIP_B, Lab
from lab.shell import inside, run


@pytest.fixture(scope="module")
def lab(make_module_lab) -> Lab:
    lab = make_module_lab()
    lab.add_vm("vm-a2", "a", "10.0.0.6", serve=True)
    return lab


def test_client_reaches_the_upstream_router(lab):
    result = lab.client.ping("2001:db8:100::1", count=20)
    assert result.sent == 20 and result.received == 20 and result.lost == []


def test_a_ping_that_nobody_answers_is_lost_with_its_sequence_numbers(lab):
    result = lab.client.ping("2001:db8:c::dead", count=3, wait=0.2)
    assert result.received == 0 and result.lost == [0, 1, 2] and not result.ok


def test_ping_counts_what_is_lost_in_between(lab):
    ping = lab.client.start_ping("2001:db8:100::1", wait=2)
    time.sleep(0.5)
    # Not by taking a link down: the kernel would keep the packets until the neighbor is resolved again.
    lab.upstream.ip(f"route add blackhole {lab.client.address6}/128 metric 1")
    time.sleep(1)
    lab.upstream.ip(f"route delete blackhole {lab.client.address6}/128 metric 1")
    time.sleep(0.5)
    result = ping.stop()
    assert 10 <= len(result.lost) < result.sent
    assert result.lost == list(range(result.lost[0], result.lost[-1] + 1)), "one gap"
    assert result.lost[0] > 0 and result.lost[-1] < result.sent - 1


def test_vms_of_one_tenant_talk_over_the_bridge(lab):
    assert lab["vm-a"].ping("10.0.0.6", count=5).ok
    assert [seen["peer"] for seen in lab["vm-a2"].wait_received("ping")] == ["10.0.0.5"]


def test_tenants_with_the_same_address_are_apart(lab):
    assert lab["vm-a"].address4 == lab["vm-b"].address4
    assert lab["vm-b"].ping("10.0.0.6", count=3, wait=0.3).received == 0


def test_vms_have_no_ipv6(lab):
    assert lab["vm-a"].run("ip", "-6", "-o", "addr").stdout == ""


def test_http_tells_whom_the_server_saw(lab):
    reply = lab["vm-a"].http_get("10.0.0.6")
    assert reply["status"] == 200
    assert reply["answer"] == {"vm": "vm-a2", "you_are": "10.0.0.5", "i_am": "10.0.0.6"}
    assert lab["vm-a2"].received("http")[-1]["peer"] == "10.0.0.5"


@pytest.mark.parametrize("way", ["put", "get"])
def test_tcp_transfer_is_hashed_on_both_sides(lab, way):
    result = lab["vm-a"].transfer("10.0.0.6", size=3_000_001, way=way)
    assert result["equal"] and result["size"] == 3_000_001 and result["seen_as"] == "10.0.0.5"
    seen = lab["vm-a2"].received("tcp")[-1]
    assert seen["sha256"] == result["sha256"] and seen["size"] == 3_000_001


def test_udp_of_32_kb_goes_in_fragments_both_ways(lab):
    result = lab["vm-a"].udp("10.0.0.6", size=32768, count=3)
    assert result["equal"] == 3
    assert [seen["sha256"] for seen in lab["vm-a2"].received("udp")[-3:]] == result["sha256"]


def test_two_clients_at_once_get_their_own_lines_back(lab):
    one, two = lab["vm-a"].lines("10.0.0.6", names=("one", "two"), count=100)
    assert one["equal"] == two["equal"] == 100
    lines = [seen["lines"] for seen in lab["vm-a2"].wait_received("lines", 2)[-2:]]
    assert sorted(lines) == [[f"{name} {number}" for number in range(100)] for name in ("one", "two")]


def test_a_tool_that_fails_says_why(lab):
    with pytest.raises(RuntimeError, match=r"http-get 10.0.0.99.*(unreachable|No route|timed out)"):
        lab["vm-a"].http_get("10.0.0.99", timeout=4)


def test_unbind_unplugs_and_bind_plugs_in_with_the_iface_id(lab):
    vm = lab["vm-a"]
    lab.unbind("vm-a")
    assert not vm.reaches("10.0.0.6")
    lab.bind("vm-a")
    ids = lab.ovs.vsctl("get", "Interface", vm.interface, "external_ids:iface-id").stdout.strip()
    assert ids.strip('"') == vm.port_id == lab.topology.find("ports", "vm-a")["id"]
    assert lab.ofport("vm-a") > 0
    assert vm.reaches("10.0.0.6", 5)


def test_offloads_are_off_at_the_ends_of_the_vms(lab):
    assert not netns.tx_checksum_offload(lab["vm-a"].netns, "eth0")
    assert netns.tx_checksum_offload(lab.upstream.netns, "client0")  # a plain veth, untouched


def test_the_topology_file_is_one_the_daemon_takes(lab):
    topology = loader.load(str(lab.topology.path))
    assert {str(fip.floating_ip_address) for fip in topology.floatingips.values()} == {FIP_A, FIP_B}
    assert topology.ports[lab["vm-a"].port_id].mac_address == lab["vm-a"].mac


def test_topology_changes_are_in_the_file_at_once(lab):
    def associated():
        document = yaml.safe_load(lab.topology.path.read_text())
        return {fip["floating_ip_address"]: fip.get("port_id") for fip in document["floatingips"]}

    before = associated()
    lab.topology.add_fip("2001:db8:f::99", "vm-a2")
    assert associated()["2001:db8:f::99"] == lab["vm-a2"].port_id
    lab.topology.move_fip("2001:db8:f::99", "vm-a")
    assert associated()["2001:db8:f::99"] == lab["vm-a"].port_id
    lab.topology.move_fip("2001:db8:f::99", None)
    assert associated()["2001:db8:f::99"] is None
    lab.topology.remove_fip("2001:db8:f::99")
    assert associated() == before
    loader.load(str(lab.topology.path))


def test_more_clients_and_uplinks(lab):
    other = lab.add_client("client2")
    assert other.address6 != lab.client.address6
    assert other.ping(lab.client.address6, count=3).ok
    lab.add_uplink("uplink2", "2001:db8:200::/64")
    assert lab.client.ping("2001:db8:200::1", count=3).ok
    assert lab.ofport("uplink2") > 0
    loader.load(str(lab.topology.path))


# Nothing is left behind


def _state() -> tuple[set[str], set[str]]:
    links = {link["ifname"] for link in json.loads(run("ip", "-json", "link").stdout)}
    return set(netns.names()), links


def test_stop_leaves_nothing(make_lab):
    lab = make_lab()
    stray = subprocess.Popen(  # stands in for a translator that outlives the daemon
        inside(lab.host, ["bash", "-c", f"exec -a tayga bash -c read {lab.directory}/run/tayga/x.conf"]),
        stdin=subprocess.PIPE)
    cmdline = Path(f"/proc/{stray.pid}/cmdline")
    lab.wait_for(lambda: cmdline.read_bytes().startswith(b"tayga"), 10, "it passes for tayga")
    lab["vm-a"].serve()
    assert any(f"process {stray.pid}:" in line for line in lab.leftovers())
    assert len(lab.leftovers()) > 5
    lab.stop()
    assert lab.leftovers() == []
    assert not [name for name in netns.names() if name.startswith(lab.prefix)]
    assert stray.wait(5) in (-signal.SIGTERM, -signal.SIGKILL)
    stray.stdin.close()
    lab.stop()  # again: no complaint


def test_links_of_the_labs_agent_on_the_machine_itself_go_by_their_mark(make_lab):
    """What an agent with VPP leaves there, when the lab uses the machine's own Open vSwitch."""
    lab, other = make_lab(standard=False), make_lab(standard=False)
    try:
        for name, prefix in (("f64test-a", lab.prefix), ("f64test-b", other.prefix)):
            run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p")
            run("ip", "link", "set", name, "alias", f"{marks.begin(sweep.netns_prefix(prefix))}host")
        assert "link f64test-a" in lab.leftovers() and "link f64test-b" not in lab.leftovers()
        lab.stop()
        assert lab.leftovers() == []
        assert not _state()[1] & {"f64test-a", "f64test-ap"} and "f64test-b" in _state()[1]
    finally:
        for name in ("f64test-a", "f64test-b"):
            run("ip", "link", "delete", name, check=False)


def test_stop_leaves_others_alone(make_lab):
    ours, other = make_lab(), make_lab(standard=False)
    bystander = subprocess.Popen(["sleep", "100"])
    before = _state()
    try:
        ours.stop()
        assert other.host in netns.names()
        assert other.ovs.vsctl("br-exists", other.bridge).returncode == 0
        assert bystander.poll() is None
        assert _state()[0] >= {name for name in before[0] if name.startswith(other.prefix)}
    finally:
        bystander.kill()
        bystander.wait()


def test_a_start_that_fails_leaves_nothing(make_lab, monkeypatch):
    seen = []

    def fail(self):
        seen.append(self)
        self.add_client()
        raise RuntimeError("no luck")

    monkeypatch.setattr(Lab, "_build_standard", fail)
    with pytest.raises(RuntimeError, match="no luck"):
        make_lab()
    assert seen and seen[0].leftovers() == []


def test_labs_of_a_killed_process_are_swept(short_tmp):
    script = ("import os, signal; from lab.host import Lab; lab = Lab(); lab.start(); "
              "print(lab.directory, flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "TMPDIR": str(short_tmp), "PYTHONPATH": os.getcwd()})
    identity = sweep.LabIdentity.load(short_tmp / os.path.basename(done.stdout.strip()))
    assert not identity.builder_lives
    assert len(sweep.leftovers(identity)) > 5
    sweep.remove(identity)
    assert sweep.leftovers(identity) == []
