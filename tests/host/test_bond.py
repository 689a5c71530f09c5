# SPDX-License-Identifier: Apache-2.0
"""The uplink is a bond of Open vSwitch, of two cables to one switch."""

import pytest

from lab.guest.installed import FIP_BOND


@pytest.fixture
def bond(lab, step):
    with step("ovs-vsctl add-bond bond0, active-backup"):
        members = lab.add_bond()
    yield members
    with step("ovs-vsctl del-port bond0"):
        lab.remove_bond()


def test_an_uplink_that_is_a_bond(lab, bond, step):
    """Floating IPs answer by a bond's active member, and by the other one after either cable is cut."""
    with step(f"{FIP_BOND} is installed"):
        lab.wait_installed(FIP_BOND)
    for active in bond:
        with step(f"the active member is {active}") as now:
            lab.use_bond_member(active)
            lab.wait_answers(FIP_BOND)
            answer = lab.client.ping(FIP_BOND, count=20, interval=0.05, wait=20)
            now.result = str(answer)
            assert answer.ok, answer
    # The first carries external_ids:iface-id.
    for member in bond:
        with step(f"the cable of {member} is cut") as now:
            lab.bond_member_down(member)
            lab.wait_answers(FIP_BOND)
            answer = lab.client.ping(FIP_BOND, count=20, interval=0.05, wait=20)
            now.result = str(answer)
            assert answer.ok, answer
            lab.bond_member_up(member)
