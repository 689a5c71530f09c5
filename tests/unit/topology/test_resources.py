# SPDX-License-Identifier: Apache-2.0
"""Resources change one by one: faults stay where they are, and the order of changes does not matter."""

from __future__ import annotations

import dataclasses
import sys
from ipaddress import IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from fip64agent.topology.model import (
    KINDS,
    Fault,
    Finding,
    FloatingIP,
    Nat64Binding,
    Network,
    Router,
    Topology,
    Unreadable,
)
from fip64agent.topology.resources import Resources
from tests.fakes import topologies
from tests.fakes.topologies import fixed, routes, subnet, two_tenant_site

POOL = IPv4Network("100.64.0.0/16")


def all_of(topology: Topology) -> dict:
    return {(kind, item_id): item for kind in KINDS for item_id, item in getattr(topology, kind).items()}


def resources_of(topology: Topology) -> Resources:
    resources = Resources(POOL)
    resources.update(all_of(topology))
    return resources


@pytest.fixture
def site():
    return two_tenant_site()


@pytest.fixture
def resources(site):
    resources = resources_of(site.topology)
    assert resources.topology.faults == {}
    return resources


def put(resources: Resources, kind: str, item, **values) -> Topology:
    """Change a resource, or attributes of the one with this id."""
    if isinstance(item, str):
        item = dataclasses.replace(resources.newest[kind][item], **values)
    return resources.update({(kind, item.id): item})


def check_sound(topology: Topology) -> None:
    """Fail unless all references of what is in force lead to what is in force."""
    for item in topology.subnets.values():
        assert item.network_id in topology.networks
    for port in topology.ports.values():
        assert port.network_id in topology.networks
        assert all(address.subnet_id in topology.subnets for address in port.fixed_ips)
        assert not port.is_router_port or port.device_id in topology.routers
        assert all(pair.mac_address for pair in port.allowed_address_pairs)
        if topology.security_groups or any(kind == "security_groups" for kind, _ in topology.faults):
            assert topology.security_groups.keys() >= set(port.security_groups)
    for group in topology.security_groups.values():
        for rule in group.rules:
            assert rule.remote_group_id is None or (
                rule.remote_group_id in topology.security_groups
                or ("security_groups", rule.remote_group_id) in topology.faults)
            assert rule.remote_address_group_id in {None, *topology.address_groups}
    taken = set()
    for fip in topology.floatingips.values():
        assert topology.networks[fip.floating_network_id].external
        assert fip.floating_ip_address not in taken
        taken.add(fip.floating_ip_address)
        if fip.port_id is not None:
            assert fip.router_id in topology.routers
            assert fip.fixed_ip_address in {each.ip_address for each in topology.ports[fip.port_id].fixed_ips}
    for key, fault in topology.faults.items():
        assert topology.reason(key)
        if fault.last_good_in_force:
            assert key[1] in getattr(topology, key[0])
        elif key[0] != "routers":
            assert key[1] not in getattr(topology, key[0])


# Faults


def test_what_a_floating_ip_leaves_out_is_filled_in(resources):
    fip = resources.topology.floatingips["fip-vm-red"]
    assert (str(fip.fixed_ip_address), fip.router_id) == ("10.0.0.5", "red")


def test_a_fault_costs_the_resource_and_what_needs_it(site):
    site.change("subnets", "red-v4", gateway_ip=ip_address("10.9.9.9"))
    topology = resources_of(site.topology).topology
    assert topology.faults["subnets", "red-v4"] == Fault(
        (Finding(("gateway_ip",), "10.9.9.9 is not in 10.0.0.0/24"),))
    assert {key for key, fault in topology.faults.items() if fault.needs} == {
        ("ports", "red-if"), ("ports", "vm-red"), ("floatingips", "fip-vm-red")}
    assert topology.reason(("floatingips", "fip-vm-red")) == (
        "needs port vm-red, which is faulty: needs subnet red-v4, which is faulty: "
        "gateway_ip: 10.9.9.9 is not in 10.0.0.0/24")
    assert list(topology.floatingips) == ["fip-vm-blue"]
    check_sound(topology)


def test_the_last_good_form_stays_in_force(resources):
    before = resources.topology
    topology = put(resources, "ports", "vm-red", fixed_ips=(fixed("red-v4", "10.7.0.5"),))
    assert topology.faults == {("ports", "vm-red"): Fault(
        (Finding(("fixed_ips", 0, "ip_address"), "10.7.0.5 is not in 10.0.0.0/24 of subnet red-v4"),),
        last_good_in_force=True)}
    assert topology.ports is before.ports and topology.floatingips is before.floatingips
    topology = put(resources, "ports", "vm-red", fixed_ips=(fixed("red-v4", "10.0.0.7"),))
    assert topology.faults == {}
    assert str(topology.floatingips["fip-vm-red"].fixed_ip_address) == "10.0.0.7"


def test_unreadable_keeps_its_last_good_form_until_it_is_gone(resources):
    before = resources.topology
    key = "routers", "red"
    topology = resources.update({key: Unreadable((Finding(("nme",), "is unknown"),))})
    assert topology.faults == {key: Fault((Finding(("nme",), "is unknown"),), last_good_in_force=True)}
    assert topology.floatingips is before.floatingips and topology.routers is before.routers
    topology = resources.update({key: None})
    assert "red" not in topology.routers and "fip-vm-red" not in topology.floatingips
    assert topology.reason(("ports", "red-if")) == "device_id: no router has the id 'red'"
    assert "fip-vm-blue" in topology.floatingips


def test_a_last_good_form_keeps_what_it_has_like_any_other(resources):
    put(resources, "floatingips", "fip-vm-blue", port_id="nowhere")
    assert resources.topology.floatingips["fip-vm-blue"].port_id == "vm-blue"
    address = IPv6Address("2001:db8:f::11")
    for other in ("a", "z"):
        topology = put(resources, "floatingips", FloatingIP(other, "ext", address, None))
        assert topology.floatingips["fip-vm-blue"].port_id == "vm-blue" and other not in topology.floatingips
    topology = resources.update({("floatingips", "fip-vm-blue"): None})
    assert "a" in topology.floatingips and "z" not in topology.floatingips


@pytest.mark.parametrize("other", ["a", "z"])
def test_who_has_it_keeps_it(resources, other):
    """Whatever the ids: what works does not go because of another one's fault."""
    topology = put(resources, "floatingips", FloatingIP(other, "ext", IPv6Address("2001:db8:f::10"), None))
    assert "fip-vm-red" in topology.floatingips and other not in topology.floatingips
    assert topology.reason(("floatingips", other)) == (
        "floating_ip_address: 2001:db8:f::10 is already the address of floating IP fip-vm-red")
    topology = resources.update({("floatingips", "fip-vm-red"): None})
    assert other in topology.floatingips and topology.faults == {}


@pytest.mark.parametrize("other", ["a", "z"])
def test_what_is_given_up_is_free_for_others_in_the_same_update(resources, other):
    red = dataclasses.replace(resources.newest["floatingips"]["fip-vm-red"],
                              floating_ip_address=IPv6Address("2001:db8:f::99"))
    topology = resources.update({("floatingips", "fip-vm-red"): red, ("floatingips", other): FloatingIP(
        other, "ext", IPv6Address("2001:db8:f::10"), None)})
    assert topology.faults == {}
    swapped = {("floatingips", "fip-vm-red"): dataclasses.replace(
        red, floating_ip_address=IPv6Address("2001:db8:f::10")), ("floatingips", other): FloatingIP(
        other, "ext", IPv6Address("2001:db8:f::99"), None)}
    topology = resources.update(swapped)
    assert topology.faults == {}
    assert topology.floatingips[other].floating_ip_address == IPv6Address("2001:db8:f::99")


def test_of_two_that_come_together_the_lower_id_gets_it(resources):
    topology = resources.update({("floatingips", name): FloatingIP(
        name, "ext", IPv6Address("2001:db8:f::77"), None) for name in ("z", "a", "m")})
    assert "a" in topology.floatingips and {"m", "z"}.isdisjoint(topology.floatingips)
    topology = resources.update({("floatingips", "a"): None})
    assert "m" in topology.floatingips and "z" not in topology.floatingips


def test_who_is_faulty_takes_nothing_from_others(site):
    site.add(FloatingIP("a", "nowhere", IPv6Address("2001:db8:f::10"), "vm-red"))
    topology = resources_of(site.topology).topology
    assert set(topology.floatingips) == {"fip-vm-red", "fip-vm-blue"}
    assert set(topology.faults) == {("floatingips", "a")}


def test_the_gateway_of_vms_is_faulty(resources, site):
    """Nobody says that there is no router: it is not known."""
    changes = all_of(site.topology)
    changes["ports", "red-if"] = Unreadable((Finding(("mac_address",), "is required"),),
                                            frozenset({"red-v4"}))
    resources = Resources(POOL)
    topology = resources.update(changes)
    assert topology.faults["floatingips", "fip-vm-red"] == Fault(needs=("ports", "red-if"))
    topology = resources.update({("ports", "red-if"): None})
    assert "no router has an interface on subnet red-v4" in topology.reason(("floatingips", "fip-vm-red"))


# NAT64 pools


def test_a_pool_of_its_own_that_overlaps_costs_the_floating_ips_only(site):
    site.change("routers", "red", nat64_pool=IPv4Network("10.0.0.0/25"))
    topology = resources_of(site.topology).topology
    assert topology.reason(("routers", "red")) == (
        "nat64_pool: 10.0.0.0/25 overlaps 10.0.0.0/24 of subnet red-v4, which the router has a port on")
    assert topology.faults["floatingips", "fip-vm-red"] == Fault(needs=("routers", "red"))
    assert "red" in topology.routers and "red-if" in topology.ports
    assert set(topology.floatingips) == {"fip-vm-blue"}


def test_the_router_keeps_its_last_good_pool(resources):
    before = resources.topology
    topology = put(resources, "routers", "red", nat64_pool=IPv4Network("10.0.0.0/25"))
    assert topology.faults["routers", "red"].last_good_in_force
    assert topology.routers is before.routers and topology.floatingips is before.floatingips
    assert put(resources, "routers", "red", nat64_pool=None).faults == {}


def test_the_default_pool_is_told_of_routers_whose_floating_ips_suffer(resources, site):
    topology = resources.update({}, IPv4Network("10.0.0.0/16"))
    assert topology.reason(("routers", "red")) == (
        "nat64_pool: [fip64] nat64_pool 10.0.0.0/16 overlaps 10.0.0.0/24 of subnet red-v4, which the router "
        "has a port on")
    assert topology.floatingips == {}
    topology = resources.update({("floatingips", "fip-vm-red"): None})
    assert set(topology.faults) == {("routers", "blue"), ("floatingips", "fip-vm-blue")}
    assert resources.update({}, POOL).faults == {}
    assert set(resources.topology.floatingips) == {"fip-vm-blue"}


def test_a_binding_outside_of_the_default_pool_is_left_out(site):
    good = Nat64Binding(IPv6Address("2001:db8::2"), ip_address("100.64.0.9"))
    site.change("routers", "red", nat64_bindings=(
        Nat64Binding(IPv6Address("2001:db8::1"), ip_address("192.0.2.9")), good))
    topology = resources_of(site.topology).topology
    assert topology.reason(("routers", "red")) == (
        "nat64_bindings[0].pool_address: 192.0.2.9 is not in nat64_pool 100.64.0.0/16")
    assert topology.routers["red"].nat64_bindings == (good,)
    assert set(topology.floatingips) == {"fip-vm-red", "fip-vm-blue"}


# Any changes in any order


FORMS = st.one_of(*(st.tuples(st.just(kind), items) for kind, items in topologies.RESOURCES.items()),
                  st.tuples(st.just("floatingips"), topologies.RESOURCES["floatingips"]))


@st.composite
def steps(draw) -> list[dict]:
    """A site, then changes of some resources at a time."""
    topology = draw(topologies.valid_sites().map(lambda site: site.topology) | topologies.any_topologies)
    present = all_of(topology)
    result = [dict(present)]
    for _ in range(draw(st.integers(1, 8))):
        step = {}
        for _ in range(draw(st.integers(1, 3))):
            what = draw(st.sampled_from(("put", "put", "remove", "unreadable", "back")))
            if what == "put":
                kind, item = draw(FORMS)
                step[kind, item.id] = item
            elif present:
                key = draw(st.sampled_from(sorted(present)))
                if what == "remove":
                    step[key] = None
                elif what == "unreadable":
                    mentions = draw(st.frozensets(
                        st.sampled_from(("r0-v4", "r1-v4", "ext", "ext2")), max_size=2))
                    step[key] = Unreadable((Finding(("x",), "is unknown"),), mentions)
                else:
                    step[key] = all_of(topology).get(key)
        present.update((key, form) for key, form in step.items() if form is not None)
        result.append(step)
    return result


@settings(deadline=None, max_examples=100)
@given(steps())
def test_step_by_step_is_all_at_once(changes):
    """The result follows from the newest and the last good forms: not from how they came to be.

    But of two that want the same, the one that had it first keeps it: then only soundness is checked.
    """
    resources = Resources(POOL)
    for step in changes:
        resources.update(step)
        check_sound(resources.topology)
    event(f"two want the same: {bool(resources._wanted)}")
    if resources._wanted:
        return
    fresh = Resources(POOL)
    fresh.last_good = dict(resources.last_good)
    at_once = fresh.update({(kind, item_id): form for kind, forms in resources.newest.items()
                            for item_id, form in forms.items()})
    assert resources.topology == at_once
    kept = any(fault.last_good_in_force for fault in at_once.faults.values())
    event(f"last good forms: {kept}")
    if not kept:
        without = Resources(POOL)
        assert without.update({(kind, item_id): form for kind, forms in resources.newest.items()
                               for item_id, form in forms.items()}) == at_once


@settings(deadline=None, max_examples=50)
@given(steps())
def test_what_is_right_stays_right_whatever_becomes_unreadable(changes):
    resources = Resources(POOL)
    for step in changes:
        resources.update(step)
    before = resources.topology
    assume(before.networks)
    for key in sorted(all_of(before)):
        if key in before.faults:
            continue
        topology = resources.update({key: Unreadable((Finding((), "is broken"),))})
        for other, item in all_of(before).items():
            assert getattr(topology, other[0])[other[1]] == item
        before = topology


@settings(deadline=None, max_examples=50)
@given(steps(), FORMS)
def test_what_is_right_stays_right_whatever_comes(changes, form):
    """Whatever another resource of its kind wants, and whatever the ids are."""
    resources = Resources(POOL)
    for step in changes:
        resources.update(step)
    kind, item = form
    assume(item.id not in resources.newest[kind])
    before = getattr(resources.topology, kind)
    after = getattr(resources.update({(kind, item.id): item}), kind)
    assert {name: after.get(name) for name in before} == before


@given(topologies.valid_sites().map(lambda site: site.topology), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_a_valid_site_is_taken_over_in_any_order(topology, random):
    changes = list(all_of(topology).items())
    random.shuffle(changes)
    resources = Resources(POOL)
    for key, item in changes:
        resources.update({key: item})
    assert resources.topology.faults == {}
    assert resources.topology == resources_of(topology).topology


def test_equal_forms_change_nothing(resources, site):
    before = resources.topology
    assert resources.update({(kind, key): dataclasses.replace(item) for (kind, key), item
                             in all_of(site.topology).items()}) is before
    topology = put(resources, "networks", Network("new"))
    assert topology.ports is before.ports and topology.networks is not before.networks
    assert "new" not in before.networks
    topology = put(resources, "routers", Router("red", routes=routes(("10.9.0.0/16", "10.0.0.9"))))
    assert topology.floatingips is before.floatingips


def test_one_among_ten_thousand_costs_little_work_and_memory():
    topology, _ = topologies.big_topology(100, 10_000)
    changes = all_of(topology)
    resources = Resources(POOL)
    assert not resources.update(changes).faults
    checked = []
    judge = resources._judge
    resources._judge = lambda key, form: checked.append(key) or judge(key, form)
    new = FloatingIP("new", "ext", IPv6Address("2001:db8:f::f:1"))
    assert len(put(resources, "floatingips", new).floatingips) == 10_001
    assert checked == [("floatingips", "new")]
    del checked[:]
    port = topologies.uuid(7, 5)
    put(resources, "ports", port, name="other")
    assert checked == [("ports", port), ("floatingips", topologies.uuid(8, 5))]
    print(f"records: {size_of(resources) / (1 << 20):.1f} MiB")
    assert size_of(resources) < 8 << 20


def size_of(resources: Resources) -> int:
    """Return the bytes of what Resources has beside the topology and the source's resources themselves."""
    seen: set[int] = set()
    for held in (resources.newest, *(getattr(resources.topology, kind) for kind in KINDS[:-1])):
        seen.update(id(form) for forms in (held.values() if held is resources.newest else (held,))
                    for form in forms.values())
    seen.update(id(fip) for fip in resources.topology.floatingips.values())
    total = sum(map(sys.getsizeof, (*resources.newest["floatingips"].values(), *resources.newest.values())))
    ids = {id(item_id) for forms in resources.newest.values() for item_id in forms}
    for multimap in (*resources.claimants.values(), resources._interfaces, resources.floatingips_of_port):
        total += sys.getsizeof(multimap._ids)
        for key, value in multimap._ids.items():
            total += sys.getsizeof(key) if isinstance(key, int | tuple) else 0
            total += sys.getsizeof(value) if id(value) not in ids and not isinstance(value, str) else 0
    return total


def test_a_subnet_of_the_network_makes_addresses_usable(resources):
    put(resources, "floatingips", FloatingIP("n", "ext", IPv6Address("2001:db8:e::9")))
    assert "n" not in resources.topology.floatingips
    topology = put(resources, "subnets", subnet("ext-more", "ext", "2001:db8:e::/64"))
    assert "n" in topology.floatingips
    topology = resources.update({("subnets", "ext-more"): None})
    assert topology.reason(("floatingips", "n")) == (
        "floating_ip_address: 2001:db8:e::9 is not in 2001:db8:f::/64 of network ext")
