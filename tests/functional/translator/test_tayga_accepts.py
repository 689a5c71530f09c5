# SPDX-License-Identifier: Apache-2.0
"""Whatever fixed IPs, floating addresses and static bindings a topology has: tayga takes what is planned.

tayga ends when a single line of its configuration is not to its taste, and with it all floating IPs of its
tenant. So what it would not take must not get there.
"""

from __future__ import annotations

import dataclasses
import itertools
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fip64agent.net.special import RESERVED_IPV4, RESERVED_IPV6
from fip64agent.plan.inputs import Settings
from fip64agent.plan.planner import plan
from fip64agent.topology.model import ROUTER_INTERFACE, FixedIP, FloatingIP, Nat64Binding, Port, Subnet
from fip64agent.topology.values import nat64_pool
from tests.fakes.topologies import Site, add_tenant, add_vm, edge_site, mac
from tests.fakes.translators import CAPABILITIES
from tests.functional.translator.test_tayga import Bench, bench  # noqa: F401 (a fixture)

GOOD = "fip-vm-red"
UPLINK = IPv6Address("2001:db8:ffff::2")
EDGES4, EDGES6 = (
    [kind(number) for prefix in prefixes for end in (int(prefix[0]), int(prefix[-1]))
     for number in (end - 1, end, end + 1) if 0 <= number < 1 << prefix.max_prefixlen]
    for kind, prefixes in ((IPv4Address, RESERVED_IPV4), (IPv6Address, RESERVED_IPV6)))
"""The first and last addresses of what is reserved, and those before and after them."""
ADDRESSES4 = st.sampled_from(EDGES4) | st.ip_addresses(v=4)
ADDRESSES6 = (st.sampled_from([*EDGES6, UPLINK, IPv6Address("2001:db8:f::10"), IPv6Address("2001:db8:c::1"),
                               IPv6Address("64:ff9b::192.0.2.1"), IPv6Address("::ffff:192.0.2.1")])
              | st.ip_addresses(v=6))
POOLS = [nat64_pool(pool) for pool in ("100.64.0.0/16", "100.64.0.0/30", "100.64.0.0/24", "198.18.0.0/15",
                                       "32.0.0.0/3", "192.0.2.0/29")]


def around(address, length: int):
    network = IPv4Network if address.version == 4 else IPv6Network
    return network((address, length), strict=False)


@st.composite
def sites(draw) -> tuple[Site, IPv4Network]:
    """A tenant with one floating IP that works, and more of anything."""
    site = add_vm(add_tenant(edge_site(), "red", cidr="10.99.0.0/24"), "vm-red", "red", "10.99.0.5",
                  "2001:db8:f::10")
    pool = draw(st.sampled_from(POOLS))
    for number in range(draw(st.integers(0, 3))):
        fixed, floating = draw(ADDRESSES4), draw(ADDRESSES6)
        subnet = Subnet(f"s{number}", "red-net", around(fixed, draw(st.integers(8, 32))))
        gateway = subnet.cidr[draw(st.sampled_from((0, 1, -1))) if subnet.cidr.num_addresses > 1 else 0]
        site.add(subnet, Subnet(f"f{number}", "ext", around(floating, draw(st.integers(1, 128)))),
                 Port(f"gw{number}", "red-net", mac(8, number), device_owner=ROUTER_INTERFACE,
                      device_id="red", fixed_ips=(FixedIP(subnet.id, gateway),)))
        add_vm(site, f"vm{number}", "red", "10.99.0.6")
        site.change("ports", f"vm{number}", fixed_ips=(FixedIP(subnet.id, fixed),))
        site.add(FloatingIP(f"fip{number}", "ext", floating, f"vm{number}"))
    own = [fip.floating_ip_address for fip in site.floatingips.values()]
    low = st.integers(0, 6).map(lambda offset: pool.network_address + offset)
    bindings = draw(st.lists(st.builds(
        Nat64Binding, ADDRESSES6 | st.sampled_from(own),
        low | ADDRESSES4 | st.just(pool[-1]) | st.just(pool[min(len(own), pool.num_addresses - 1)])),
        max_size=5))
    site.change("routers", "red", nat64_pool=pool, nat64_bindings=tuple(bindings))
    site.settings = Settings(capabilities=CAPABILITIES["tayga"],
                             pool_slice=draw(st.sampled_from(((1, 1), (2, 2), (3, 4)))))
    return site, pool


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(sites())
def test_tayga_takes_what_is_planned(bench: Bench, made):  # noqa: F811
    site, pool = made
    site.settings = dataclasses.replace(site.settings, netns_prefix=bench.prefix)
    inputs = site.inputs
    desired = plan(inputs)
    key = "floatingips", GOOD
    pool_fails = (("tenant", "red") in desired.problems and "red" not in desired.tenants) or (
        key in inputs.topology.faults and "needs router red, which is faulty: nat64_pool: "
        in inputs.topology.reason(key))
    assert pool_fails or GOOD in desired.mappings
    for tenant in desired.tenants.values():
        bench.tenant("red")
        failed = bench.converge(tenant)
        assert failed == {}, (failed, tenant.maps, tenant.bindings, pool)
        assert bench.settled(tenant)


def test_what_the_planner_refuses_tayga_refuses_too(bench):  # noqa: F811
    """Each kind, beside a good one, so that nothing is refused without need; 0.0.0.0/8 tayga would take."""
    red = bench.tenant("red")
    kinds = itertools.chain(RESERVED_IPV4, RESERVED_IPV6)
    for prefix in (prefix for prefix in kinds if prefix != IPv4Network("0.0.0.0/8")):
        for address in (prefix[0], prefix[-1]):
            pair = ((address, ip_address("2001:db8:f::6")) if address.version == 4
                    else (ip_address("10.0.0.6"), address))
            bench.rooms[0]._ends.clear()
            reason, = bench.converge(dataclasses.replace(red, maps=(*red.maps, pair))).values()
            assert reason.startswith("tayga ended with status 1"), (address, reason)
