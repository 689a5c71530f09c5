# SPDX-License-Identifier: Apache-2.0
"""tayga's configuration of a tenant, its file of bindings, and whose process a command line is."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.plan.allocate import nd_netns
from fip64agent.plan.desired import Host, Tenant
from fip64agent.translator.tayga import config, names, process
from fip64agent.translator.tayga.room import TaygaRoom

TENANT = Tenant(
    router_id="red", vlan=7, interface="ovs-dl-7", own_interface=True, mac="02:f6:40:00:00:07",
    pool=IPv4Network("100.64.0.0/16"),
    address6=IPv6Address("2001:db8:ffff::2"),
    maps=((IPv4Address("10.0.0.5"), IPv6Address("2001:db8:f::5")),
          (IPv4Address("10.0.0.6"), IPv6Address("2001:db8:f::6"))),
    pool_first=IPv4Address("100.64.0.0"), pool_last=IPv4Address("100.64.255.255"))


def room(**options) -> TaygaRoom:
    return TaygaRoom(**{"run_path": "/run/x", "state_path": "/var/x", "binary": "tayga",
                        "netns_prefix": "fip64-",
                        **options})


def test_text():
    assert config.instance(TENANT, "fip64-", "/var/x").text.splitlines() == [
        "tun-device nat64", "ipv4-addr 100.64.0.1", "ipv6-addr 2001:db8:ffff::2",
        "dynamic-pool 100.64.0.0/16", "data-dir /var/x/tayga/red",
        "map 10.0.0.5 2001:db8:f::5", "map 10.0.0.6 2001:db8:f::6"]


def test_a_slice_of_the_pool_and_static_bindings():
    part = dataclasses.replace(TENANT, pool_first=IPv4Address("100.64.64.0"),
                               pool_last=IPv4Address("100.64.127.255"), maps=(),
                               bindings=((IPv6Address("2001:db8:9::1"), IPv4Address("100.64.64.9")),))
    assert config.instance(part, "fip64-", "/var/x").text.splitlines() == [
        "tun-device nat64", "ipv4-addr 100.64.64.1", "ipv6-addr 2001:db8:ffff::2",
        "dynamic-pool 100.64.64.0/18", "data-dir /var/x/tayga/red", "map 100.64.64.9 2001:db8:9::1"]


def test_an_instance_is_equal_when_its_configuration_is():
    first = config.instance(TENANT, "fip64-", "/var/x")
    assert first == dataclasses.replace(first, text="", owner=())
    other = config.instance(dataclasses.replace(TENANT, maps=TENANT.maps[:1]), "fip64-", "/var/x")
    assert other != first and other.key == first.key
    same = config.instance(dataclasses.replace(TENANT, interface_ofport=9), "fip64-", "/var/x")
    assert same == first


def test_only_tenants_have_an_instance():
    assert [item.owner for item in room().expand(TENANT)] == [("tenant", "red")]
    assert not list(room().expand(Host()))


@given(st.lists(st.text(max_size=200), unique=True))
def test_namespaces_are_unique_file_names(router_ids):
    found = [names.core_netns("fip64-"), nd_netns("fip64-"),
             *(names.tenant_netns("fip64-", router_id) for router_id in router_ids)]
    assert len(set(found)) == len(found)
    assert all("/" not in name and "\0" not in name and len(name) < 255 for name in found)


@pytest.mark.parametrize("router_id", ["core", "nd", "a/b", "..", "", "x" * 300, "with space", "+plain"])
def test_namespaces_of_routers_with_odd_ids(router_id):
    netns = names.tenant_netns("fip64-", router_id)
    assert netns.startswith("fip64-+") and "/" not in netns and len(netns) < 64


def test_namespaces_of_neutron_routers_are_readable():
    router_id = "1a2b3c4d-0000-4000-8000-000000000001"
    assert names.tenant_netns("fip64-", router_id) == room().netns(router_id) == f"fip64-{router_id}"


def test_links_have_names_of_their_own_and_are_short_enough():
    found = [name for vlan in range(1, 4095) for name in (names.tenant_link(vlan), names.downlink_peer(vlan))]
    assert len(set(found)) == len(found) and all(len(name) <= 15 for name in found)


@pytest.mark.parametrize("router_id", ["not/a-name", "..", "core", "two words", "", "x" * 200, "\n"])
def test_an_id_that_is_no_file_name_stays_below_our_directory(router_id):
    item = config.instance(dataclasses.replace(TENANT, router_id=router_id), "fip64-", "/var/x")
    assert item.name.startswith("+") and "/" not in item.name
    assert router_id not in ("core",) or item.name != "core"
    assert all(len(line.split()) in (2, 3) for line in item.text.splitlines())


def test_capacity_leaves_out_the_first_address_tayga_itself_and_maps():
    assert config.capacity(config.instance(TENANT, "fip64-", "/var/x").text) == 65534
    small = dataclasses.replace(TENANT, pool=IPv4Network("10.0.0.0/29"), pool_first=IPv4Address("10.0.0.0"),
                                pool_last=IPv4Address("10.0.0.7"))
    assert config.capacity(config.instance(small, "fip64-", "/var/x").text) == 4
    assert config.capacity("") is None
    assert config.capacity("dynamic-pool\nipv4-addr x\ndynamic-pool y") is None


def test_bindings():
    text = ("### TAYGA dynamic map database\n"
            "100.64.0.7\t2001:db8:c::1\t1700000000\n\n100.64.0.8 2001:db8:c::2\n"
            "100.64.0.9 nonsense 5\n300.0.0.1 2001:db8::1 5\n100.64.0.10 2001:db8:c::3 nan # note\n")
    found = list(config.bindings("red", text))
    assert [(str(each.pool_address), str(each.client), each.last_seen) for each in found] == [
        ("100.64.0.7", "2001:db8:c::1", 1700000000.0),
        ("100.64.0.10", "2001:db8:c::3", None)]
    assert {each.router_id for each in found} == {"red"}


@given(st.text() | st.lists(st.sampled_from(
    ["100.64.0.7", "2001:db8::1", "7", "nan", "1e999", "\t", " ", "\n", "#", "::", "-1", "\0",
     "٣"])).map("".join))
def test_no_text_breaks_the_parsers(text):
    for each in config.bindings("red", text):
        assert each.client.version == 6 and each.pool_address.version == 4
    config.capacity(text)


@pytest.mark.parametrize("words, found", [
    (["tayga", "--nodetach", "--config", "/run/x/tayga/red/abc.conf", ""], ("red", "abc")),
    (["nsenter", "--net=/n", "--", "tayga", "--config", "/run/x/tayga/+1f/abc.conf"], ("+1f", "abc")),
    (["tayga", "--config", "/etc/tayga.conf"], None),
    (["tayga", "--config", "/run/x/tayga/abc.conf"], None),
    (["tayga", "--config", "/run/x/tayga/red/deeper/abc.conf"], None),
    (["tayga", "--config", "/run/xx/tayga/red/abc.conf"], None),
    (["tayga", "--config", "/run/x/tayga/red/abc.new"], None),
    (["tayga", "--config"], None), (["vi", "/run/x/tayga/red/abc.conf"], None), ([""], None), ([], None)])
def test_whose_process_it_is(words, found):
    assert process.parse_command(words, "/run/x") == found


@given(st.lists(st.text(max_size=20) | st.just("--config") | st.just("/run/x/tayga/a/b.conf")))
def test_no_command_line_breaks_it(words):
    process.parse_command(words, "/run/x")


def test_a_missing_program_is_reported():
    assert "install the package tayga" in room(binary="no-such-program").ready()


def test_the_next_start_waits_longer_after_each_end_in_a_row():
    now = [100.0]
    made = room(clock=lambda: now[0])
    for _ in range(9):
        made._note_end("red", "no reason")
    item = config.instance(TENANT, "fip64-", "/var/x")
    assert made.apply([(None, item)]) == {item.key: "tayga died 9 times; started again in 60 s: no reason"}
    made._ends["red"].back_off.runs(now[0])
    now[0] += 11
    made._note_end("red", "")
    assert made._ends["red"].back_off.wait(now[0]) == 0
