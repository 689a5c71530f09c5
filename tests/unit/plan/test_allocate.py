# SPDX-License-Identifier: Apache-2.0
"""Numbers and names that are given."""

from hypothesis import given
from hypothesis import strategies as st

from fip64agent.plan.allocate import allocate, tenant_mac, uplink_suffixes

OWNERS = st.lists(st.text(max_size=4), unique=True, max_size=12)
NUMBERS = st.integers(0, 12)


@given(OWNERS, st.dictionaries(st.text(max_size=4), NUMBERS), NUMBERS, NUMBERS)
def test_numbers_are_unique_and_all_are_used(owners, in_force, first, last):
    given_numbers, without = allocate(owners, in_force, first, last)
    assert sorted([*given_numbers, *without]) == sorted(owners)
    assert len(set(given_numbers.values())) == len(given_numbers)
    assert all(first <= number <= last for number in given_numbers.values())
    assert not without or len(given_numbers) == max(0, last - first + 1)
    assert allocate(owners[::-1], in_force, first, last) == (given_numbers, without)
    # Fed back, also after others have gone, the numbers stay.
    left = owners[::2]
    kept, _ = allocate(left, given_numbers, first, last)
    assert all(kept[owner] == given_numbers[owner] for owner in left if owner in given_numbers)


def test_the_smaller_owner_keeps_a_number_that_two_have():
    numbers, without = allocate(["b", "a"], {"a": 5, "b": 5}, 5, 6)
    assert (numbers, without) == ({"a": 5, "b": 6}, ())


def test_those_in_force_come_before_new_ones():
    assert allocate(["a", "b"], {"b": 5}, 5, 5) == ({"b": 5}, ("a",))


def test_numbers_do_not_depend_on_the_process():
    """As Python's hash() of a string does: a restart would move every tenant."""
    assert allocate(["tenant"], {}, 1, 4094)[0] == {"tenant": 1 + 0x4E59C462 % 4094}, "CRC-32 of the id"


def test_suffixes_of_uplinks():
    first = "0a1b2c3d-0000-4000-8000-000000000001"
    second = "0A1B2C3D-0000-4000-8000-000000000001"
    suffixes = uplink_suffixes([first, "port one", second])
    assert suffixes[second] == "0a1b2c3d", "the smaller id"
    assert len(set(suffixes.values())) == 3
    assert all(len(suffix) == 8 and int(suffix, 16) >= 0 for suffix in suffixes.values())
    assert uplink_suffixes([first])[first] == "0a1b2c3d"
    assert uplink_suffixes(["port one"])["port one"] == suffixes["port one"]


def test_macs_are_locally_administered_unicast():
    macs = {tenant_mac(vlan) for vlan in range(1, 4095)}
    assert len(macs) == 4094
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)
