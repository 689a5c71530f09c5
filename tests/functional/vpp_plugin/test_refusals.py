# SPDX-License-Identifier: Apache-2.0
"""Every refusal has its own error, its text names object and reason, and nothing has changed after it."""

from __future__ import annotations

import pytest

from tests.functional.vpp_plugin.control import POOL, mapping

NO_SUCH_FIB = -3
NO_SUCH_ENTRY = -6
INVALID_VALUE = -7
INVALID_VALUE_2 = -8
INVALID_SRC_ADDRESS = -57
INVALID_DST_ADDRESS = -58
NO_SUCH_TABLE = -65
INVALID_ARGUMENT = -73
TABLE_TOO_BIG = -99
ADDRESS_IN_USE = -105
ADDRESS_FOUND_FOR_INTERFACE = -114
ENTRY_ALREADY_EXISTS = -116
UNSUPPORTED = -126
ILLEGAL_NAME = -133
INVALID_VALUE_3 = -150
LIMIT_EXCEEDED = -162
INVALID_VALUE_4 = -166


def said(control) -> str:
    """The last refusal in VPP's log."""
    lines = [line for line in control.vpp.cli("show logging").splitlines() if "refused:" in line]
    return lines[-1].split("refused: ")[1] if lines else ""


@pytest.mark.parametrize(("changes", "error", "text"), [
    ({"table_id": 77}, NO_SUCH_FIB, "tenant of table 77: there is no such IPv4 table"),
    ({"pool_first": "100.64.0.9", "pool_last": "100.64.0.8"}, INVALID_VALUE, "ends before it begins"),
    ({"pool_first": "0.0.0.0", "pool_last": "0.0.0.9"}, INVALID_VALUE_2, "0.0.0.0 - 0.0.0.9"),
    ({"pool_first": "127.0.0.1", "pool_last": "127.0.0.9"}, INVALID_VALUE_2, "no unicast"),
    ({"pool_first": "223.255.255.255", "pool_last": "224.0.0.0"}, INVALID_VALUE_2, "no unicast"),
    ({"pool_first": "126.255.255.255", "pool_last": "127.0.0.0"}, INVALID_VALUE_2, "no unicast"),
    ({"pool_first": "240.0.0.1", "pool_last": "240.0.0.9"}, INVALID_VALUE_2, "no unicast"),
    ({"pool_first": "100.64.0.0", "pool_last": "100.128.0.0"}, TABLE_TOO_BIG, "more than 4194304 addresses"),
    ({"pool_first": "0.0.0.0", "pool_last": "255.255.255.255"}, TABLE_TOO_BIG, "more than"),
    ({"address4": "224.0.0.1"}, INVALID_SRC_ADDRESS, "address4 224.0.0.1 is no unicast address"),
    ({"address4": "0.0.0.0"}, INVALID_SRC_ADDRESS, "address4 0.0.0.0"),
    ({"address6": "::"}, INVALID_VALUE_3, "address6 :: is no unicast address"),
    ({"address6": "ff02::1"}, INVALID_VALUE_3, "address6 ff02::1"),
    ({"address6": "fe80::1"}, INVALID_VALUE_3, "address6 fe80::1"),
    ({"address6": "::1"}, INVALID_VALUE_3, "address6 ::1"),
    ({"mtu4": 67}, INVALID_VALUE_4, "mtu4 67 is less than 68"),
    ({"mtu6": 1279}, INVALID_ARGUMENT, "mtu6 1279 is less than 1280"),
    ({"lowest_ipv6_mtu": 1279}, UNSUPPORTED, "lowest_ipv6_mtu 1279 is less than 1280"),
    ({"pool_first": "169.254.1.1", "pool_last": "169.254.1.9"}, INVALID_VALUE_2,
     "the pool 169.254.1.1 - 169.254.1.9 has addresses that are no unicast addresses"),
    ({"pool_first": "169.253.255.1", "pool_last": "169.255.0.9"}, INVALID_VALUE_2,
     "the pool 169.253.255.1 - 169.255.0.9 has addresses that are no unicast addresses"),
    ({"address4": "169.254.0.9"}, INVALID_SRC_ADDRESS, "address4 169.254.0.9 is no unicast address"),
    ({"idle_timeout": 2_000_001}, LIMIT_EXCEEDED, "idle_timeout 2000001 is more than 2000000 seconds"),
])
def test_tenant(control, changes, error, text):
    assert control.set_tenant(**changes) == error
    assert text in said(control)
    assert control.tenants() == {}
    # The same as a change of one that is there.
    if changes.get("table_id") is None:
        assert control.set_tenant() == 0
        before = control.tenants()
        assert control.set_tenant(**changes) == error
        assert control.tenants() == before


def test_a_tenants_longest_tag(control):
    assert control.set_tenant(tag="x" * 63) == 0
    assert control.tenants()[1].tenant.tag == "x" * 63


def test_a_tag_without_end(control):
    """vpp_papi cannot send it, another client can."""
    client = control.api.client
    message = client.messages["fip64_tenant_add_del"]
    packed = message.pack({
        "_vl_msg_id": client.transport.get_msg_index(f"fip64_tenant_add_del_{message.crc[2:]}"),
        "client_index": client.transport.socket_index, "context": 4711, "is_add": True,
        "tenant": {"table_id": 1, "pool_first": POOL[0], "pool_last": POOL[1], "address4": "192.0.2.1",
                   "address6": "2001:db8::1", "mtu4": 1500, "mtu6": 1500, "lowest_ipv6_mtu": 1280,
                   "tag": "x" * 63}})
    assert packed.endswith(b"x" * 63 + b"\0")
    client.transport.write(bytes(packed)[:-1] + b"x")
    assert client.read_blocking().retval == ILLEGAL_NAME
    assert control.tenants() == {}


def test_limits_are_allowed(control):
    assert control.set_tenant(pool_first="100.64.0.0", pool_last="100.127.255.255", mtu4=68, mtu6=1280,
                              lowest_ipv6_mtu=1280, idle_timeout=2_000_000) == 0
    assert control.set_tenant(pool_first="223.255.255.255", pool_last="223.255.255.255", mtu4=65535,
                              mtu6=65535, lowest_ipv6_mtu=65535) == 0


@pytest.mark.parametrize(("wanted", "error", "text"), [
    (("2001:db8::a", "10.0.0.1", 77), NO_SUCH_ENTRY, "mapping 2001:db8::a: there is no tenant of table 77"),
    (("2001:db8::a", "10.0.0.1", 1, 66), NO_SUCH_TABLE, "mapping 2001:db8::a: there is no IPv6 table 66"),
    (("::", "10.0.0.1"), INVALID_DST_ADDRESS, "mapping ::: this is no unicast address"),
    (("ff02::1", "10.0.0.1"), INVALID_DST_ADDRESS, "mapping ff02::1"),
    (("fe80::1", "10.0.0.1"), INVALID_DST_ADDRESS, "mapping fe80::1"),
    (("2001:db8::a", "0.0.0.0"), INVALID_SRC_ADDRESS, "the fixed address 0.0.0.0 is no unicast"),
    (("2001:db8::a", "255.255.255.255"), INVALID_SRC_ADDRESS, "the fixed address 255.255.255.255"),
    (("2001:db8::a", "127.0.0.1"), INVALID_SRC_ADDRESS, "the fixed address 127.0.0.1"),
    (("2001:db8::a", "169.254.7.5"), INVALID_SRC_ADDRESS, "the fixed address 169.254.7.5"),
    (("2001:db8::a", "100.64.0.1"), ADDRESS_IN_USE, "100.64.0.1 lies in the pool of the tenant of table 1"),
    (("2001:db8::a", "100.64.0.254"), ADDRESS_IN_USE, "100.64.0.254 lies in the pool"),
    (("2001:db8::a", "10.0.0.99"), ENTRY_ALREADY_EXISTS, "is mapped to 2001:db8::99 already"),
])
def test_mapping(control, wanted, error, text):
    assert control.set_tenant() == 0
    assert control.set_mapping("2001:db8::99", "10.0.0.99") == 0
    before = control.mappings()
    assert control.set_mapping(*wanted) == error
    assert text in said(control)
    assert control.mappings() == before
    assert control.tenants()[1].n_mappings == 1


def test_a_mapping_for_vpps_own_address(control):
    loop = control.api.create_loopback().sw_if_index
    try:
        assert control.api.sw_interface_set_flags(sw_if_index=loop, flags=1).retval == 0
        assert control.api.sw_interface_add_del_address(
            sw_if_index=loop, is_add=True, prefix="2001:db8:5::1/64").retval == 0
        assert control.set_tenant() == 0
        assert control.set_mapping("2001:db8:5::1", "10.0.0.1") == ADDRESS_FOUND_FOR_INTERFACE
        assert "mapping 2001:db8:5::1: the address is one of VPP's own in IPv6 table 0" in said(control)
        assert control.mappings() == set() and control.tenants()[1].n_mappings == 0
        # The next address belongs to no interface.
        assert control.set_mapping("2001:db8:5::2", "10.0.0.1") == 0
    finally:
        control.api.delete_loopback(sw_if_index=loop)


def test_a_mapping_cannot_be_moved_to_a_taken_address(control):
    assert control.set_tenant() == 0
    assert control.set_mapping("2001:db8::a", "10.0.0.1") == 0
    assert control.set_mapping("2001:db8::b", "10.0.0.2") == 0
    before = control.mappings()
    assert control.set_mapping("2001:db8::b", "10.0.0.1") == ENTRY_ALREADY_EXISTS
    assert control.mappings() == before


def test_a_pool_over_a_mapping(control):
    assert control.set_tenant() == 0
    assert control.set_mapping("2001:db8::a", "10.0.0.1") == 0
    before = control.tenants()
    assert control.set_tenant(pool_first="10.0.0.1", pool_last="10.0.0.9") == ADDRESS_IN_USE
    assert "tenant of table 1: the fixed address 10.0.0.1 of a mapping lies in the pool" in said(control)
    assert control.tenants() == before


@pytest.mark.parametrize(("wanted", "error", "text"), [
    (("2001:db8:c::1", POOL[0], 77), NO_SUCH_ENTRY, "of 2001:db8:c::1: there is no tenant of table 77"),
    (("::", POOL[0]), INVALID_SRC_ADDRESS, "binding of ::: this is no unicast address"),
    (("ff02::1", POOL[0]), INVALID_SRC_ADDRESS, "binding of ff02::1"),
    (("2001:db8:c::1", "100.64.0.0"), INVALID_DST_ADDRESS, "100.64.0.0 is not in the pool of the tenant"),
    (("2001:db8:c::1", "100.64.0.255"), INVALID_DST_ADDRESS, "100.64.0.255 is not in the pool"),
    (("2001:db8:c::1", "100.64.0.99"), ADDRESS_IN_USE, "100.64.0.99 of the tenant of table 1 is another's"),
    (("2001:db8:c::99", "100.64.0.1"), ENTRY_ALREADY_EXISTS, "it has another address"),
])
def test_binding(control, wanted, error, text):
    assert control.set_tenant() == 0
    assert control.set_binding("2001:db8:c::99", "100.64.0.99") == 0
    before = control.bindings()
    assert len(before) == 1
    assert control.set_binding(*wanted) == error
    assert text in said(control)
    assert control.bindings() == before


def test_one_bad_item_does_not_spoil_the_others(control):
    assert control.set_tenant() == 0
    retvals = control.set_mappings(
        mapping("2001:db8::a", "10.0.0.1"), mapping("::", "10.0.0.2"), mapping("2001:db8::b", "10.0.0.3"),
        mapping("2001:db8::c", "10.0.0.1"))
    assert retvals == [0, INVALID_DST_ADDRESS, 0, ENTRY_ALREADY_EXISTS]
    assert {str(one.floating) for one in control.mappings()} == {"2001:db8::a", "2001:db8::b"}


def test_no_items(control):
    assert control.set_mappings() == [] and control.del_mappings() == []
    assert control.set_bindings() == [] and control.del_bindings() == []
