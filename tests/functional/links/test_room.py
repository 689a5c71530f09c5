# SPDX-License-Identifier: Apache-2.0
"""The links room on a real kernel: what it makes, finds, repairs, leaves alone and removes."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections import Counter
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path

import pytest

from fip64agent import hub
from fip64agent.links import netns as namespaces
from fip64agent.links import readback
from fip64agent.links.kernel import Handles
from fip64agent.links.model import Address, Neighbor, Veth
from fip64agent.links.monitor import Monitor
from fip64agent.reconcile import diff
from fip64agent.translator.vpp.links import VppLayout
from lab.shell import popen, run
from tests.functional.links.conftest import until

SECOND_LOOK = 4.6
"""Seconds after which a second look at our own work is over: an echo may come for 2 s, the look 2 s later."""


def test_what_was_made_is_read_back_and_made_again_changes_nothing(bench):
    objects = bench.site.standard()
    assert len(bench.converge(objects).apply) == len(bench.items(objects))
    assert not bench.difference(objects)
    before = bench.settled_dump()
    assert not bench.rooms[0].apply([(None, item) for item in bench.items(objects)])
    assert bench.settled_dump() == before
    actual = bench.rooms[0].actual()
    assert not bench.rooms[0].apply([(actual[item.key], item) for item in bench.items(objects)])
    assert bench.settled_dump() == before


def test_another_room_adopts_what_it_finds(bench):
    objects = bench.site.standard()
    bench.converge(objects)
    before = bench.settled_dump()
    bench.rooms.pop().close()
    room = bench.room()
    assert not bench.converge(objects, room)
    assert bench.settled_dump() == before
    allocations = room.allocations()
    assert dict(allocations.vlans) == {"t1": 1, "t2": 2} and dict(allocations.tables) == {"up-0": 1000}


DAMAGE = {
    "address": ("core", "addr del 2001:db8:ffff::2/64 dev vpp-00000000"),
    "link-local address": ("t1", "addr del fe80::2/64 dev core"),
    "an address too many": ("core", "addr add 2001:db8:ffff::77/64 dev vpp-00000000 nodad"),
    "route of a FIP": ("core", "-6 route del 2001:db8:f::11/128 table 100"),
    "route of a FIP to another tenant": ("core",
                                         "-6 route replace 2001:db8:f::11/128 via fe80::2 dev tenant-2 "
                                                 "table 100 proto 164 onlink"),
    "route of a FIP that nobody wants": ("core", "-6 route add 2001:db8:f::99/128 via fe80::2 dev tenant-2 "
                                                 "table 100 proto 164 onlink"),
    "blackhole": ("core", "-6 route del blackhole 2001:db8:f::/64 table 100"),
    "default route": ("core", "-6 route del default table 1000"),
    "default route, IPv4": ("t1", "route del default"),
    "pool": ("t1", "route del 100.64.0.0/24"),
    "route of a type that is none of ours": ("core", "-6 route add unreachable 2001:db8:7::/64 table 100 "
                                                     "proto 164"),
    "route of a type that is none of ours, in place of one": (
        "core", "-6 route replace prohibit 2001:db8:f::/64 table 100 metric 2024 proto 164"),
    "route, IPv4, of a type that is none of ours": ("t1", "route add prohibit 10.9.0.0/24 proto 164"),
    "route with several next hops": ("core", "-6 route add 2001:db8:7::/64 table 100 proto 164 nexthop via "
                                             "fe80::2 dev tenant-1 nexthop via fe80::2 dev tenant-2"),
    "rule": ("core", "-6 rule del from 2001:db8:f::/64"),
    "rule of a tenant": ("t1", "-6 rule del iif core"),
    "rule too many": ("core", "-6 rule add from 2001:db8:5::/64 table 1000 priority 200 protocol 164"),
    "neighbor": ("t1", "neigh del 169.254.0.1 dev vpp-dl-1"),
    "neighbor's MAC": ("t1", "neigh replace 169.254.0.1 lladdr 02:00:00:00:00:99 dev vpp-dl-1"),
    "mtu": ("agent", "link set ovs-00000000 mtu 1400"),
    "mtu of the far end": ("core", "link set vpp-00000000 mtu 1400"),
    "mtu of the TUN device": ("t1", "link set nat64 mtu 1280"),
    "mac": ("core", "link set vpp-00000000 address 02:00:00:00:00:98"),
    "link down": ("agent", "link set ovs-dl-1 down"),
    "far end down": ("t1", "link set vpp-dl-1 down"),
    "inner link down": ("core", "link set tenant-1 down"),
    "TUN device down": ("t1", "link set nat64 down"),
    "loopback down": ("t1", "link set lo down"),
    "another alias of ours": ("agent", "link set ovs-dl-1 alias 'fip64agent {prefix} tenant t9 vlan 9'"),
    "TUN device deleted": ("t1", "link del nat64"),
    "veth deleted": ("agent", "link del ovs-dl-1"),
    "inner veth deleted": ("t1", "link del core"),
    "uplink's veth deleted": ("core", "link del vpp-00000000"),
    "peer renamed": ("t1", "link set vpp-dl-1 down name something"),
    "peer moved": ("t1", "link set vpp-dl-1 netns {prefix}t2"),
}


@pytest.fixture
def whole(standing):
    """The standing bench, and that it is whole again after a test that failed."""
    yield standing
    for _ in range(3):
        if not standing.difference(standing.site.standard()):
            break
        standing.converge(standing.site.standard())


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_noticed_found_and_repaired_at_once(whole, damage):
    bench, objects = whole, whole.site.standard()
    assert not bench.difference(objects)
    hub.sleep(2.1 if "link" in DAMAGE[damage][1] else 0.3)  # longer than a link may have an echo
    bench.changes = 0
    netns, line = DAMAGE[damage]
    bench.ip(netns, line.format(prefix=bench.site.prefix))
    until(lambda: bench.changes)
    assert bench.difference(objects)
    bench.repair(objects)


@pytest.mark.parametrize("name, value, noticed", [
    ("ipv6.conf.all.forwarding", "0", True), ("ipv4.conf.all.forwarding", "0", True),
    ("ipv4.conf.all.rp_filter", "1", True), ("ipv6.conf.default.accept_ra", "1", False)])
def test_changed_sysctls_are_repaired(whole, name, value, noticed):
    """The kernel tells of most; the others wait for an audit."""
    bench, objects = whole, whole.site.standard()
    hub.sleep(0.3)
    bench.changes = 0
    run("sysctl", "-q", f"net.{name}={value}", netns=bench.full("t1"))
    if noticed:
        until(lambda: bench.changes)
    assert bench.difference(objects)
    bench.repair(objects)


def test_checksum_offload_that_was_switched_on_is_noticed_and_switched_off(whole):
    bench, objects = whole, whole.site.standard()
    hub.sleep(0.3)
    bench.changes = 0

    def switch_on():
        handles = Handles()
        handle = handles[bench.full("t1")]
        handle._ethtool("vpp-dl-1", 0x17, 1)
        assert handle.tx_checksum("vpp-dl-1")
        handles.close()

    hub.offload(switch_on)
    until(lambda: bench.changes)
    bench.repair(objects)


@pytest.mark.parametrize("link", ["ovs-00000000", "vpp-00000000", "ovs-dl", "vpp-dl"])
def test_segmentation_offload_on_vpps_links_is_noticed_and_switched_off(bench, link):
    """VPP gets whole packets with their checksums, whatever somebody did with ethtool to its links."""
    bench.rooms[0]._layout = VppLayout()
    objects = [dataclasses.replace(bench.site.host(), downlink="ovs-dl",
                                   downlink_peer="vpp-dl", downlink_mac="02:f6:40:ff:ff:ff"),
               bench.site.uplink()]
    bench.converge(objects)
    hub.sleep(0.3)
    bench.changes = 0

    def segments(switch_on: bool = False) -> bool:
        handles = Handles()
        handle = handles[bench.netns]
        if switch_on:
            handle._ethtool(link, 0x17, 1)  # ETHTOOL_STXCSUM, without which there is no segmentation offload
            handle._ethtool(link, 0x1f, 1)  # ETHTOOL_STSO
        answer = bool(handle._ethtool(link, 0x1e, 0))  # ETHTOOL_GTSO
        handles.close()
        return answer

    assert not hub.offload(segments)
    assert hub.offload(segments, True)
    until(lambda: bench.changes)
    assert bench.difference(objects)
    bench.repair(objects)
    assert not hub.offload(segments)


def test_a_namespace_deleted_by_hand_is_noticed_and_made_again(whole):
    bench, objects = whole, whole.site.standard()
    for name in ("t1", "core"):
        hub.sleep(0.3)
        bench.changes = 0
        run("ip", "netns", "del", bench.full(name))
        until(lambda: bench.changes)
        bench.converge(objects)
        bench.converge(objects)  # what went with the namespace while it died
        assert not bench.difference(objects)


def test_a_pair_that_dies_while_it_is_looked_at_is_made_anew(bench, monkeypatch):
    objects = bench.site.standard()
    bench.converge(objects)
    bench.ip("agent", "link set ovs-00000000 mtu 1400")
    look = readback.veth

    def delete_and_look(prefix, handles, netns, name, peer_netns):
        monkeypatch.setattr(readback, "veth", look)
        bench.ip("agent", f"link del {name}")
        return look(prefix, handles, netns, name, peer_netns)

    monkeypatch.setattr(readback, "veth", delete_and_look)
    bench.converge(objects)
    assert readback.veth is look
    bench.repair(objects)


def test_a_namespace_deleted_while_it_is_read_is_just_not_there(bench, monkeypatch):
    objects = bench.site.standard()
    bench.converge(objects)
    read = readback._veths

    def read_and_delete(*args):
        yield from read(*args)
        run("ip", "netns", "del", bench.full("t1"))

    with monkeypatch.context() as patch:
        patch.setattr(readback, "_veths", read_and_delete)
        actual = bench.rooms[0].actual()
    assert ("netns", bench.full("t2")) in actual and ("netns", bench.full("t1")) not in actual
    bench.repair(objects)


def test_own_changes_are_not_reported(bench):
    """But for one second look, two seconds after links were made: somebody may have followed us closely."""
    objects = bench.site.standard()
    bench.converge(objects)
    hub.sleep(SECOND_LOOK)
    assert bench.changes <= 1
    bench.changes = 0
    fips = [bench.site.fip(number, 1) for number in range(3, 2000)]
    bench.converge([*objects, *fips])  # routes only
    hub.sleep(SECOND_LOOK)
    assert bench.changes == 0
    bench.converge([*objects, bench.site.tenant(3)])
    hub.sleep(SECOND_LOOK)
    assert bench.changes <= 1
    bench.changes = 0
    bench.converge(objects)
    bench.converge([])
    hub.sleep(1)
    assert bench.changes == 0


def test_damage_right_after_our_own_work_is_found_by_the_later_check(bench):
    objects = bench.site.standard()
    bench.converge(objects)
    bench.ip("agent", "link set ovs-dl-1 mtu 1400")
    hub.sleep(SECOND_LOOK)
    assert bench.changes
    assert [str(item) for _, item in bench.difference(objects).apply] == ["veth pair ovs-dl-1/vpp-dl-1"]


def test_damage_in_the_middle_of_our_own_work_is_not_taken_for_ours(bench):
    """A FIP comes while somebody deletes a route, an address and a link of another tenant."""
    objects = bench.site.standard()
    bench.converge(objects)
    hub.sleep(2.2)  # longer than links may have an echo
    bench.changes = 0
    room = bench.rooms[0]
    new = [item for number in range(3, 4000) for item in room.expand(bench.site.fip(number, 1))]
    working = hub.spawn(room.apply, [(None, item) for item in new])
    hub.sleep(0.01)
    bench.ip("t2", "-6 rule del iif core")
    working.wait()
    until(lambda: bench.changes)
    hub.sleep(0.5)
    bench.changes = 0
    working = hub.spawn(room.prune, new)
    hub.sleep(0.01)
    bench.ip("agent", "link del ovs-dl-2")
    working.wait()
    until(lambda: bench.changes)


@pytest.mark.parametrize("damage", ["del", "replace"])
def test_a_permanent_neighbor_of_ipv6_is_made_repaired_and_removed(bench, damage):
    """That somebody has removed it is not told by the kernel, and found by the next read-back."""
    bench.converge(bench.site.standard())
    room = bench.rooms[0]
    neighbor = Neighbor(bench.full("t1"), "core", IPv6Address("fe80::77"), "02:00:00:00:00:77")
    assert room.apply([(None, neighbor)]) == {}
    assert room.actual()[neighbor.key] == neighbor
    hub.sleep(0.3)
    bench.changes = 0
    bench.ip("t1", f"neigh {damage} fe80::77 lladdr 02:00:00:00:00:78 dev core")
    if damage == "replace":
        until(lambda: bench.changes)
    assert room.actual().get(neighbor.key) != neighbor
    assert room.apply([(None, neighbor)]) == {}
    assert room.actual()[neighbor.key] == neighbor
    bench.converge(bench.site.standard())
    assert neighbor.key not in room.actual()


def test_what_cannot_be_read_back_is_refused_and_the_rest_is_made(bench):
    room = bench.rooms[0]
    namespace, *rest = bench.items([bench.site.host()])
    wrong = Address("", "lo", IPv6Interface("2001:db8:99::1/128"))
    failed = room.apply([(None, item) for item in (namespace, wrong, *rest)])
    assert failed == {wrong.key: "in the agent's own namespace nothing but links is read back"}
    assert not bench.difference([bench.site.host()])
    assert "2001:db8:99::1" not in run("ip", "addr", netns=bench.netns).stdout


def test_prune_leaves_nothing(bench):
    before = bench.settled_dump()
    bench.converge(bench.site.standard())
    bench.converge([])
    assert namespaces.names(bench.site.prefix) == []
    assert bench.settled_dump() == before
    assert bench.rooms[0].actual() == {}


def test_a_tenant_that_goes_leaves_the_others_alone(bench):
    site = bench.site
    rest = [site.host(), site.uplink(), site.tenant(2), site.fip(2, 2)]
    bench.converge(rest)
    before = bench.settled_dump()
    bench.converge(site.standard())
    bench.converge(rest)
    assert bench.settled_dump() == before


def test_what_is_not_ours_is_left_alone_and_never_appears(bench):
    objects = bench.site.standard()
    run("ip", "netns", "add", bench.full("foreign"))
    bench.ip("foreign", "link set lo up", "link add ovs-dl-7 type veth peer name vpp-dl-7")
    bench.ip("agent", "link add ovs-abcdef01 type veth peer name vpp-abcdef01",
             "link add ovs-dl-8 type veth peer name elsewhere",
             "link set ovs-dl-8 alias 'fip64agent other- x'",
             *(f"link add many{number} type veth peer name many{number}b" for number in range(50)))
    bench.converge(objects)
    bench.ip("core", "-6 route add 2001:db8:77::/64 dev vpp-00000000 table 100",
             "-6 rule add from 2001:db8:6::/64 "
             "table 7", "link add mine type veth peer name mine2")
    actual = bench.rooms[0].actual()
    assert not any("foreign" in str(item) or "abcdef01" in str(item) or "77::" in str(item)
                   for item in actual.values())
    assert not bench.difference(objects)
    before = {key: text for key, text in bench.dump().items() if "foreign" in key or "agent" in key}
    bench.converge(objects)
    assert {key: text for key, text in bench.dump().items() if "foreign" in key or "agent" in key} == before
    assert "2001:db8:77::" in run("ip", "-6", "route", "show", "table", "100",
                                  netns=bench.full("core")).stdout
    bench.converge([])
    assert namespaces.names(bench.site.prefix) == [bench.full("foreign")]
    assert "ovs-abcdef01" in run("ip", "link", netns=bench.netns).stdout


def test_names_that_somebody_else_took_are_refused_by_name_and_the_rest_is_made(bench):
    objects = bench.site.standard()
    run("ip", "netns", "add", bench.full("t2"))
    bench.ip("t2", "link add somebody type veth peer name else")
    bench.ip("agent", "link add ovs-00000000 type veth peer name else")
    failed = bench.rooms[0].apply([(None, item) for item in bench.items(objects)])
    assert "ovs-00000000 is there and does not carry our mark" in failed["veth", "", "ovs-00000000"]
    assert "does not carry our mark" in failed["netns", bench.full("t2")]
    assert not any(bench.full("t1") in key for key in failed)
    assert "nat64" not in run("ip", "link", netns=bench.full("t2")).stdout
    assert "somebody" in run("ip", "link", netns=bench.full("t2")).stdout
    bench.ip("agent", "link del ovs-00000000")
    run("ip", "netns", "del", bench.full("t2"))
    bench.converge(objects)
    assert not bench.difference(objects)


def test_a_pair_that_a_killed_agent_could_not_mark_any_more_is_taken_over(bench):
    objects = bench.site.standard()
    bench.converge([bench.site.host(), bench.site.uplink(), bench.site.tenant(1)])
    bench.ip("agent", "link set ovs-dl-1 alias ''", "link set ovs-00000000 alias ''")
    bench.ip("core", "link set tenant-1 alias ''")
    bench.repair(objects)


def test_an_uplink_that_changes_mtu_mac_addresses_and_table(bench):
    site = bench.site
    bench.converge([site.host(), site.uplink()])
    for values in ({"mtu": 9000}, {"mtu": 1400}, {"mac": "02:00:00:00:00:55"}, {"table": 1234},
                   {"addresses": (IPv6Interface("2001:db8:ffff::5/64"),), "routed": ()},
                   {"onlink": (), "routes": ()}, {}):
        objects = [site.host(), site.uplink(**values)]
        bench.converge(objects)
        assert not bench.difference(objects), values
    shown = run("ip", "-d", "link", "show", "vpp-00000000", netns=site.core).stdout
    assert "mtu 1500" in shown and "02:00:00:00:00:00" in shown


def test_an_address_whose_prefix_changes_is_kept(bench):
    """The kernel tells addresses apart without their prefixes."""
    site = bench.site
    bench.converge([site.host(), site.uplink()])
    for length in (112, 48, 64):
        objects = [site.host(), site.uplink(addresses=(IPv6Interface(f"2001:db8:ffff::2/{length}"),))]
        bench.converge(objects)
        assert not bench.difference(objects)
        assert f"2001:db8:ffff::2/{length} " in run("ip", "-6", "addr", netns=site.core).stdout


def test_a_route_and_a_prefix_on_the_link_do_not_take_turns(bench):
    site = bench.site
    onlink = site.uplink().onlink[0]
    objects = [site.host(), site.uplink(routes=((onlink, onlink[1]),), routed=(IPv6Network("::/0"),))]
    bench.converge(objects)
    assert not bench.difference(objects)


def test_a_name_with_no_namespace_behind_it_is_used_again(bench):
    (namespaces.DIRECTORY / bench.site.core).touch()
    objects = [bench.site.host(), bench.site.uplink()]
    bench.converge(objects)
    assert not bench.difference(objects)


def test_two_uplinks_that_serve_the_same_prefix_do_not_share_a_route(bench):
    site = bench.site
    shared = IPv6Network("2001:db8:ffff::/64")
    first, second = site.uplink(0), site.uplink(1, onlink=(shared,),
                                                addresses=(IPv6Interface("2001:db8:ffff::3/64"),))
    bench.converge([site.host(), first, second])
    assert not bench.difference([site.host(), first, second])
    room = bench.rooms[0]
    work = diff.partial([(second, None)], room.expand, room.actual(), Counter())  # one change among many
    assert not room.prune(work.prune)
    assert not bench.difference([site.host(), first])


def test_101_uplinks_come_and_go(bench):
    site = bench.site
    objects = [site.host(), *(site.uplink(number) for number in range(101))]
    begun = time.monotonic()
    bench.converge(objects)
    print(f"101 uplinks made in {time.monotonic() - begun:.2f} s")
    assert not bench.difference(objects)
    bench.converge([site.host()])
    assert not bench.difference([site.host()])
    assert "ovs-" not in run("ip", "link", netns=bench.netns).stdout


def test_2000_fips_come_quickly_and_one_more_does_not_take_longer(bench):
    site = bench.site
    bench.converge([site.host(), site.uplink(), site.tenant(1)])
    room = bench.rooms[0]
    routes = [(None, item) for number in range(2000) for item in room.expand(site.fip(number))]
    times = {}

    def timed(what, function, *args):
        begun = time.monotonic()
        result = function(*args)
        times[what] = time.monotonic() - begun
        return result

    assert timed("2000 routes", room.apply, routes) == {}
    timed("read back", room.actual)
    for number in range(2000, 2005):
        one = [(None, item) for item in room.expand(site.fip(number))]
        assert timed(f"one more, {number}", room.apply, one) == {}
    print({what: f"{seconds * 1000:.1f} ms" for what, seconds in times.items()})
    # The best of five: what others do on this machine only adds to it.
    assert min(times[f"one more, {number}"] for number in range(2000, 2005)) < times["2000 routes"] / 5


def test_a_route_through_a_link_that_is_missing_fails_alone(bench):
    site = bench.site
    bench.converge([site.host(), site.uplink()])
    room = bench.rooms[0]
    routes = [item for number in (1, 2) for item in room.expand(site.fip(number, tenant=number))]
    blackhole = next(item for item in room.expand(site.uplink(1)) if "f::/64" in str(item))
    failed = room.apply([(None, item) for item in [*routes, blackhole]])
    assert failed == {routes[0].key: f"there is no link tenant-1 in namespace {site.core}",
                      routes[1].key: f"there is no link tenant-2 in namespace {site.core}"}


def test_items_of_a_namespace_that_is_gone_fail_with_its_name_and_prune_is_fine(bench):
    site = bench.site
    room = bench.rooms[0]
    items = [item for item in room.expand(site.tenant(1)) if not isinstance(item, Veth)][1:]
    failed = room.apply([(None, item) for item in items])
    assert set(failed) == {item.key for item in items}
    assert all(site.prefix in reason for reason in failed.values()), failed
    assert room.prune(items) == {}


def test_a_namespace_made_in_a_private_mount_namespace_is_seen_outside(bench):
    try:
        with open("/proc/1/ns/mnt", "rb"):
            pass
        inside = run("nsenter", "--mount=/proc/1/ns/mnt", "--", "true", check=False).returncode == 0
    except OSError:
        inside = False
    if not inside:
        pytest.skip("the mount namespace of process 1 cannot be entered here")
    if os.stat("/proc/1/root/run").st_ino != os.stat("/run").st_ino:
        pytest.skip("process 1 has another /run than the tests")
    name = bench.full("private")
    code = (f"from fip64agent.links import netns; netns.create({name!r}); "
            f"assert netns.inside({name!r}, int, '7') == 7")
    run("unshare", "-m", "--propagation", "slave", sys.executable, "-c", code)
    assert name in run("ip", "netns", "list").stdout
    run("true", netns=name)
    assert run("ip", "link", "show", "lo", netns=name).stdout


def test_events_of_other_programs_beside_ours_wake_nobody(bench):
    bench.converge(bench.site.standard())
    hub.sleep(SECOND_LOOK)
    bench.changes = 0
    bench.ip("agent", "link add tap1 type veth peer name tap2", "link set tap1 up", "link del tap1",
             "link set ovs-dl-1 promisc on", "addr add 10.3.0.1/24 dev lo")
    sleeper = popen("sleep", "0.1", netns=bench.full("t1"))
    sleeper.wait()
    run("ip", "netns", "add", f"{bench.base}other")
    hub.sleep(1)
    assert bench.changes == 0


def test_many_tenants_cost_few_descriptors(bench):
    site = bench.site
    bench.converge([site.host(), site.uplink()])
    before = len(os.listdir("/proc/self/fd"))
    bench.converge([site.host(), site.uplink(), *(site.tenant(number) for number in range(1, 11))])
    assert len(os.listdir("/proc/self/fd")) - before <= 6 * 10 + 4  # and what runs meanwhile
    bench.converge([site.host(), site.uplink()])
    until(lambda: len(os.listdir("/proc/self/fd")) - before <= 4)


def test_changed_objects_are_changed_in_place(bench):
    """A tenant whose VLAN changes gets another veth; the FIP of one that moves keeps its one route."""
    site = bench.site
    bench.converge(site.standard())
    moved = dataclasses.replace(site.fip(1, 1), vlan=2, router_id="t2")
    objects = [site.host(), site.uplink(), site.tenant(1), site.tenant(2), moved, site.fip(2, 2)]
    bench.converge(objects)
    shown = run("ip", "-6", "route", "show", "table", "100", netns=site.core).stdout
    assert shown.count("2001:db8:f::11 ") == 1 and "dev tenant-1" not in shown
    other = dataclasses.replace(site.tenant(1), vlan=9, interface="ovs-dl-9", mac="02:f6:40:00:00:09")
    objects = [site.host(), site.uplink(), other, site.tenant(2), moved, site.fip(2, 2)]
    bench.repair(objects)
    assert "ovs-dl-1" not in run("ip", "link", netns=bench.netns).stdout


def test_names_that_came_too_fast_for_inotify_are_reported(tmp_path, monkeypatch):
    """The kernel keeps a limited number of events, and reports that it dropped others."""
    monkeypatch.setattr(namespaces, "DIRECTORY", tmp_path)
    changes = []
    monitor = Monitor("f64-", (), lambda: changes.append(1))
    monitor.start()
    try:
        hub.sleep(0.1)
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        if limit > 1 << 16:
            pytest.skip(f"the kernel keeps {limit} events")
        for number in range(limit):
            (tmp_path / f"{number}").touch()
        (tmp_path / "f64-red").touch()
        until(lambda: changes)
    finally:
        monitor.stop()
