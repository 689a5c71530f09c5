# SPDX-License-Identifier: Apache-2.0
"""traceroute through the translator, both ways: hop limits and TTLs end on every hop, and it is reported."""

import json
import sys
from ipaddress import ip_address

import pytest

from lab.host import FIP_A, FIP_B
from tests.e2e import steps

# One UDP datagram for each hop limit; the error queue of the socket tells who refused it, and why.
PROBE = """
import json, select, socket, sys, time
destination, most = sys.argv[1], int(sys.argv[2])
v6 = ":" in destination
family, level, recverr, hops = ((socket.AF_INET6, 41, 25, socket.IPV6_UNICAST_HOPS) if v6
                                else (socket.AF_INET, 0, 11, socket.IP_TTL))
found = []
for limit in range(1, most + 1):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(level, recverr, 1)
        sock.setsockopt(level, hops, limit)
        sock.connect((destination, 33433 + limit))
        answer = None
        deadline = time.monotonic() + 1.5
        sock.send(bytes(32))
        while answer is None and time.monotonic() < deadline:
            select.select([], [], [sock], 0.02)
            try:
                _, ancillary, _, _ = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                time.sleep(0.01)
                continue
            for _, _, data in ancillary:
                offender = data[24:40] if v6 else data[20:24]
                answer = [socket.inet_ntop(family, offender), data[5], data[6]]
    found.append(answer)
    if answer and answer[1] == (1 if v6 else 3):
        break
print(json.dumps(found))
"""
EXCEEDED6, UNREACHABLE6 = (3, 0), (1, 4)
EXCEEDED4, UNREACHABLE4 = (11, 0), (3, 3)


@pytest.fixture(scope="module")
def lab(make_module_lab):
    lab = make_module_lab(agent=True)
    for vm in ("vm-a", "vm-b"):
        lab[vm].serve()
    lab.wait_reachable(FIP_A, FIP_B)
    steps.wait_settled(lab)
    return lab


def hops(node, destination, most=8):
    """Who answered at each hop limit: (address, (type, code)); None: nobody did."""
    found = json.loads(node.run(sys.executable, "-c", PROBE, destination, str(most), timeout=60).stdout)
    return [None if hop is None else (hop[0], (hop[1], hop[2])) for hop in found]


@pytest.mark.parametrize("fip", [FIP_A, FIP_B])
def test_a_client_traces_the_way_to_a_floating_ip(lab, fip):
    """With tayga, the two ends of the tenant's namespace are hops too, and silent."""
    way = hops(lab.client, fip)
    assert way[-1] == (fip, UNREACHABLE6), way  # the VM itself, by its floating IP
    assert way[0] is not None and way[0][1] == EXCEEDED6, way  # the upstream router
    # Every answer is an IPv6 error of a global address that the client can make sense of.
    for address, kind in filter(None, way[:-1]):
        assert kind == EXCEEDED6 and not ip_address(address).is_link_local, way
    if lab.translator == "vpp":
        assert len(way) == 3 and None not in way, way
        assert way[1][0] == lab.uplinks["uplink"]["address"], way


def test_a_vm_traces_the_way_to_a_client(lab):
    pool_address = lab.client.http_get(FIP_A)["answer"]["you_are"]
    way = hops(lab["vm-a"], pool_address)
    assert way[-1] == (pool_address, UNREACHABLE4), way
    for _address, kind in filter(None, way[:-1]):
        assert kind == EXCEEDED4, way
    if lab.translator == "vpp":
        assert len(way) == 3 and None not in way, way
        # Neither VPP nor the upstream router has an IPv4 address there: RFC 7600's stands in for them.
        assert [address for address, _ in way[:-1]] == ["192.0.0.8"] * 2, way


def test_the_errors_of_routers_make_no_client(lab):
    """Or a traceroute could push clients out of the pool."""
    hops(lab.client, FIP_A)
    hops(lab["vm-a"], lab.client.http_get(FIP_A)["answer"]["you_are"])
    assert {row["client"] for row in lab.agent.get("/clients")} <= {lab.client.address6}


def test_a_floating_ip_that_does_not_exist_ends_at_this_host(lab):
    """And not in a loop between upstream router and host."""
    way = hops(lab.client, "2001:db8:f::dead", 4)
    assert [hop for hop in way if hop and hop[1] == EXCEEDED6] == way[:1], way
