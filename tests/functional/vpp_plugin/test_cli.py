# SPDX-License-Identifier: Apache-2.0
"""The commands for people do what the API does, and say what was wrong."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.functional.vpp_plugin.control import Binding, Mapping

TENANT = "fip64 tenant add table 1 pool 100.64.0.1 - 100.64.0.254 address4 192.0.2.1 address6 2001:db8::1"


def test_a_life_by_cli(control):
    def do(command: str) -> str:
        return control.vpp.cli(command, check=True)

    assert do(f"{TENANT} mtu4 1400 mtu6 1420 seed 77 timeout 60 max-per-64 5 tag fip64:r1") == ""
    (found,) = control.tenants().values()
    assert (found.tenant.mtu4, found.tenant.mtu6, found.tenant.hash_seed, found.tenant.idle_timeout,
            found.tenant.max_per_64, found.tenant.tag) == (1400, 1420, 77, 60, 5, "fip64:r1")
    assert "lowest IPv6 MTU 1280, traffic class copied, UDP without checksum gets one" in do(
        "show fip64 tenants verbose")
    choices = "lowest-ipv6-mtu 1410 zero-traffic-class drop-udp-zero-checksum"
    assert do(f"{TENANT} mtu4 1400 mtu6 1420 {choices} seed 77 timeout 60 max-per-64 5 tag fip64:r1") == ""
    (found,) = control.tenants().values()
    assert (found.tenant.lowest_ipv6_mtu, found.tenant.zero_traffic_class,
            found.tenant.drop_udp_zero_checksum) == (1410, True, True)
    assert "lowest IPv6 MTU 1410, traffic class zero, UDP without checksum dropped" in do(
        "show fip64 tenants verbose")
    do("fip64 mapping add 2001:db8::a to 10.0.0.1 table 1 ip6-table 6")
    do("fip64 binding add 2001:db8:c::1 to 100.64.0.9 table 1")
    assert control.mappings() == {Mapping(IPv6Address("2001:db8::a"), IPv4Address("10.0.0.1"), 6, 1)}
    assert control.bindings() == {
        Binding(IPv6Address("2001:db8:c::1"), IPv4Address("100.64.0.9"), 1, True)}

    assert "tenants 1, mappings 1, bindings 1 (1 static)" in do("show fip64")
    assert do("show fip64 summary") == do("show fip64")
    tenants = do("show fip64 tenants")
    assert "table 1, pool 100.64.0.1 - 100.64.0.254, tag fip64:r1" in tenants
    assert "mappings 1, bindings 1 of 254 (1 static)" in tenants
    for command in ("show fip64 tenants verbose", "show fip64 tenants table 1"):
        assert "errors from 192.0.2.1 and 2001:db8::1, mtu4 1400, mtu6 1420" in do(command)
        assert "100.64.0.128/26" in do(command)
    for words in ("", "table 1 verbose", "2001:db8::a", "10.0.0.1"):
        assert "10.0.0.1 " in do(f"show fip64 mappings {words}"), words
    assert "10.0.0.1" not in do("show fip64 mappings 2001:db8::b")
    for words in ("", "table 1", "client 2001:db8:c::1", "100.64.0.9", "static", "all", "max 1"):
        assert "100.64.0.9 " in do(f"show fip64 bindings {words}"), words
    assert "100.64.0.9" not in do("show fip64 bindings client 2001:db8:c::2")
    assert "and 1 more" in do("show fip64 bindings max 0")
    do("clear fip64 counters")

    do("fip64 binding del 2001:db8:c::1 table 1")
    do("fip64 mapping del 2001:db8::a ip6-table 6")
    assert control.bindings() == set() and control.mappings() == set()
    do("fip64 tenant del table 1")
    assert control.tenants() == {}
    assert "there is no tenant of table 1" in do("fip64 tenant del table 1")


@pytest.mark.parametrize(("command", "text"), [
    ("fip64 tenant", "either add or del is needed"),
    ("fip64 tenant add", "the tenant's IPv4 table is needed"),
    ("fip64 tenant add table 1", "usage: fip64 tenant add table <id>"),
    ("fip64 tenant add table", "do not understand `table"),
    (TENANT.replace("table 1", "table 77"), "tenant of table 77: there is no such IPv4 table"),
    (TENANT + " mtu6 1000", "mtu6 1000 is less than 1280"),
    (TENANT + " lowest-ipv6-mtu 1000", "lowest_ipv6_mtu 1000 is less than 1280"),
    (TENANT + " mtu4 99999999", ""),
    (TENANT + " tag " + "x" * 64, "the tag is longer than 63 bytes"),
    (TENANT + " nonsense", "do not understand `nonsense"),
    ("fip64 mapping add", "the floating address is needed"),
    ("fip64 mapping add 2001:db8::a", "the fixed address and the tenant's table are needed"),
    ("fip64 mapping add 2001:db8::a to 10.0.0.1 table 77", "2001:db8::a: there is no tenant of table 77"),
    ("fip64 mapping add del 2001:db8::a", "either add or del is needed"),
    ("fip64 binding add 2001:db8:c::1 table 1", "the pool address is needed"),
    ("fip64 binding add 2001:db8:c::1 to 100.64.0.1 table 77", "there is no tenant of table 77"),
    ("show fip64 bindings table 77", "there is no tenant of table 77"),
    ("show fip64 nonsense", "do not understand `nonsense"),
    ("show fip64 tenants add", "nothing can be added or deleted here"),
])
def test_what_was_wrong(control, command, text):
    if not text:
        assert control.vpp.cli(command, check=True) == ""
        return
    with pytest.raises(RuntimeError) as error:
        control.vpp.cli(command, check=True)
    assert text in str(error.value)
    assert control.tenants() == {}


def test_help(control):
    listed = control.vpp.cli("show fip64 ?") + control.vpp.cli("fip64 ?") + control.vpp.cli("clear fip64 ?")
    for words in ("fip64 tenant add", "fip64 mapping add", "fip64 binding add", "clear fip64 counters"):
        assert words in listed
