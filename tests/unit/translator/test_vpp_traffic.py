# SPDX-License-Identifier: Apache-2.0
"""Sums of a tenant's counters never go back."""

from ipaddress import IPv6Address

from fip64agent.translator.base import Count
from fip64agent.translator.vpp.traffic import Totals

A, B = ("red", IPv6Address("2001:db8:f::a")), ("red", IPv6Address("2001:db8:f::b"))


def traffic(packets: int) -> dict[str, Count]:
    return {"6to4": Count(packets, 100 * packets), "4to6": Count(2 * packets, 200 * packets)}


def test_the_sum_of_a_tenant_s_floating_ips():
    found = Totals().add({A: traffic(3), B: traffic(4), ("blue", A[1]): traffic(9)}, ["red", "green"])
    assert found == {"red": traffic(7), "green": {}}


def test_a_floating_ip_that_goes_leaves_what_it_counted():
    totals = Totals()
    totals.add({A: traffic(3), B: traffic(4)}, ["red"])
    assert totals.add({B: traffic(5)}, ["red"]) == {"red": traffic(8)}
    assert totals.add({A: traffic(1), B: traffic(5)}, ["red"]) == {"red": traffic(9)}


def test_a_vpp_that_was_restarted_counts_on():
    totals = Totals()
    totals.add({A: traffic(100)}, ["red"])
    assert totals.add({A: traffic(1)}, ["red"]) == {"red": traffic(101)}
