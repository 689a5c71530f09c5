# SPDX-License-Identifier: Apache-2.0
"""An IPv6 client reaches VMs that have only IPv4, over real OVS and a real translator."""

from ipaddress import ip_address, ip_network

import pytest

from lab.host import FIP_A, FIP_B, VM_ADDRESS
from tests.e2e import steps

POOL = ip_network("100.64.0.0/16")


@pytest.fixture(scope="module")
def lab(make_module_lab):
    lab = make_module_lab(agent=True)
    for vm in ("vm-a", "vm-b"):
        lab[vm].serve()
    lab.wait_reachable(FIP_A, FIP_B)
    return lab


@pytest.mark.parametrize("address", [FIP_A, FIP_B])
def test_ping(lab, address):
    answer = lab.client.ping(address, count=20)
    assert answer.ok and not answer.duplicates, answer


def test_two_tenants_with_the_same_fixed_ip_are_told_apart(lab):
    assert lab["vm-a"].address4 == lab["vm-b"].address4 == VM_ADDRESS
    assert lab.client.http_get(FIP_A)["answer"]["vm"] == "vm-a"
    assert lab.client.http_get(FIP_B)["answer"]["vm"] == "vm-b"


def test_the_vm_sees_a_pool_address_and_its_own(lab):
    answer = lab.client.http_get(FIP_A)["answer"]
    assert ip_address(answer["you_are"]) in POOL
    assert answer["i_am"] == VM_ADDRESS


@pytest.mark.parametrize("way", ["put", "get"])
def test_tcp_transfer_arrives_whole(lab, way):
    result = lab.client.transfer(FIP_A, size=8 << 20, way=way)
    assert result["equal"], result


def test_32_kb_of_udp_in_fragments_both_ways(lab):
    result = lab.client.udp(FIP_B, size=32768, count=5)
    assert result["equal"] == 5, result
    assert {entry["size"] for entry in lab["vm-b"].received("udp")} == {32768}


def test_two_concurrent_tcp_clients_of_100_lines(lab):
    results = lab.client.lines(FIP_A, names=("one", "two"), count=100)
    assert [result["equal"] for result in results] == [100, 100]
    seen = {entry["port"]: entry["lines"] for entry in lab["vm-a"].wait_received("lines", 2)}
    for name, result in zip(("one", "two"), results, strict=True):
        assert seen[result["port"]] == [f"{name} {number}" for number in range(100)]


def test_each_client_has_a_pool_address_of_its_own(lab):
    other = lab.add_client("client-two")
    first = lab.client.http_get(FIP_A)["answer"]["you_are"]
    second = other.http_get(FIP_A)["answer"]["you_are"]
    assert first != second
    rows = {row["client"]: row["pool_address"] for row in lab.agent.get("/clients")
            if row["router_id"] == lab.topology.id("routers", "router-a")}
    assert rows.get(other.address6, second) == second


def test_the_vm_opens_a_connection_to_a_client_it_knows_by_its_pool_address(lab):
    pool_address = lab.client.http_get(FIP_A)["answer"]["you_are"]
    lab.client.serve(bind="::")
    answer = lab["vm-a"].http_get(pool_address)["answer"]
    assert answer["vm"] == lab.client.name
    assert answer["you_are"] == FIP_A


def test_the_uplink_address_answers(lab):
    assert lab.client.ping(lab.uplinks["uplink"]["address"], count=5).ok


def test_an_unassigned_address_of_the_external_network_does_not_loop(lab):
    answer = lab.client.ping("2001:db8:f::dead", count=3, wait=0.5)
    assert answer.received == 0


def test_all_is_well_and_nothing_is_left_to_do(lab):
    steps.wait_settled(lab)
    assert lab.ctl("status").returncode == 0
    assert {row["state"] for row in lab.agent.get("/fips")} == {"active"}
    assert lab.ctl("diff").returncode == 0
