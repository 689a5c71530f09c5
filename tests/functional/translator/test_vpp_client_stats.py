# SPDX-License-Identifier: Apache-2.0
"""Counters from the stats segment of a real VPP with the plugin."""

import contextlib
import os
import signal
import time
from ipaddress import IPv4Address, IPv6Address

import pytest

from fip64agent import hub
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppUnavailable
from fip64agent.translator.vpp.stats import StatsReader
from lab.vpp import Vpp
from tests.fakes.vpp import require_vpp

FIP, FIXED, CLIENT = IPv6Address("2001:db8:f::10"), IPv4Address("10.0.0.5"), IPv6Address("2001:db8:f::100")
TENANT, UPLINK = 8, 7
PACKETS = 7


@pytest.fixture
def vpp(short_tmp):
    require_vpp()
    with Vpp(short_tmp / "v") as one:
        yield one


def program(vpp):
    """One tenant with one mapping, and pg0 as its uplink; return its mapping_index and its tenant_index."""
    client = VppClient(str(vpp.api_socket))
    client.connect()
    for number, is_ip6 in ((UPLINK, True), (TENANT, False)):
        client.call("ip_table_add_del", is_add=True, table={"table_id": number, "is_ip6": is_ip6, "name": ""})
    client.call("fip64_tenant_add_del", is_add=True, tenant={
        "table_id": TENANT, "pool_first": "100.64.0.1", "pool_last": "100.64.0.100", "address4": "192.0.0.8",
        "address6": "2001:db8::1", "mtu4": 1500, "mtu6": 1500, "lowest_ipv6_mtu": 1280,
        "zero_traffic_class": False, "drop_udp_zero_checksum": False, "hash_seed": 1, "idle_timeout": 0,
        "max_per_64": 0, "tag": "a tenant"})
    client.call("fip64_mapping_add_del", is_add=True, mappings=[{
        "floating": FIP, "fixed": FIXED, "ip6_table_id": UPLINK, "table_id": TENANT}])
    for line in ("create packet-generator interface pg0", f"set interface ip6 table pg0 {UPLINK}",
                 "enable ip6 interface pg0", "set interface state pg0 up"):
        assert client.call("cli_inband", cmd=line).retval == 0
    mapping, = client.dump("fip64_mapping_dump", table_id=TENANT)
    tenant, = client.dump("fip64_tenant_dump")
    client.close()
    return mapping.mapping_index, tenant.tenant_index


def send(vpp, packets=PACKETS):
    vpp.cli(f"packet-generator new {{ name s limit {packets} node ip6-input interface pg0 size 100-100 "
            f"data {{ UDP: {CLIENT} -> {FIP} UDP: 1000 -> 2000 incrementing 30 }} }}")
    vpp.cli("packet-generator enable-stream s")
    hub.sleep(0.1)
    vpp.cli("packet-generator delete s")


def until(condition, seconds=3.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        hub.sleep(0.05)
    return condition()


def test_traffic_is_counted_by_mapping_and_by_tenant(vpp):
    reader = StatsReader(str(vpp.stats_socket))
    reader.read()  # before there is anything to count
    mapping, tenant = program(vpp)
    send(vpp)
    assert until(lambda: reader.read().mapping(mapping).get("6to4", (0, 0))[0] == PACKETS)
    count = reader.read().mapping(mapping)
    assert count["6to4"].octets >= PACKETS * 40 and count["4to6"] == (0, 0)
    assert until(lambda: reader.read().tenant(tenant).get("bindings") == 1), "one client"
    assert reader.read().tenant(tenant)["bindings-made"] == 1
    assert reader.read().mapping(mapping + 10**6) == {"6to4": (0, 0), "4to6": (0, 0)}


def test_threads_are_added_up(short_tmp):
    require_vpp()
    with Vpp(short_tmp / "v", workers=1) as vpp:
        mapping, _ = program(vpp)
        send(vpp)
        reader = StatsReader(str(vpp.stats_socket))
        assert until(lambda: reader.read().mapping(mapping)["6to4"].packets == PACKETS)


def test_a_restarted_vpp_counts_from_zero(short_tmp):
    require_vpp()
    with Vpp(short_tmp / "v") as vpp:
        reader = StatsReader(str(vpp.stats_socket))
        mapping, _ = program(vpp)
        send(vpp)
        assert until(lambda: reader.read().mapping(mapping)["6to4"].packets == PACKETS)
    with pytest.raises(VppUnavailable, match=f"VPP's stats socket {reader.socket_path}"):
        reader.close()
        reader.read()
    with Vpp(short_tmp / "v") as vpp:
        program(vpp)
        assert reader.read().mapping(mapping)["6to4"].packets == 0


def test_a_stopped_vpp_does_not_hold_up_the_reader(vpp):
    reader = StatsReader(str(vpp.stats_socket))
    reader.read()
    os.kill(vpp.pid, signal.SIGSTOP)
    begun = time.monotonic()
    with contextlib.suppress(VppUnavailable):  # when it was stopped in the middle of a change
        reader.read()
    assert time.monotonic() - begun < 5
    reader.close()
    begun = time.monotonic()
    with pytest.raises(VppUnavailable):
        reader.read()
    assert time.monotonic() - begun < 8
    os.kill(vpp.pid, signal.SIGCONT)
    assert until(lambda: reader.read() is not None)


def test_no_socket_is_named(short_tmp):
    with pytest.raises(VppUnavailable, match=f"VPP's stats socket {short_tmp}/none.sock: No such file"):
        StatsReader(f"{short_tmp}/none.sock").read()
