# SPDX-License-Identifier: Apache-2.0
"""VMs with IPv6 of their own reach the outside, and are reached from there, beside VMs with floating IPs."""

import pytest

from lab import ipv6
from lab.daemon import wait_for
from lab.host import FIP_A


@pytest.fixture(scope="module")
def outside(make_module_lab):
    """The standard lab, and a VM with IPv6 behind the router of tenant a."""
    lab = make_module_lab(agent=True)
    ipv6.add_network(lab, "six", "2001:db8:6::/64", router="router-a", ipv6_ra_mode="slaac",
                     ipv6_address_mode="slaac")
    lab.upstream.ip(f"route add 2001:db8:6::/64 via {lab.uplinks['uplink']['address']}")
    vm = ipv6.add_vm(lab, "vm-6", "six", configured=False)
    # Before, it would send from its link-local address, and go on so for as long as it pings.
    show = ("ip", "-6", "addr", "show", "-tentative")
    wait_for(lambda: vm.address6 in vm.run(*show).stdout, 20, "its address")
    wait_for(lambda: vm.reaches("2001:db8:6::1"), 20, "an answer of its gateway")
    return lab


def test_a_vm_reaches_a_client_outside_and_is_reached(outside):
    vm, client = outside["vm-6"], outside.client
    assert vm.reaches(client.address6, 15)
    assert vm.ping(client.address6, count=50).ok and client.ping(vm.address6, count=50).ok


def test_floating_ips_work_beside_it(outside):
    assert outside.client.ping(FIP_A, count=20).ok
    assert outside["vm-6"].ping(FIP_A, count=20).ok, "a VM with IPv6 is a client like any other"
