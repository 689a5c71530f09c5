# SPDX-License-Identifier: Apache-2.0
"""The NAT64 pool: what part of it this host gives to clients, and clients with an address of their own."""

from ipaddress import ip_address

import pytest

from lab.host import FIP_A, FIP_B
from tests.e2e import steps

POOL = "100.64.0.0/28"
HALVES = {"tayga": {"1/2": ("100.64.0.0", "100.64.0.7"), "2/2": ("100.64.0.8", "100.64.0.15")},
          "vpp": {"1/2": ("100.64.0.1", "100.64.0.7"), "2/2": ("100.64.0.8", "100.64.0.14")}}
"""First and last address of each slice: tayga needs whole prefixes, VPP takes any range."""


@pytest.fixture(scope="module")
def lab(make_module_lab):
    lab = make_module_lab(agent=True, config={"fip64": {"nat64_pool_slice": "2/2"}})
    for name in ("vm-a", "vm-b"):
        lab[name].serve()
    lab.wait_reachable(FIP_A, FIP_B)
    return lab


@pytest.fixture
def bindings(lab):
    """Give router A clients with a fixed pool address: bindings({IPv6 address: pool address})."""
    def give(wanted):
        lab.topology.update("routers", "router-a", nat64_bindings=[
            {"ipv6_address": client, "pool_address": address} for client, address in wanted.items()])
        steps.wait_settled(lab)
    yield give
    lab.topology.update("routers", "router-a", nat64_bindings=None)
    steps.wait_settled(lab)


@pytest.mark.parametrize("part", ["1/2", "2/2"])
def test_gateways_of_the_same_tenants_give_away_different_addresses(make_lab, part):
    lab = make_lab(agent=True, config={"fip64": {"nat64_pool": POOL, "nat64_pool_slice": part}})
    lab["vm-a"].serve()
    lab.wait_reachable(FIP_A)
    first, last = map(ip_address, HALVES[lab.translator][part])
    seen = [client.http_get(FIP_A)["answer"]["you_are"]
            for client in (lab.client, *(lab.add_client(f"more{number}") for number in range(3)))]
    assert len(set(seen)) == 4
    assert all(first <= ip_address(address) <= last for address in seen), seen


def test_a_slice_that_is_empty_is_an_error_of_that_tenant_only(make_lab):
    """The two usable addresses of a /30 are not enough for four gateways."""
    lab = make_lab(agent=True, config={"fip64": {"nat64_pool_slice": "1/4"}})
    lab.wait_reachable(FIP_A, FIP_B)
    lab.topology.update("routers", "router-a", nat64_pool="100.99.0.0/30")
    row = steps.wait_state(lab, FIP_A, "error", 5)
    assert "100.99.0.0/30" in row["reason"] and "slice 1" in row["reason"], row
    assert row["reason"] in " ".join(lab.ctl("status", check=False).stdout.split())  # it may be wrapped
    assert lab.client.ping(FIP_B, count=5).ok
    lab.topology.update("routers", "router-a", nat64_pool=None)
    lab.wait_reachable(FIP_A)


def test_a_vm_opens_tcp_to_a_client_that_never_spoke_before(lab, bindings):
    """MidoNet could not: there a client had to be the first to speak."""
    silent = lab.add_client("silent")
    silent.serve(bind="::")
    bindings({silent.address6: "100.64.200.7"})
    answer = lab["vm-a"].http_get("100.64.200.7")["answer"]
    assert answer["vm"] == "silent" and answer["you_are"] == FIP_A
    result = lab["vm-a"].transfer("100.64.200.7", 2 << 20, "get")
    assert result["equal"], result
    # And the other way round it is the same address.
    assert silent.http_get(FIP_A)["answer"]["you_are"] == "100.64.200.7"
    # Of tenant A only.
    assert silent.http_get(FIP_B)["answer"]["you_are"] != "100.64.200.7"
    assert lab["vm-b"].ping("100.64.200.7", count=2, wait=0.3).received == 0


def test_a_vm_reaches_another_tenants_vm_by_its_floating_ip(lab, bindings):
    """Hairpin: from IPv4 to IPv6 and to IPv4 again on one host; both sides see pool addresses."""
    bindings({FIP_B: "100.64.200.8"})
    answer = lab["vm-a"].http_get("100.64.200.8")["answer"]
    assert answer["vm"] == "vm-b"
    assert answer["you_are"].startswith("100.64."), answer
    result = lab["vm-a"].transfer("100.64.200.8", 2 << 20, "put")
    assert result["equal"], result
    assert lab["vm-a"].udp("100.64.200.8", size=8000, count=2)["equal"] == 2


def test_a_binding_that_this_host_has_no_part_in_is_left_to_the_other(lab, bindings):
    """100.64.7.7 is in slice 1 of 2: the other gateway has it, and here the client gets another one."""
    bindings({lab.client.address6: "100.64.7.7"})
    assert ip_address(lab.client.http_get(FIP_A)["answer"]["you_are"]) >= ip_address("100.64.128.0")
    assert lab.ctl("status", check=False).returncode == 0, lab.ctl("status", check=False).stdout


@pytest.mark.parametrize(("wanted", "word"), [
    ([("2001:db8:c::1:1", "10.0.0.9")], "10.0.0.9"),
    ([("2001:db8:c::1:1", "100.64.200.9"), ("2001:db8:c::1:2", "100.64.200.9")], "100.64.200.9"),
    ([("2001:db8:c::1:1", "100.64.200.9"), ("2001:db8:c::1:1", "100.64.200.10")], "2001:db8:c::1:1"),
    ([("192.0.2.1", "100.64.200.9")], "192.0.2.1"),
])
def test_a_binding_that_cannot_be_is_refused_by_name_and_all_goes_on(lab, wanted, word):
    lab.topology.update("routers", "router-a", nat64_bindings=[
        {"ipv6_address": client, "pool_address": address} for client, address in wanted])

    def reported():
        found = lab.agent.get("/status")["topology"]["errors"]
        status = lab.ctl("status", check=False)
        return [str(error) for error in found] or ([status.stdout] if status.returncode == 1 else [])

    found = lab.wait_for(reported, 5, "it is refused")
    assert any(word in text for text in found), found
    assert lab.client.ping(FIP_A, count=5).ok
    assert {row["state"] for row in lab.agent.get("/fips")} == {"active"}
    assert lab.client.ping(FIP_B, count=5).ok
    lab.topology.update("routers", "router-a", nat64_bindings=None)
    steps.wait_settled(lab)
    lab.wait_reachable(FIP_A)
