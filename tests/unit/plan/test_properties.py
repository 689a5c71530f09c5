# SPDX-License-Identifier: Apache-2.0
"""What holds for every topology, sound or made by hand."""

import dataclasses
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fip64agent.plan.desired import ERROR, PENDING
from fip64agent.plan.difference import changed_keys
from fip64agent.plan.inputs import Inputs
from fip64agent.plan.kinds import kinds
from fip64agent.plan.planner import plan, replan
from fip64agent.topology.model import KINDS, Difference, Topology
from fip64agent.topology.resources import Resources
from tests.fakes import topologies
from tests.fakes.topologies import any_inputs, edited, edits, valid_sites

quick = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
MAPPINGS = (*kinds(), "problems")

valid_inputs = st.builds(lambda site, settings: dataclasses.replace(site.inputs, settings=settings),
                         valid_sites(), topologies.SETTINGS)
all_inputs = st.one_of(valid_inputs, any_inputs, st.builds(
    lambda inputs, several: edited(inputs, plan(inputs), *several),
    valid_inputs, st.lists(edits, max_size=8)))
sound_inputs = all_inputs.map(topologies.sound_inputs)
"""What a source of topologies hands over: nothing unsound is in force."""


def in_other_order(inputs: Inputs, random) -> Inputs:
    def shuffled(mapping):
        items = list(mapping.items())
        random.shuffle(items)
        return dict(items)

    return dataclasses.replace(
        inputs, topology=Topology(**{kind: shuffled(getattr(inputs.topology, kind)) for kind in KINDS}),
        interfaces=shuffled(inputs.interfaces))


@quick
@given(all_inputs | sound_inputs, st.randoms(use_true_random=False))
def test_the_order_of_the_input_is_irrelevant(inputs, random):
    one, other = plan(inputs), plan(in_other_order(inputs, random))
    assert one == other
    assert list(one.mappings) == list(other.mappings)


@quick
@given(sound_inputs)
def test_every_floating_ip_is_planned_or_reported_or_down(inputs):
    desired = plan(inputs)
    for fip_id, fip in inputs.topology.floatingips.items():
        known = fip_id in desired.mappings or ("fip", fip_id) in desired.problems
        assert known == (fip.port_id is not None)
    assert {problem.state for problem in desired.problems.values()} <= {PENDING, ERROR}
    assert all(problem.reason for problem in desired.problems.values())


@quick
@given(valid_sites())
def test_a_valid_site_has_no_errors(site):
    desired = plan(site.inputs)
    assert {problem for problem in desired.problems.values() if problem.state == ERROR} == set()
    bound = {interface.iface_id for interface in site.interfaces.values()}
    for fip_id, fip in site.floatingips.items():
        assert (fip_id in desired.mappings) == (fip.port_id in bound)


@quick
@given(sound_inputs)
def test_names_numbers_and_macs_are_unique(inputs):
    desired = plan(inputs)
    shared = inputs.settings.capabilities.shared_downlink
    uplinks, tenants = desired.uplinks.values(), desired.tenants.values()
    links = [name for uplink in uplinks for name in (uplink.veth, uplink.peer)]
    links += [tenant.interface for tenant in tenants if not shared]
    assert all(0 < len(name) <= 15 for name in links)
    unique = {
        "links": links,
        "vlans": [tenant.vlan for tenant in tenants],
        "tables": [uplink.table for uplink in uplinks],
        "macs": [tenant.mac for tenant in tenants if not shared],
        "floating": [found.floating_ip for found in desired.mappings.values()],
        "fixed": [(found.router_id, found.fixed_ip) for found in desired.mappings.values()],
    }
    for what, values in unique.items():
        assert [value for value, count in Counter(values).items() if count > 1] == [], what
    first, last = inputs.settings.vlan_range
    assert all(first <= tenant.vlan <= last for tenant in tenants)


@quick
@given(sound_inputs)
def test_the_plan_is_consistent_in_itself(inputs):
    desired = plan(inputs)
    assert (desired.host is None) == (not desired.uplinks)
    assert desired.allocations.vlans == {key: tenant.vlan for key, tenant in desired.tenants.items()}
    assert desired.allocations.tables == {key: uplink.table for key, uplink in desired.uplinks.items()}
    for kind in kinds().values():
        for space, attribute in kind.numbers:
            given = desired.allocations.numbers.get(space.name, {})
            for obj in desired.of(kind.name).values():
                assert getattr(obj, attribute) == given[obj.key[1]]
    maps = {router_id: [] for router_id in desired.tenants}
    for fip_id, found in desired.mappings.items():
        tenant, uplink = desired.tenants[found.router_id], desired.uplinks[found.uplink_id]
        assert (found.fip_id, found.downlink_mac, found.pool) == (fip_id, tenant.mac, tenant.pool)
        assert (found.uplink_ofport, found.uplink_mac) == (uplink.active_ofport, uplink.mac)
        prefixes = uplink.onlink if found.on_link else uplink.routed
        assert any(found.floating_ip in prefix for prefix in prefixes)
        maps[found.router_id].append((found.fixed_ip, found.floating_ip))
    for router_id, tenant in desired.tenants.items():
        assert tenant.maps and list(tenant.maps) == sorted(maps[router_id])
    ports = {found.port_id for found in desired.mappings.values()}
    assert {gateway.port_id for gateway in desired.gateways.values()} == ports
    isolating = [gateway.port_id for gateway in desired.gateways.values() if gateway.isolates]
    served = {uplink.network_id for uplink in desired.uplinks.values()}
    assert len(isolating) == len(set(isolating)), "once per port"
    assert not any(inputs.topology.ports[port_id].network_id in served for port_id in isolating)
    for mapping in (desired.uplinks, desired.tenants, desired.mappings, desired.gateways):
        assert all(key in (obj.key, obj.key[1]) for key, obj in mapping.items())


@quick
@given(all_inputs | sound_inputs)
def test_the_same_input_gives_the_same_output_and_feeding_it_back_changes_nothing(inputs):
    desired = plan(inputs)
    assert plan(inputs) == desired
    assert plan(dataclasses.replace(inputs, allocations=desired.allocations)) == desired


@quick
@given(valid_inputs, st.data())
def test_adding_one_floating_ip_changes_only_its_own_objects(inputs, data):
    if not inputs.topology.floatingips:
        return
    fip_id = data.draw(st.sampled_from(sorted(inputs.topology.floatingips)))
    without = edited(inputs, plan(inputs), ("floatingips", fip_id))
    before = plan(without)
    after = plan(dataclasses.replace(inputs, allocations=before.allocations))
    fip = inputs.topology.floatingips[fip_id]
    router_id = inputs.topology.ports[fip.port_id].network_id.removesuffix("-net")
    touched = {(was or now).key[:2] for was, now in after.changes(before)}
    own = {("fip", fip_id), ("tenant", router_id), ("gateway", fip.port_id), ("filter", fip.port_id)}
    rules = {"product", "service", "remote"}  # a tenant's first floating IP brings those for its pool
    assert {key for key in touched if key[0] not in rules} <= own
    problems = before.problems.keys() ^ after.problems.keys()
    assert problems <= {("fip", fip_id), ("tenant", router_id)}


@quick
@given(valid_inputs, st.lists(edits, max_size=6))
def test_nobody_loses_a_number_while_others_come_and_go(inputs, several):
    desired = plan(inputs)
    for edit in several:
        if edit[0] == "settings":
            continue
        inputs = dataclasses.replace(edited(inputs, desired, edit), allocations=desired.allocations)
        before, desired = desired, plan(inputs)
        for router_id in before.tenants.keys() & desired.tenants.keys():
            assert desired.tenants[router_id].vlan == before.tenants[router_id].vlan
        for port_id in before.uplinks.keys() & desired.uplinks.keys():
            assert desired.uplinks[port_id].table == before.uplinks[port_id].table


@settings(quick, max_examples=80)
@given(st.one_of(valid_inputs, valid_inputs, any_inputs),
       st.lists(st.tuples(st.lists(edits, min_size=1, max_size=2), st.booleans()), max_size=8),
       st.booleans())
def test_replan_equals_plan_and_keeps_what_did_not_change(by_hand, steps, is_sound):
    """is_sound: the topology comes from a source; else it may be unsound."""
    taken = topologies.sound_inputs if is_sound else lambda inputs: inputs
    inputs = taken(by_hand)
    desired = plan(inputs)
    for several, feed_back in steps:
        by_hand = edited(by_hand, desired, *several)
        if feed_back:
            by_hand = dataclasses.replace(by_hand, allocations=desired.allocations)
        after = taken(by_hand)
        scratch, was = plan(after), plan(inputs)
        replanned = replan(desired, inputs, after)
        assert replanned == scratch
        assert replanned == replan(desired, inputs, after), "replan() is not pure"
        assert desired == was, "replan() changed the previous plan"
        for kind in MAPPINGS:
            old, new = [one.problems if kind == "problems" else one.of(kind) for one in (desired, replanned)]
            assert (old is new) == (old == new), kind
            assert all(new[key] is old[key] for key in new if key in old and new[key] == old[key]), kind
        assert sorted_changes(replanned.changes(desired)) == sorted_changes(
            [(desired_by_key(desired).get(key), desired_by_key(replanned).get(key))
             for key in desired_by_key(desired).keys() | desired_by_key(replanned).keys()
             if desired_by_key(desired).get(key) != desired_by_key(replanned).get(key)])
        inputs, desired = after, replanned


@settings(quick, max_examples=60)
@given(valid_sites(), st.lists(st.tuples(
    edits.filter(lambda edit: edit[0] in KINDS), st.booleans()), min_size=1, max_size=12))
def test_a_source_s_changes_are_planned_as_from_scratch(site, steps):
    """The source says what it changed since its last topology, of which not every one is planned."""
    resources = Resources(site.settings.nat64_pool)
    inputs = dataclasses.replace(site.inputs, topology=resources.update({
        (kind, item_id): item for kind in KINDS for item_id, item in getattr(site, kind).items()}))
    desired = plan(inputs)
    for (kind, item), planned in steps:
        change = {(kind, item): None} if isinstance(item, str) else {(kind, item.id): item}
        topology = resources.update(change)
        if planned:
            after = dataclasses.replace(inputs, topology=topology)
            desired, inputs = replan(desired, inputs, after), after
            assert desired == plan(after)


class Unequal:
    def __eq__(self, other):
        raise AssertionError("is compared")

    __hash__ = None


def test_only_what_may_differ_is_compared():
    same = Unequal()
    before, after = {"a": 1, "b": same, "c": 3, "e": 5}, {"b": Unequal(), "c": 4, "d": 5, "e": 5}
    known = Difference(before, after, {"a", "c", "d", "e", "never there"})
    assert changed_keys(before, after, known) == ["c", "d", "a"]
    with pytest.raises(AssertionError, match="is compared"):
        changed_keys(before, dict(after), known)


def desired_by_key(desired):
    return {obj.key: obj for obj in desired.objects()}


def sorted_changes(changes):
    return sorted(changes, key=lambda change: (change[0] or change[1]).key)
