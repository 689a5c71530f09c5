# SPDX-License-Identifier: Apache-2.0
"""An IPv6 client reaches VMs that have only IPv4, on the kernel's datapath."""

import pytest

from lab.guest.installed import FIP_OFFLOADS, FIP_ON_LINK, FIP_UNTAGGED
from lab.host import FIP_A, FIP_B

PINGS = 40
TRANSFER = 4 << 20


def ping(lab, address, step):
    with step(f"ping {address}") as now:
        answer = lab.client.ping(address, count=PINGS, interval=0.05, wait=20)
        now.result = str(answer)
        assert answer.ok and not answer.duplicates, answer


def transfer(lab, address, step):
    with step(f"TCP, {TRANSFER >> 20} MiB there and back") as now:
        rates = []
        for way in ("put", "get"):
            result = lab.client.transfer(address, size=TRANSFER, way=way, timeout=240)
            assert result["equal"], result
            rates.append(f"{result['bits_per_second'] / 1e6:.0f} Mbit/s")
        now.result = ", ".join(rates)


@pytest.mark.parametrize("address", [FIP_A, FIP_B])
def test_a_routed_floating_ip(lab, step, address):
    """A routed floating IP answers pings and carries TCP."""
    ping(lab, address, step)
    transfer(lab, address, step)


def test_an_on_link_floating_ip(lab, step):
    """A floating IP of the uplink's own prefix answers: the neighbor solicits it."""
    with step("the upstream router forgets its neighbors"):
        lab.upstream.run("ip", "neigh", "flush", "dev", "uplink")
    ping(lab, FIP_ON_LINK, step)
    with step("who has it") as now:
        shown = lab.upstream.run("ip", "-6", "neigh", "show", FIP_ON_LINK, "dev", "uplink").stdout.strip()
        now.result = shown.removeprefix(FIP_ON_LINK).strip()
        assert lab.uplinks["uplink"]["mac"].value() in shown
    transfer(lab, FIP_ON_LINK, step)


def test_an_on_link_floating_ip_answers_with_the_agent_dead(installed, lab, step):
    """Neighbor Solicitations for an on-link floating IP are answered while the agent is stopped."""
    with step("systemctl stop fip64-agent"):
        lab.agent.stop()
    try:
        with step("the upstream router forgets its neighbors"):
            lab.upstream.run("ip", "neigh", "flush", "dev", "uplink")
        ping(lab, FIP_ON_LINK, step)
    finally:
        with step("systemctl start fip64-agent"):
            lab.agent.start()


def test_two_tenants_with_the_same_ipv4_address(lab, step):
    """Two tenants have a VM each with the same IPv4 address: each floating IP leads to its own."""
    for address, vm in ((FIP_A, "vm-a"), (FIP_B, "vm-b")):
        with step(f"GET http://[{address}]/") as now:
            answer = lab.client.http_get(address, timeout=60)["answer"]
            now.result = f"\"I am {answer['vm']}\", {answer['i_am']}, to {answer['you_are']}"
            assert answer["vm"] == vm


def test_a_vm_without_access_tag(lab, step):
    """A VM port without an access tag, beside those that have one."""
    with step("ovs-vsctl get Port tag") as now:
        tag = lab.ovs.vsctl("get", "Port", lab["vm-raw"].interface.value(), "tag").stdout.strip()
        other = lab.ovs.vsctl("get", "Port", lab["vm-a"].interface.value(), "tag").stdout.strip()
        now.result = f"vm-raw: {tag}, vm-a: {other}"
        assert tag == "[]" and other.isdigit()
    ping(lab, FIP_UNTAGGED, step)
    with step(f"GET http://[{FIP_UNTAGGED}]/") as now:
        answer = lab.client.http_get(FIP_UNTAGGED, timeout=60)["answer"]
        now.result = f"\"I am {answer['vm']}\""
        assert answer["vm"] == "vm-raw"
    transfer(lab, FIP_UNTAGGED, step)


def test_a_vm_with_all_offloads_on(lab, step):
    """TCP to and from a VM that leaves checksums and segmentation to its interface."""
    with step("ethtool -k eth0, in the VM") as now:
        offloads = lab.offloads("vm-tso")
        now.result = ", ".join(name for name in ("tx-checksumming", "tcp-segmentation-offload",
                                                 "generic-segmentation-offload") if offloads[name])
        assert now.result.count(",") == 2
    ping(lab, FIP_OFFLOADS, step)
    transfer(lab, FIP_OFFLOADS, step)
    with step("32 KiB of UDP there and back") as now:
        result = lab.client.udp(FIP_OFFLOADS, size=32768, count=3, timeout=20)
        now.result = f"{result['equal']} of {result['sent']} equal"
        assert result["equal"] == result["sent"]


def test_a_vm_connects_by_a_pool_address(lab, step):
    """The VM opens a connection to a client that it knows by its pool address."""
    pool_address = lab.client.http_get(FIP_A, timeout=60)["answer"]["you_are"]
    lab.client.serve(bind="::", wait=False)
    lab.client.wait_serving(120)
    with step(f"vm-a: GET http://{pool_address}/") as now:
        answer = lab["vm-a"].http_get(pool_address, timeout=60)["answer"]
        now.result = f"\"I am {answer['vm']}\", from {answer['you_are']}"
        assert answer["you_are"] == FIP_A


def test_nothing_is_wrong(installed, lab, step):
    """``fip64ctl status`` finds nothing wrong: every uplink, tenant and floating IP is active."""
    with step("fip64ctl status") as now:
        done = lab.ctl("status", check=False)
        now.notes = done.stdout.splitlines()
        now.result = f"exit status {done.returncode}"
        assert done.returncode == 0, done.stdout
    states = {row["floating_ip_address"]: row["state"] for row in lab.agent.get("/fips")}
    assert states == dict.fromkeys(installed.ALL, "active")
    assert {row["state"] for row in lab.agent.get("/uplinks")} == {"active"}
    assert lab.ctl("diff", check=False).returncode == 0


def test_what_the_kernels_datapath_can_do(lab):
    """It is asked, and ``fip64ctl status`` says it: of all that flows may need, it lacks one thing."""
    assert lab.agent.get("/status")["datapath"] == {
        "kind": "system", "nd_flags": False, "packet_size": True, "conntrack": True, "meters": True}
    assert "datapath      kernel (system), sets ND flags: no" in lab.ctl("status", check=False).stdout
