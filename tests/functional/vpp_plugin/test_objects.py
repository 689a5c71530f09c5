# SPDX-License-Identifier: Apache-2.0
"""Tenants, mappings and bindings: add, change, move, remove; what the FIB and the dumps say of it."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address, summarize_address_range

import pytest

from tests.functional.vpp_plugin.control import Binding, Mapping, binding, mapping, tenant


def shown(control, table_id: int, ip6: bool = False) -> str:
    return control.vpp.cli(f"show {'ip6' if ip6 else 'ip'} fib table {table_id}")


def pool_prefixes(control, table_id: int) -> set[str]:
    """Prefixes of the IPv4 table that lead to ip4-fip64."""
    found, prefix = set(), ""
    for line in shown(control, table_id).splitlines():
        if line and not line[0].isspace():
            prefix = line.split()[0]
        elif "fip64 pool" in line:
            found.add(prefix)
    return found


def test_version(control):
    reply = control.api.fip64_plugin_get_version()
    assert reply.retval == 0 and (reply.major, reply.minor) == (1, 1)
    version = control.api.show_version().version
    assert reply.version == f"1.1.0 for VPP {version}"


def test_a_tenant_is_as_it_was_requested(control):
    wanted = tenant(hash_seed=2**64 - 1, idle_timeout=86400, max_per_64=17, mtu4=1480, mtu6=1400,
                    lowest_ipv6_mtu=1399, zero_traffic_class=True, drop_udp_zero_checksum=True,
                    tag="fip64:r1")
    assert control.set_tenant(**wanted) == 0
    (found,) = control.tenants().values()
    for name in ("pool_first", "pool_last", "address4", "address6"):
        wanted[name] = ip_address(wanted[name])
    assert {name: getattr(found.tenant, name) for name in wanted} == wanted
    assert (found.n_mappings, found.n_bindings, found.n_static_bindings) == (0, 0, 0)


def test_everything_twice(control):
    for _ in range(2):
        assert control.set_tenant() == 0
        assert control.set_mapping("2001:db8::a", "10.0.0.1", ip6_table_id=6) == 0
        assert control.set_binding("2001:db8:c::1", "100.64.0.1") == 0
    before = (control.tenants(), control.mappings(), control.bindings())
    assert control.tenants()[1].n_mappings == 1 and control.tenants()[1].n_static_bindings == 1
    assert control.set_tenant() == 0
    assert (control.tenants(), control.mappings(), control.bindings()) == before
    for _ in range(2):
        assert control.del_bindings("2001:db8:c::1") == [0]
        assert control.del_mappings("2001:db8::a", ip6_table_id=6) == [0]
        assert control.del_tenant() == 0
    assert control.tenants() == {} and control.mappings() == set() and control.bindings() == set()


def test_removing_what_never_was(control):
    assert control.del_tenant(4000) == 0
    assert control.del_mappings("2001:db8::a", ip6_table_id=4000) == [0]
    assert control.del_bindings("2001:db8:c::1", table_id=4000) == [0]


@pytest.mark.parametrize(("first", "last"), [
    ("100.64.0.1", "100.64.0.254"), ("100.64.0.0", "100.127.255.255"), ("100.64.0.5", "100.64.0.5"),
    ("100.64.0.255", "100.64.1.0"), ("99.255.255.250", "100.64.0.3"), ("223.255.255.0", "223.255.255.255"),
    ("1.0.0.0", "1.0.0.1")])
def test_the_pool_is_in_the_fib_exactly(control, first, last):
    if int(IPv4Address(last)) - int(IPv4Address(first)) >= 1 << 22:
        first = str(IPv4Address(last) - (1 << 22) + 1)
    assert control.set_tenant(pool_first=first, pool_last=last) == 0
    wanted = {str(one) for one in summarize_address_range(IPv4Address(first), IPv4Address(last))}
    assert pool_prefixes(control, 1) == wanted
    # Another one instead, then none.
    assert control.set_tenant(pool_first="100.70.0.0", pool_last="100.70.0.255") == 0
    assert pool_prefixes(control, 1) == {"100.70.0.0/24"}
    assert control.del_tenant() == 0
    assert pool_prefixes(control, 1) == set()
    assert "fip64" not in shown(control, 1)


def test_mapping_in_the_fib(control):
    assert control.set_tenant() == 0
    assert control.set_mapping("2001:db8::a", "10.0.0.1", ip6_table_id=6) == 0
    assert "fip64 mapping [0] 2001:db8::a -> 10.0.0.1 of tenant table 1" in shown(control, 6, ip6=True)
    assert "fip64" not in shown(control, 0, ip6=True)
    assert control.del_mappings("2001:db8::a", ip6_table_id=6) == [0]
    assert "2001:db8::a/128" not in shown(control, 6, ip6=True)


def test_the_same_addresses_in_other_tables(control):
    """A floating address is unique in its IPv6 table, a fixed one in its tenant."""
    assert control.set_tenant(1) == 0 and control.set_tenant(2) == 0
    assert control.set_mappings(
        mapping("2001:db8::a", "10.0.0.1", 1, 0), mapping("2001:db8::a", "10.0.0.1", 2, 6)) == [0, 0]
    floating, fixed = IPv6Address("2001:db8::a"), IPv4Address("10.0.0.1")
    assert control.mappings() == {Mapping(floating, fixed, 0, 1), Mapping(floating, fixed, 6, 2)}
    assert control.mappings(1) == {Mapping(floating, fixed, 0, 1)}
    assert control.mappings(2) == {Mapping(floating, fixed, 6, 2)}
    assert control.mappings(3) == set()
    assert control.del_mappings("2001:db8::a") == [0]
    assert control.mappings() == {Mapping(floating, fixed, 6, 2)}


def test_a_move_keeps_index_and_fib_entry(control):
    assert control.set_tenant(1) == 0 and control.set_tenant(2) == 0
    assert control.set_mapping("2001:db8::1", "10.0.0.9") == 0
    assert control.set_mapping("2001:db8::a", "10.0.0.1") == 0
    (before,) = (one for one in control.api.fip64_mapping_dump() if str(one.mapping.fixed) == "10.0.0.1")
    entry = shown(control, 0, ip6=True)
    assert control.set_mapping("2001:db8::a", "10.0.0.2", 2) == 0
    (after,) = (one for one in control.api.fip64_mapping_dump() if str(one.mapping.fixed) == "10.0.0.2")
    assert after.mapping_index == before.mapping_index
    assert shown(control, 0, ip6=True) == entry.replace("10.0.0.1 of tenant table 1",
                                                        "10.0.0.2 of tenant table 2")
    assert [control.tenants()[table_id].n_mappings for table_id in (1, 2)] == [1, 1]
    # The address it had is free again, the one it has is not.
    assert control.set_mapping("2001:db8::b", "10.0.0.1") == 0
    assert control.set_mapping("2001:db8::c", "10.0.0.2", 2) != 0


def test_a_tenant_changes_in_place(control):
    assert control.set_tenant() == 0
    assert control.set_mapping("2001:db8::a", "10.0.0.1") == 0
    assert control.set_binding("2001:db8:c::1", "100.64.0.1") == 0
    index = control.tenants()[1].tenant_index
    changes = {"address4": "192.0.2.9", "address6": "2001:db8::9", "mtu4": 1400, "mtu6": 1420,
               "lowest_ipv6_mtu": 1410, "zero_traffic_class": True, "drop_udp_zero_checksum": True,
               "idle_timeout": 60, "max_per_64": 5, "tag": "new"}
    assert control.set_tenant(**changes) == 0
    (found,) = control.tenants().values()
    assert found.tenant_index == index
    assert {name: str(getattr(found.tenant, name)) for name in changes} == {
        name: str(value) for name, value in changes.items()}
    assert (found.n_mappings, found.n_static_bindings) == (1, 1)


def test_static_bindings_stay_when_the_pool_changes_if_they_fit(control):
    assert control.set_tenant() == 0
    assert control.set_bindings(
        *(binding(f"2001:db8:c::{n}", f"100.64.0.{n}") for n in (1, 100, 200))) == [0] * 3
    assert control.set_tenant(pool_first="100.64.0.50", pool_last="100.64.0.150") == 0
    assert control.bindings() == {
        Binding(IPv6Address("2001:db8:c::100"), IPv4Address("100.64.0.100"), 1, True)}
    # Another seed is another pool, too.
    assert control.set_tenant(pool_first="100.64.0.50", pool_last="100.64.0.150", hash_seed=8) == 0
    assert len(control.bindings()) == 1


def test_a_tenant_takes_everything_with_it(control):
    for table_id in (1, 2):
        assert control.set_tenant(table_id) == 0
        many = [mapping(f"2001:db8:{table_id}::{n:x}", f"10.0.{n // 250}.{n % 250 + 1}", table_id)
                for n in range(1000)]
        assert control.set_mappings(*many) == [0] * 1000
        assert control.set_binding("2001:db8:c::1", "100.64.0.1", table_id) == 0
    assert control.del_tenant(1) == 0
    assert {one.table_id for one in control.mappings()} == {2} and len(control.mappings()) == 1000
    assert {one.table_id for one in control.bindings()} == {2}
    assert "2001:db8:1::" not in shown(control, 0, ip6=True)
    # What it had can be had again.
    assert control.set_tenant(1) == 0
    assert control.set_mapping("2001:db8:1::1", "10.0.0.1") == 0


def test_a_table_that_is_deleted_under_us_stays(control):
    assert control.set_tenant() == 0
    assert control.set_mapping("2001:db8::a", "10.0.0.1", ip6_table_id=6) == 0
    control.del_table(1)
    control.del_table(6, ip6=True)
    assert "fip64 pool" in shown(control, 1) and "fip64 mapping" in shown(control, 6, ip6=True)
    # All works on: change, move, add, remove.
    assert control.set_tenant(mtu4=1400) == 0
    assert control.set_mapping("2001:db8::a", "10.0.0.2", ip6_table_id=6) == 0
    assert control.set_mapping("2001:db8::b", "10.0.0.3", ip6_table_id=6) == 0
    assert control.set_tenant(pool_first="100.64.9.0", pool_last="100.64.9.255") == 0
    assert pool_prefixes(control, 1) == {"100.64.9.0/24"}
    assert control.del_tenant() == 0
    # Ours was the last hold on them.
    tables = {(one.table.table_id, one.table.is_ip6) for one in control.api.ip_table_dump()}
    assert (1, False) not in tables and (6, True) not in tables


def test_routes_are_flushed_under_us(control):
    """Routes of our source can be deleted through the API only by somebody who means to."""
    assert control.set_tenant() == 0
    assert control.set_mapping("2001:db8::a", "10.0.0.1", ip6_table_id=6) == 0
    for ip6, table_id, prefix in ((True, 6, "2001:db8::a/128"), (False, 1, "100.64.0.1/32")):
        control.api.ip_route_add_del(is_add=False, is_multipath=False, route={
            "table_id": table_id, "prefix": prefix, "n_paths": 0, "paths": []})
        assert "fip64" in shown(control, table_id, ip6)
    control.api.ip_table_flush(table={"table_id": 6, "is_ip6": True})
    control.api.ip_table_flush(table={"table_id": 1, "is_ip6": False})
    assert "fip64" in shown(control, 6, ip6=True) and "fip64" in shown(control, 1)
    assert control.del_tenant() == 0
    assert "fip64" not in shown(control, 6, ip6=True) and "fip64" not in shown(control, 1)


def test_a_route_of_somebody_else_to_the_same_address(control):
    """Ours wins, and theirs is in force once ours has gone."""
    assert control.set_tenant() == 0
    control.vpp.cli("ip route add 2001:db8::a/128 table 6 via drop", check=True)
    assert control.set_mapping("2001:db8::a", "10.0.0.1", ip6_table_id=6) == 0
    assert "fip64 mapping" in shown(control, 6, ip6=True)
    assert control.del_mappings("2001:db8::a", ip6_table_id=6) == [0]
    assert "2001:db8::a/128" in shown(control, 6, ip6=True) and "fip64" not in shown(control, 6, ip6=True)
    control.vpp.cli("ip route del 2001:db8::a/128 table 6 via drop", check=True)
    assert "2001:db8::a/128" not in shown(control, 6, ip6=True)


def test_ten_thousand_changes_against_a_model(control):
    """Random adds, deletions and moves: the dumps equal the model, and VPP's memory is back in the end."""
    tables, ip6_tables = (1, 2), (0, 6)

    def run(seed: int) -> None:
        print(f"seed {seed}")
        chance = random.Random(seed)
        for table_id in tables:
            assert control.set_tenant(table_id) == 0
        model: dict[tuple, tuple] = {}
        statics: dict[tuple, IPv4Address] = {}
        for _ in range(1000):
            batch, expected = [], []
            is_add = chance.random() < 0.6
            for _ in range(10):
                key = (IPv6Address(f"2001:db8::{chance.randrange(1500):x}"), chance.choice(ip6_tables))
                value = (IPv4Address("10.0.0.0") + chance.randrange(2000), chance.choice(tables))
                batch.append(mapping(str(key[0]), str(value[0]), value[1], key[1]))
                if not is_add:
                    model.pop(key, None)
                    expected.append(0)
                elif any(other == value and name != key for name, other in model.items()):
                    expected.append(-116)
                else:
                    model[key] = value
                    expected.append(0)
            reply = control.api.fip64_mapping_add_del(is_add=is_add, count=10, mappings=batch)
            assert reply.retvals == expected
            client = (IPv6Address(f"2001:db8:c::{chance.randrange(1, 300):x}"), chance.choice(tables))
            address = IPv4Address("100.64.0.0") + chance.randrange(1, 255)
            if chance.random() < 0.5:
                taken = address in {a for (_, t), a in statics.items() if t == client[1]}
                same = statics.get(client) == address
                wanted = 0 if same else -105 if taken else -116 if client in statics else 0
                retval = control.set_binding(str(client[0]), str(address), client[1])
                # With two reasons to refuse, either may be told.
                assert retval == wanted or (taken and client in statics and retval in (-105, -116))
                if retval == 0:
                    statics[client] = address
            else:
                assert control.del_bindings(str(client[0]), table_id=client[1]) == [0]
                statics.pop(client, None)
        assert control.mappings() == {
            Mapping(floating, fixed, ip6_table_id, table_id)
            for (floating, ip6_table_id), (fixed, table_id) in model.items()}
        assert control.bindings() == {Binding(client, address, table_id, True)
                                      for (client, table_id), address in statics.items()}
        found = control.tenants()
        for table_id in tables:
            assert found[table_id].n_mappings == sum(1 for _, owner in model.values() if owner == table_id)
            assert found[table_id].n_static_bindings == sum(1 for _, owner in statics if owner == table_id)
        for table_id in tables:
            assert control.del_tenant(table_id) == 0
        assert control.mappings() == set() and control.tenants() == {}

    seed = random.randrange(2**32)
    run(seed)
    # VPP's own tables (FIB, load balances) never shrink, but the same again needs no more.
    before = control.heap_used()
    run(seed)
    assert control.heap_used() - before < 16 * 1024
    run(seed + 1)
