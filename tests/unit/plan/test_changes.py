# SPDX-License-Identifier: Apache-2.0
"""The log tells what a new plan changes: each object, or how many when they are many."""

import dataclasses
from types import MappingProxyType

from fip64agent.plan.changes import MOST, describe_changes
from fip64agent.plan.desired import NOTHING
from fip64agent.plan.inputs import Inputs
from fip64agent.plan.planner import plan
from fip64agent.topology.model import Topology
from tests.fakes.topologies import big_topology, sound_inputs


def planned(tenants, fips):
    topology, interfaces = big_topology(tenants, fips)
    return plan(sound_inputs(Inputs(topology, interfaces)))


def test_each_object_is_named():
    desired = planned(1, 2)
    lines = describe_changes(NOTHING, desired)
    for mapping in desired.mappings.values():
        (line,) = [line for line in lines if line.startswith(f"floating IP added: {mapping.floating_ip} ")]
        assert str(mapping.fixed_ip) in line and mapping.router_id in line and mapping.port_id in line
    assert any(line.startswith("uplink added: port ") for line in lines)
    assert [line for line in describe_changes(desired, NOTHING) if line.startswith("floating IP removed")]


def test_nothing_is_told_when_nothing_changes():
    desired = planned(1, 2)
    assert describe_changes(desired, desired) == []


def test_many_are_counted():
    desired = planned(2, 100)
    lines = describe_changes(NOTHING, desired)
    assert len(lines) <= MOST and "100 times: floating IP added" in lines


def test_what_waits_is_told_once_with_its_reason():
    topology, interfaces = big_topology(1, 2)
    bound = {name: row for name, row in interfaces.items() if not row.iface_id
             or topology.ports[row.iface_id].is_router_port}
    desired = plan(sound_inputs(Inputs(topology, MappingProxyType(bound))))
    lines = [line for line in describe_changes(NOTHING, desired) if line.startswith("floating IP pending")]
    assert len(lines) == 2 and "is not bound on this host" in lines[0]
    assert describe_changes(desired, dataclasses.replace(desired)) == []


def test_an_empty_plan_is_silent():
    assert describe_changes(NOTHING, plan(Inputs(Topology.of(), {}))) == []
