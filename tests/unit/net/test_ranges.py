# SPDX-License-Identifier: Apache-2.0
"""Ranges of ports as values and masks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.net.ranges import masked


def matches(number, value):
    """As OpenFlow compares a field with a value."""
    value, mask = value if isinstance(value, tuple) else (value, ~0)
    return number & mask == value


@given(st.integers(1, 8).flatmap(lambda bits: st.tuples(
    st.just(bits), *[st.integers(0, (1 << bits) - 1)] * 2)))
def test_each_number_of_the_range_is_matched_once_and_no_other(case):
    bits, first, last = case[0], *sorted(case[1:])
    values = list(masked(first, last, bits))
    for number in range(1 << bits):
        assert sum(matches(number, value) for value in values) == (first <= number <= last)
    assert len(values) <= max(2 * bits - 2, 1)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_ports(one, other, port):
    first, last = sorted((one, other))
    assert any(matches(port, value) for value in masked(first, last)) == (first <= port <= last)


def test_known_ranges():
    assert list(masked(80, 80)) == [80]
    assert list(masked(1000, 1999)) == [(1000, 0xFFF8), (1008, 0xFFF0), (1024, 0xFE00), (1536, 0xFF00),
                                        (1792, 0xFF80), (1920, 0xFFC0), (1984, 0xFFF0)]
    assert list(masked(0, 65535)) == [(0, 0)]
    assert len(list(masked(1, 65534))) == 30


@pytest.mark.parametrize(("first", "last", "bits"), [(2, 1, 16), (-1, 1, 16), (0, 65536, 16), (0, 256, 8)])
def test_what_is_no_range(first, last, bits):
    with pytest.raises(ValueError, match=f"{first} to {last} is no range of numbers of {bits} bits"):
        list(masked(first, last, bits))
