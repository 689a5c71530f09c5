# SPDX-License-Identifier: Apache-2.0
"""An uplink whose interface is a member of an OVS bond: all members are the uplink."""

import dataclasses

import pytest

from fip64agent.plan.desired import PENDING
from fip64agent.plan.inputs import Interface
from fip64agent.plan.planner import plan, replan
from tests.fakes.topologies import own_interfaces, two_tenant_site

FIRST = Interface("eth-up", 1, "uplink", bond="bond0")
SECOND = Interface("eth-zz", 2, None, bond="bond0", active=True)


def site(first=FIRST, second=SECOND):
    made = two_tenant_site()
    made.interfaces["eth-up"] = first
    made.interfaces["eth-zz"] = second
    return made


def changed(member, **values):
    return dataclasses.replace(member, **values)


def test_the_active_member_comes_first():
    desired = plan(site().inputs)
    uplink = desired.uplinks["uplink"]
    assert desired.problems == {}
    assert (uplink.interface, uplink.ofport, uplink.members) == ("eth-up", 1, (2, 1))
    assert (uplink.ofports, uplink.active_ofport) == ((1, 2), 2)
    assert {(found.uplink_ofport, found.uplink_members)
            for found in desired.mappings.values()} == {(2, (1, 2))}


def test_an_uplink_alone_has_no_members():
    uplink = plan(two_tenant_site().inputs).uplinks["uplink"]
    assert (uplink.members, uplink.ofports, uplink.active_ofport) == ((), (1,), 1)


@pytest.mark.parametrize("second", [changed(SECOND, active=False),
                                    changed(SECOND, active=False, ofport=None)])
def test_no_member_is_known_to_be_active(second):
    members = plan(site(second=second).inputs).uplinks["uplink"].members
    assert members == ((1, 2) if second.ofport else (1,))


def test_the_member_with_the_iface_id_cannot_be_opened():
    """The bond works on by the other one, and so does the uplink."""
    desired = plan(site(first=changed(FIRST, ofport=None, error="no such device")).inputs)
    uplink = desired.uplinks["uplink"]
    assert (uplink.interface, uplink.ofport, uplink.members) == ("eth-zz", 2, (2,))
    none = plan(site(first=changed(FIRST, ofport=None), second=changed(SECOND, ofport=None)).inputs)
    assert none.uplinks == {} and none.problems["uplink", "uplink"].state == PENDING


def test_both_members_carry_the_iface_id():
    desired = plan(site(second=changed(SECOND, iface_id="uplink")).inputs)
    assert desired.problems == {} and desired.uplinks["uplink"].members == (2, 1)


def test_members_of_another_bond_are_not_members():
    made = site()
    made.interfaces["eth-other"] = Interface("eth-other", 9, None, bond="bond1", active=True)
    assert plan(made.inputs).uplinks["uplink"].members == (2, 1)


@pytest.mark.parametrize("name, row", [
    ("eth-zz", changed(SECOND, active=False)), ("eth-zz", None), ("eth-zz", changed(SECOND, ofport=7)),
    ("eth-zz", changed(SECOND, bond="")), ("eth-new", Interface("eth-new", 8, None, bond="bond0"))])
def test_a_change_of_a_member_that_has_no_iface_id_is_a_change_of_the_uplink(name, row):
    made = site()
    made.add(*own_interfaces(plan(made.inputs)).values())
    before = made.inputs
    previous = plan(before)
    if row is None:
        del made.interfaces[name]
    else:
        made.interfaces[name] = row
    after = made.inputs
    found = replan(previous, before, after)
    assert found == plan(after)
    assert found.uplinks["uplink"].members != previous.uplinks["uplink"].members


def test_a_failover_changes_nothing_but_the_way_out():
    made = site()
    before = plan(made.inputs)
    made.interfaces["eth-up"] = changed(FIRST, active=True)
    made.interfaces["eth-zz"] = changed(SECOND, active=False)
    after = plan(made.inputs)
    was, now = before.uplinks["uplink"], after.uplinks["uplink"]
    assert dataclasses.replace(was, members=now.members) == now
    assert now.members == (1, 2)


def test_a_member_without_iface_id_opens_while_the_uplink_waits():
    made = site(first=changed(FIRST, ofport=None), second=changed(SECOND, ofport=None))
    before = made.inputs
    previous = plan(before)
    assert previous.uplinks == {}
    made.interfaces["eth-zz"] = SECOND
    assert replan(previous, before, made.inputs) == plan(made.inputs)
    assert plan(made.inputs).uplinks
