# SPDX-License-Identifier: Apache-2.0
"""What cannot be had is reported, and costs nothing else: the tenant's floating IPs work on."""

from lab.host import FIP_A, FIP_B
from tests.e2e import steps

ODD, BROADCAST = "2001:db8:f::c", "2001:db8:f::d"


def test_impossible_fixed_ips_bindings_and_pools_cost_only_themselves(lab):
    uplink = lab.uplinks["uplink"]["address"]
    with lab.topology.batch() as topology:
        topology.add_subnet("odd", "net-a", "169.254.7.0/24")
        topology.add_router_port("gateway-odd", "router-a", "net-a", {"odd": "169.254.7.1"})
        topology.add_port("vm-odd", "net-a", {"odd": "169.254.7.5"})
        topology.add_port("vm-broadcast", "net-a", {"subnet-a": "10.0.0.255"})
        topology.add_fip(ODD, "vm-odd")
        topology.add_fip(BROADCAST, "vm-broadcast")
        topology.update("subnets", "subnet-a", host_routes=[
            {"destination": "100.64.0.0/10", "nexthop": "10.0.0.9"}])
        topology.update("routers", "router-a", nat64_bindings=[
            {"ipv6_address": client, "pool_address": f"100.64.0.{number}"}
            for number, client in enumerate((FIP_A, uplink, "2001:db8:c::77"), 8)])
    assert "is a link-local address (169.254.0.0/16)" in steps.wait_state(lab, ODD, "error")["reason"]
    assert "is the broadcast address of its subnet" in steps.wait_state(lab, BROADCAST, "error")["reason"]
    lab.wait_reachable(FIP_A, FIP_B)
    for address in (FIP_A, FIP_B):
        steps.wait_state(lab, address, "active")
    reported = lab.ctl("status", check=False)
    assert reported.returncode == 1
    for words in (f"client {FIP_A} is left out: it is a floating address of this router",
                  f"client {uplink} is left out: it is the address of uplink",
                  "overlaps host route 100.64.0.0/10"):
        assert words in " ".join(reported.stdout.split()), reported.stdout
    with lab.topology.batch() as topology:
        for address in (ODD, BROADCAST):
            topology.remove_fip(address)
        topology.update("subnets", "subnet-a", host_routes=None)
        topology.update("routers", "router-a", nat64_bindings=None)
    lab.wait_for(lambda: lab.ctl("status", check=False).returncode == 0, 10, "all is well again")
