# SPDX-License-Identifier: Apache-2.0
"""IPv6 between VMs of one network, with the kernel's own Neighbor Discovery."""

import pytest

from lab import ipv6
from lab.daemon import wait_for


@pytest.fixture(params=[None, 7], ids=["no VLAN", "access VLAN"])
def network(request, make_lab):
    """Two VMs on one network and a third on another, which all have no VLAN, or the same."""
    lab = make_lab(standard=False)
    for name, prefix in (("one", "2001:db8:1::/64"), ("two", "2001:db8:2::/64")):
        ipv6.add_network(lab, name, prefix)
    for name, where in (("vm-a", "one"), ("vm-b", "one"), ("vm-c", "two")):
        ipv6.add_vm(lab, name, where, tag=request.param)
    lab.agent.start()
    wait_for(lambda: "reg0" in lab.flows(), 20, "flows")
    return lab


def test_vms_of_a_network_reach_each_other(network):
    a, b = network["vm-a"], network["vm-b"]
    wait_for(lambda: a.reaches(b.address6), 20, "an answer")
    assert a.ping(b.address6, count=50).ok and b.ping(a.address6, count=50).ok
