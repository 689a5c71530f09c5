# SPDX-License-Identifier: Apache-2.0
"""The vpp driver's room against a real VPP: what it makes, finds, repairs, and what it leaves alone."""

import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path

import pytest

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.links.room import LinksRoom
from fip64agent.reconcile import diff
from fip64agent.translator.vpp import process, requests
from fip64agent.translator.vpp.items import Daemon, HostInterface, Mapping, Route, Table, Tenant64
from fip64agent.translator.vpp.links import VppLayout
from fip64agent.translator.vpp.room import VppRoom
from lab.shell import run
from lab.vpp import Vpp
from tests.conftest import require_programs, require_root
from tests.fakes import planned
from tests.fakes.kernel import agents_namespace, converge, until
from tests.functional.translator import vpp_site

PORT_B = "22222222-0000-4000-8000-000000000002"
FIPS = IPv6Address("2001:db8:f::1000")


class Bench:
    """A links room and a vpp room in a namespace of their own."""

    def __init__(self, prefix: str, directory: Path, make: Callable[..., VppRoom]) -> None:
        self.prefix, self.directory, self._make = prefix, directory, make
        self.changes = 0
        self.links = LinksRoom(prefix, VppLayout())
        self.links.start()
        self.host = planned.host(prefix, "vpp")
        self.uplink = planned.uplink(prefix)
        self.rooms: list[VppRoom] = []
        self.room = self.again()

    def _changed(self) -> None:
        self.changes += 1

    def again(self) -> VppRoom:
        """As after a restart of the agent."""
        for room in self.rooms:
            room.close()
        self.room = self._make(self._changed)
        self.room.start()
        self.rooms = [self.room]
        return self.room

    def close(self) -> None:
        self.room.close()
        self.links.close()

    def other_uplink(self):
        return planned.uplink(self.prefix, PORT_B, 2, addresses=(IPv6Interface("2001:db8:e::1/64"),),
                              routes=(), onlink=(IPv6Network("2001:db8:e::/64"),), routed=())

    def tenant(self, name: str = "red", vlan: int = 7, **changes):
        return planned.tenant(name, vlan, {}, **{
            "pool": IPv4Network("100.64.0.0/24"), "own_interface": False,
            "interface": self.host.downlink, "mac": self.host.downlink_mac}
            | changes)

    def mappings(self, tenant, count: int, first: int = 0):
        return [planned.mapping(tenant, str(FIPS + first + number), str(IPv4Address("10.0.0.5") + number),
                                self.uplink.table) for number in range(count)]

    def standard(self) -> list:
        red, blue = self.tenant("red", 7), self.tenant("blue", 8)
        return [self.host, self.uplink, red, blue, *self.mappings(red, 3), *self.mappings(blue, 2, 10)]

    def install(self, *objects) -> tuple[dict, int]:
        """Bring both rooms to exactly these objects, in the loop's order."""
        converge(self.links, *[obj for obj in objects if obj.kind in ("host", "uplink")])
        work = self.work(*objects)
        failed = self.room.apply(work.apply) if work.apply else {}
        if work.prune:
            failed |= self.room.prune(work.prune)
        return failed, len(work.apply) + len(work.prune)

    def settle(self, *objects) -> None:
        """As install(), again when something was made anew, as on_change leads to."""
        failed, _ = self.install(*objects)
        if failed or self.room_changed():
            assert self.install(*objects)[0] == {}
        assert self.install(*objects) == ({}, 0)
        for (version, number), name in self.room._state.tables.items():
            if name.startswith("fip64:"):  # VPP may have a route, and yet drop what goes there
                shown = self.cli(f"show ip{'6' if version == 6 else ''} fib table {number} "
                                 f"{'2001:db8:123::9' if version == 6 else '10.9.9.9'}")
                assert "unresolved" not in shown, shown

    def room_changed(self) -> bool:
        seen, self.changes = self.changes, 0
        return bool(seen)

    def work(self, *objects) -> diff.Difference:
        return diff.whole((item for obj in objects for item in self.room.expand(obj)), self.room.actual())

    @property
    def pid(self) -> int:
        found, = process.running(str(self.directory / "vpp"))
        return found.pid

    def cli(self, command: str) -> str:
        return self.room.supervisor.client.call("cli_inband", cmd=command).reply


@pytest.fixture
def bench(short_tmp) -> Iterator[Bench]:
    require_root()
    require_programs("ip")
    vpp_site.require_vpp()
    with agents_namespace() as prefix:
        made = Bench(prefix, short_tmp, lambda on_change: vpp_site.new_room(short_tmp, on_change))
        try:
            yield made
        finally:
            made.close()
            vpp_site.end_all(short_tmp)


# -- VPP comes and goes ---------------------------------------------------------------------------


def test_without_an_uplink_no_vpp_is_started(bench):
    assert bench.room.ready() is None and bench.room.actual() == {} and bench.room.healthy() is None
    assert bench.room.allocations().vlans == {}
    assert process.running(str(bench.directory / "vpp")) == []


def test_the_last_uplink_takes_vpp_away_and_the_next_one_brings_it_back(bench):
    bench.settle(*bench.standard())
    first = bench.pid
    bench.install()
    assert process.running(str(bench.directory / "vpp")) == [] and bench.room.actual() == {}
    assert not os.path.exists(bench.room.supervisor.api_socket)
    about = bench.room.about()
    assert (about.pid, about.uptime) == (None, None), "there is none any more"
    bench.settle(*bench.standard())
    assert bench.pid != first


def test_what_is_installed_is_adopted_with_its_numbers(bench):
    objects = bench.standard()
    bench.settle(*objects)
    pid = bench.pid
    bench.again()
    found = bench.room.allocations()
    assert found.vlans == {"red": 7, "blue": 8} and found.tables == {bench.uplink.port_id: bench.uplink.table}
    assert bench.install(*objects) == ({}, 0)
    assert bench.pid == pid


def test_numbers_are_read_back_on_a_slow_machine_too(bench, monkeypatch):
    objects = bench.standard()
    bench.settle(*objects)
    look = process.running

    def slowly(run_path):
        time.sleep(0.7)
        return look(run_path)

    monkeypatch.setattr(process, "running", slowly)
    bench.again()
    assert bench.room.allocations().vlans == {"red": 7, "blue": 8}


def test_a_vpp_that_cannot_be_started_is_reported_with_the_reason(bench, short_tmp):
    bench.room.close()
    room = vpp_site.new_room(short_tmp, binary="/nowhere/vpp")
    try:
        with pytest.raises(NotReady, match="'/nowhere/vpp' is not found"):
            room.apply([(None, item) for item in room.expand(bench.host)])
        assert "'/nowhere/vpp' is not found" in room.ready()
    finally:
        room.close()


def test_a_vpp_without_the_plugin_is_reported_with_the_reason(bench, short_tmp, monkeypatch):
    monkeypatch.setattr("fip64agent.translator.vpp.room._START_WAIT", 2.0)
    if (vpp_site.require_vpp().own_plugins / "fip64_plugin.so").exists():
        pytest.skip("VPP has the plugin in its own plugin directory")
    bench.room.close()
    room = vpp_site.new_room(short_tmp, plugin_path="/nowhere")
    try:
        with pytest.raises(NotReady, match="runs without the fip64 plugin"):
            room.apply([(None, item) for item in room.expand(bench.host)])
        assert "runs without the fip64 plugin" in room.ready() and "runs without" in room.healthy()
    finally:
        room.close()


def test_what_remains_for_the_clean_up_is_vpp_itself(bench):
    bench.settle(*bench.standard())
    bench.again()
    remains = bench.room.remains()
    assert [type(item) for item in remains.values()] == [Daemon]
    assert bench.room.prune(list(remains.values())) == {}
    assert bench.room.remains() == {}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_a_vpp_that_dies_or_hangs_is_replaced_and_filled_again(bench, number):
    objects = bench.standard()
    bench.settle(*objects)
    pid = bench.pid
    bench.room_changed()
    os.kill(pid, number)
    until(lambda: bench.changes and bench.room.ready() is None, 8, "a new VPP")
    assert bench.pid != pid
    assert bench.install(*objects)[0] == {}
    bench.settle(*objects)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_vpp_with_many_uplinks_that_was_killed_has_not_hung(bench, number, caplog):
    """The kernel takes longer to close its packet sockets than a health probe waits."""
    uplinks = [planned.uplink(bench.prefix, f"{number:08x}-0000-4000-8000-000000000001", number,
                              addresses=(IPv6Interface(f"2001:db8:{number:x}::1/64"),), routes=(),
                              onlink=(IPv6Network(f"2001:db8:{number:x}::/64"),), routed=())
               for number in range(1, 50)]
    bench.settle(bench.host, *uplinks)
    old, supervisor = bench.pid, bench.room.supervisor
    os.kill(old, number)
    until(lambda: supervisor.client is not None and supervisor.client.pid != old, 20, "another VPP")
    downs = [record.getMessage() for record in caplog.records if "is down" in record.getMessage()]
    assert len(downs) == 1 and f"VPP (pid {old}) was killed by signal" in downs[0]
    assert not os.path.exists(f"/proc/{old}"), "it is reaped"
    bench.settle(bench.host, *uplinks)


def test_killed_while_1000_mappings_are_pushed(bench):
    red = bench.tenant()
    objects = [bench.host, bench.uplink, red]
    bench.settle(*objects)
    wanted = [item for obj in bench.mappings(red, 1000) for item in bench.room.expand(obj)]
    pid = bench.pid

    def kill() -> None:
        hub.sleep(random.uniform(0, 0.03))
        os.kill(pid, signal.SIGKILL)

    hub.spawn(kill)
    with pytest.raises(NotReady):
        for _ in range(1000):
            bench.room.apply([(None, item) for item in wanted])
            bench.room.prune(wanted)
    until(lambda: bench.room.ready() is None, 8, "a new VPP")
    bench.settle(*objects, *bench.mappings(red, 1000))


def test_its_socket_removed_is_reported(bench):
    bench.settle(*bench.standard())
    os.unlink(bench.room.supervisor.api_socket)
    until(lambda: "api.sock was removed" in (bench.room.healthy() or ""), 5)
    assert bench.install(*bench.standard()) == ({}, 0)


# -- damage ---------------------------------------------------------------------------------------


def damaged(bench: Bench, objects, *commands: str) -> int:
    for command in commands:
        bench.cli(command)
    _, count = bench.install(*objects)
    bench.settle(*objects)
    return count


@pytest.mark.parametrize(("commands", "most"), [
    (["fip64 mapping del 2001:db8:f::1000 ip6-table 1001"], 1),
    (["set interface ip address host-vpp-11111111 2001:db8:77::1/64"], 1),
    (["set interface ip address del host-vpp-11111111 2001:db8:f::1/64"], 1),
    (["set interface state host-vpp-11111111 down"], 1),
    (["set interface mtu packet 1300 host-vpp-11111111"], 1),
    (["set ip neighbor del host-vpp-dl.7 169.254.0.1 02:f6:40:00:00:01"], 1),
    (["delete sub-interface host-vpp-dl.7"], 4), (["delete host-interface name vpp-11111111"], 4),
    (["delete host-interface name vpp-dl"], 9)])
def test_what_somebody_changed_in_vpp_is_put_right(bench, commands, most):
    objects = bench.standard()
    bench.settle(*objects)
    assert 1 <= damaged(bench, objects, *commands) <= most


@pytest.mark.parametrize(("route", "is_add"), [
    (Route(1001, IPv6Network("::/0"), ""), False), (Route(7, IPv4Network("0.0.0.0/0"), ""), False),
    (Route(1001, IPv6Network("::/0"), ""), True), (Route(1001, IPv6Network("2001:db8:77::/64"), ""), True),
    (Route(1001, IPv6Network("2001:db8:e::/64"), "local0", IPv6Address("2001:db8:f::9")), True)], ids=str)
def test_a_route_that_another_program_changed_is_put_right(bench, route, is_add):
    objects = bench.standard()
    bench.settle(*objects)
    name, fields = requests.add_route(route, {"local0": 0}) if is_add else requests.remove_route(route)
    bench.room.supervisor.client.call(name, **fields)
    assert bench.install(*objects) == ({}, 1)
    bench.settle(*objects)


def test_a_changed_interface_is_noticed(bench):
    bench.settle(*bench.standard())
    hub.sleep(0.2)
    bench.room_changed()
    bench.cli("set interface state host-vpp-11111111 down")
    until(lambda: bench.changes, 3)


def test_a_veth_that_was_made_anew_is_noticed(bench):
    objects = bench.standard()
    bench.settle(*objects)
    run("ip", "link", "del", bench.uplink.veth)
    converge(bench.links, bench.host, bench.uplink)
    dead = [item for item in bench.room.actual().values()
            if isinstance(item, HostInterface) and item.link == "?"]
    assert [item.tag for item in dead] == [f"fip64:uplink:{bench.uplink.port_id}"]
    bench.settle(*objects)
    run("ip", "link", "del", bench.host.downlink)
    bench.settle(*objects)


def test_a_veth_that_is_gone_with_its_uplink_leaves_nothing_in_vpp(bench):
    other = bench.other_uplink()
    objects = bench.standard()
    bench.settle(*objects, other)
    run("ip", "link", "del", other.veth)
    bench.settle(*objects)
    assert "22222222" not in bench.cli("show interface") + bench.cli("show ip6 fib summary")


def test_an_interface_that_got_no_tag_before_the_agent_was_killed_is_taken_over(bench):
    bench.settle(bench.host)
    converge(bench.links, bench.uplink)
    bench.cli(f"create host-interface name {bench.uplink.peer}")
    bench.settle(*bench.standard())


# -- changes --------------------------------------------------------------------------------------


def test_two_fips_swap_their_fixed_addresses(bench):
    red = bench.tenant()
    one, two, other = bench.mappings(red, 3)
    bench.settle(bench.host, bench.uplink, red, one, two, other)
    swapped = [dataclasses.replace(one, fixed_ip=two.fixed_ip),
               dataclasses.replace(two, fixed_ip=one.fixed_ip)]
    assert bench.install(bench.host, bench.uplink, red, *swapped, other) == ({}, 2)
    assert bench.install(bench.host, bench.uplink, red, *swapped, other) == ({}, 0)


def test_a_fip_takes_the_fixed_address_of_one_that_goes(bench):
    red = bench.tenant()
    one, two = bench.mappings(red, 2)
    bench.settle(bench.host, bench.uplink, red, one)
    heir = dataclasses.replace(two, fixed_ip=one.fixed_ip)
    assert bench.install(bench.host, bench.uplink, red, heir) == ({}, 2)
    assert bench.install(bench.host, bench.uplink, red, heir) == ({}, 0)


def test_a_fip_moves_to_another_tenant_and_to_another_uplink(bench):
    red, blue = bench.tenant("red", 7), bench.tenant("blue", 8)
    other = bench.other_uplink()
    one, = bench.mappings(red, 1)
    base = [bench.host, bench.uplink, other, red, blue]
    bench.settle(*base, one)
    moved = dataclasses.replace(one, router_id="blue", vlan=8, downlink_vlan=8)
    assert bench.install(*base, moved) == ({}, 1)
    elsewhere = dataclasses.replace(moved, table=other.table)
    assert bench.install(*base, elsewhere) == ({}, 2)
    assert bench.install(*base, elsewhere) == ({}, 0)


def test_a_vlan_goes_to_another_tenant(bench):
    red, green = bench.tenant("red", 7), bench.tenant("green", 7)
    bench.settle(bench.host, bench.uplink, red, *bench.mappings(red, 2))
    bench.settle(bench.host, bench.uplink, green, *bench.mappings(green, 2))
    assert "red" not in str(list(bench.room.actual().values()))
    assert "fip64:tenant:green" in bench.cli("show ip fib table 7 summary") + bench.cli("show ip fib table 7")


def test_a_table_goes_to_another_uplink(bench):
    red = bench.tenant()
    bench.settle(bench.host, bench.uplink, red, *bench.mappings(red, 2))
    other = planned.uplink(bench.prefix, PORT_B, 1)
    bench.settle(bench.host, other, red, *bench.mappings(red, 2))
    assert "11111111" not in bench.cli("show interface")


@pytest.mark.parametrize("changes", [
    {"mtu": 1400}, {"mac": "fa:16:3e:99:99:99"}, {"table": 1500}, {"routes": ()},
    {"routes": ((IPv6Network("::/0"), IPv6Address("fe80::1")),
                (IPv6Network("2001:db8:5::/48"), IPv6Address("2001:db8:f::7")))},
    {"addresses": (IPv6Interface("2001:db8:f::1/48"),), "onlink": (IPv6Network("2001:db8:f::/48"),)},
    {"addresses": (IPv6Interface("2001:db8:f::1/64"), IPv6Interface("2001:db8:f::2/64"))}], ids=str)
def test_an_uplink_changes(bench, changes):
    bench.settle(bench.host, bench.uplink)
    bench.uplink = dataclasses.replace(bench.uplink, **changes)
    bench.settle(bench.host, bench.uplink)


def test_packets_of_a_larger_mtu_fit_when_an_uplink_gets_it(bench):
    """The rings of a host-interface have slots of a size: what does not fit, VPP drops as partial."""
    link = bench.uplink.veth
    bench.settle(bench.host, bench.uplink)
    run("ip", "address", "add", "2001:db8:f::99/64", "dev", link, "nodad")
    for mtu in (8950, 1500, 8950):
        bench.uplink = dataclasses.replace(bench.uplink, mtu=mtu)
        bench.settle(bench.host, bench.uplink)
        ping = ("ping", "-6", "-c1", "-W1", "-Mdo", f"-s{mtu - 48}", "2001:db8:f::1")
        until(lambda ping=ping: hub.offload(run, *ping, check=False).returncode == 0, 8,
              f"an answer to a ping of {mtu} bytes")


def test_a_tenants_pool_and_options_change(bench):
    red = bench.tenant()
    objects = [bench.host, bench.uplink, *bench.mappings(red, 2)]
    bench.settle(*objects, red)
    bench.settle(*objects, dataclasses.replace(red, idle_timeout=60, max_per_64=3, mtu=1400, mtu4=1300))
    chosen = dataclasses.replace(red, lowest_ipv6_mtu=1500, zero_traffic_class=True,
                                 drop_udp_zero_checksum=True)
    bench.settle(*objects, chosen)
    installed = next(item for item in bench.room.actual().values() if isinstance(item, Tenant64))
    assert (installed.lowest_ipv6_mtu, installed.zero_traffic_class, installed.drop_udp_zero_checksum) == (
        1500, True, True)
    assert bench.install(*objects, dataclasses.replace(chosen, zero_traffic_class=False))[0] == {}
    smaller = dataclasses.replace(red, pool_first=IPv4Address("100.64.0.9"),
                                  pool_last=IPv4Address("100.64.0.20"))
    bench.settle(*objects, smaller)


def test_static_bindings_swap_and_go(bench):
    clients = [IPv6Address("2001:db8:9::1"), IPv6Address("2001:db8:9::2")]
    addresses = [IPv4Address("100.64.0.7"), IPv4Address("100.64.0.8")]
    red = bench.tenant(bindings=tuple(zip(clients, addresses, strict=True)))
    bench.settle(bench.host, bench.uplink, red)
    assert [(each.client, each.pool_address) for each in bench.room.clients("red")] == list(red.bindings)
    swapped = dataclasses.replace(red, bindings=tuple(zip(clients, reversed(addresses), strict=True)))
    assert bench.install(bench.host, bench.uplink, swapped) == ({}, 2)
    heir = dataclasses.replace(red, bindings=((IPv6Address("2001:db8:9::3"), addresses[0]),))
    assert bench.install(bench.host, bench.uplink, heir)[0] == {}
    assert bench.install(bench.host, bench.uplink, heir) == ({}, 0)


def test_an_item_that_vpp_refuses_does_not_stop_the_others(bench):
    red = bench.tenant()
    good, bad = bench.mappings(red, 2)
    bad = dataclasses.replace(bad, fixed_ip=IPv4Address("100.64.0.9"))  # in the pool
    failed, _ = bench.install(bench.host, bench.uplink, red, good, bad)
    key = ("mapping", bench.uplink.table, bad.floating_ip)
    assert failed.keys() == {key} and "ADDRESS_IN_USE" in failed[key]
    there = [item for item in bench.room.actual().values() if isinstance(item, Mapping)]
    assert [item.floating for item in there] == [good.floating_ip]


def test_one_fip_among_1000_is_one_message(bench):
    red = bench.tenant()
    mappings = bench.mappings(red, 1000)
    bench.settle(bench.host, bench.uplink, red, *mappings)
    client, sent = bench.room.supervisor.client, []
    transmit = client.transmit

    def counted(messages, *rest) -> None:
        sent.extend(messages)
        transmit(messages, *rest)

    client.transmit = counted
    bench.room.supervisor._interval = 60  # no health probe now
    hub.sleep(0.6)
    was, = bench.room.expand(mappings[5])
    item, = bench.room.expand(dataclasses.replace(mappings[5], fixed_ip=IPv4Address("10.9.9.9")))
    sent.clear()
    assert bench.room.apply([(was, item)]) == {} and len(sent) == 1
    assert bench.room.prune([item]) == {} and len(sent) == 2


def test_what_it_stands_on_is_missing(bench):
    red = bench.tenant()
    bench.settle(bench.host)
    lost = [item for obj in (red, *bench.mappings(red, 1), bench.uplink) for item in bench.room.expand(obj)
            if not isinstance(item, Table)]
    failed = bench.room.apply([(None, item) for item in lost])
    assert failed.keys() == {item.key for item in lost}
    assert failed["mapping", bench.uplink.table, FIPS] == "VPP has no tenant with table 7"
    assert failed["interface", f"fip64:uplink:{bench.uplink.port_id}"] == "VPP has no IPv6 table 1001"
    assert bench.install(bench.host) == ({}, 0)


def test_random_changes_end_where_the_plan_is(bench):
    """FIPs come, go, move and swap between two tenants, some at a time."""
    tenants = [bench.tenant("red", 7), bench.tenant("blue", 8)]
    chance = random.Random(64)
    base = [bench.host, bench.uplink, *tenants]
    bench.settle(*base)
    model: dict[tuple[int, IPv4Address], IPv6Address] = {}
    for _ in range(40):
        for _ in range(50):
            spot = (chance.choice((7, 8)), IPv4Address("10.0.0.0") + chance.randrange(60))
            floating = FIPS + chance.randrange(90)
            model = {key: fip for key, fip in model.items() if fip != floating}
            if chance.random() < 0.8:
                model[spot] = floating
            else:
                model.pop(spot, None)
        objects = [dataclasses.replace(planned.mapping(tenants[vlan - 7], str(floating), str(fixed)),
                                       table=bench.uplink.table) for (vlan, fixed), floating in model.items()]
        assert bench.install(*base, *objects)[0] == {}
    assert bench.install(*base, *objects) == ({}, 0)
    found = {(item.table, item.fixed): item.floating for item in bench.room.actual().values()
             if isinstance(item, Mapping)}
    assert found == model


def test_101_uplinks_come_and_go(bench):
    uplinks = [planned.uplink(bench.prefix, f"{number:08x}-0000-4000-8000-000000000001", number,
                              addresses=(IPv6Interface(f"2001:db8:{number:x}::1/64"),), routes=(),
                              onlink=(IPv6Network(f"2001:db8:{number:x}::/64"),), routed=())
               for number in range(1, 102)]
    bench.settle(bench.host, *uplinks)
    assert len([item for item in bench.room.actual().values() if isinstance(item, HostInterface)]) == 102
    bench.settle(bench.host)
    assert bench.cli("show ip6 fib summary").count("fip64:") == 0


# -- somebody else's VPP --------------------------------------------------------------------------


@pytest.fixture
def foreign(short_tmp) -> Iterator[tuple[Bench, Vpp]]:
    """A VPP that we did not start, with things in it that are not ours."""
    require_root()
    require_programs("ip")
    vpp_site.require_vpp()
    with agents_namespace() as prefix, Vpp(short_tmp / "f") as vpp:
        for command in ("create loopback interface", "set interface state loop0 up", "ip6 table add 1001",
                        "set interface ip address loop0 192.0.2.1/24", "ip table add 8"):
            vpp.cli(command, check=True)
        made = Bench(prefix, short_tmp, lambda on_change: vpp_site.new_room(
            short_tmp, on_change, launch="external", api_socket=str(vpp.api_socket),
            stats_socket=str(vpp.stats_socket)))
        try:
            until(lambda: made.room.ready() is None, 5, "the connection")
            yield made, vpp
        finally:
            made.close()


def picture(vpp: Vpp) -> list[str]:
    return [vpp.cli(f"show {what}") for what in ("interface addr", "ip fib table 8", "ip6 fib table 1001")]


def test_a_table_that_is_not_ours_is_a_conflict_and_stays_as_it_is(foreign):
    bench, vpp = foreign
    before = picture(vpp)
    red, blue = bench.tenant("red", 7), bench.tenant("blue", 8)
    failed, _ = bench.install(bench.host, bench.uplink, red, blue, *bench.mappings(blue, 1))
    assert failed["table", 6, 1001].startswith("IPv6 table 1001 of VPP is not this agent's: its name is 'ip")
    assert failed["table", 4, 8].startswith("IPv4 table 8 of VPP is not this agent's: its name is 'ip")
    assert failed["mapping", 1001, FIPS] == "VPP has no tenant with table 8"
    assert ("table", 4, 7) not in failed
    after = picture(vpp)
    assert after[1:] == before[1:]
    moved = dataclasses.replace(bench.uplink, table=1002)
    bench.uplink = moved
    bench.settle(bench.host, moved, red, *bench.mappings(red, 2))


def test_all_of_ours_goes_and_nothing_else(foreign):
    bench, vpp = foreign
    before = picture(vpp)
    bench.uplink = dataclasses.replace(bench.uplink, table=1002)
    red = bench.tenant()
    bench.settle(bench.host, bench.uplink, red, *bench.mappings(red, 5))
    assert Daemon not in map(type, bench.room.actual().values())
    remains = bench.room.remains()
    assert bench.room.prune(list(remains.values())) == {}
    assert bench.room.remains() == {} and picture(vpp) == before
    assert "fip64" not in vpp.cli("show ip6 fib summary") + vpp.cli("show ip fib summary")
    assert vpp.running


def test_packets_whose_segmentation_was_left_to_do_are_a_warning(foreign):
    """A tap or vhost-user interface with GSO in an external VPP: ping works, TCP stalls."""
    bench, vpp = foreign
    bench.uplink = dataclasses.replace(bench.uplink, table=1002)
    red = bench.tenant()
    bench.settle(bench.host, bench.uplink, red, *bench.mappings(red, 1))

    def send(flags: str = "") -> None:
        vpp.cli("packet-generator new { name s limit 3 node ip6-input interface pg0 size 100-100 "
                f"{flags} data {{ UDP: 2001:db8:c::1 -> {FIPS} UDP: 1000 -> 2000 incrementing 30 }} }}",
                check=True)
        vpp.cli("packet-generator enable-stream s", check=True)
        hub.sleep(0.1)
        vpp.cli("packet-generator delete s", check=True)

    for command in ("create packet-generator interface pg0", "set interface ip6 table pg0 1002",
                    "enable ip6 interface pg0", "set interface state pg0 up"):
        vpp.cli(command, check=True)
    send()
    assert bench.room.warnings() == []
    send("buffer-flags gso")
    warning, = bench.room.warnings()
    assert warning.startswith("VPP dropped 3 packets lately whose segmentation was left to do (counter unsup")
    assert bench.room.healthy() is None
    for _ in range(2):  # audits
        bench.room.actual()
    assert bench.room.warnings() == []


def test_an_external_vpp_in_a_container_is_reported_by_its_own_process_id(short_tmp):
    """There it is process 1, which is another one here."""
    require_root()
    require_programs("ip", "unshare")
    found = vpp_site.require_vpp()
    binary = short_tmp / "contained"
    binary.write_text("#!/bin/sh\nexec unshare --pid --fork --mount-proc --kill-child=KILL "
                      f'{found.binary} "$@"\n')
    binary.chmod(0o755)
    with agents_namespace() as prefix, \
            Vpp(short_tmp / "f", installed=dataclasses.replace(found, binary=binary)) as vpp:
        made = Bench(prefix, short_tmp, lambda on_change: vpp_site.new_room(
            short_tmp, on_change, launch="external", api_socket=str(vpp.api_socket),
            stats_socket=str(vpp.stats_socket)))
        try:
            until(lambda: made.room.ready() is None, 5, "the connection")
            assert made.room.supervisor.client.pid == 1 != made.room.about().pid
            made.settle(made.host, made.uplink)  # its host-interfaces work
            run("ip", "link", "delete", made.uplink.veth)
            assert made.install(made.host, made.uplink)[0] == {}
            made.settle(made.host, made.uplink)
        finally:
            made.close()


def test_numbers_in_an_external_vpp_that_takes_a_while_to_answer_stay_in_force(foreign):
    """Else everything in it would be made anew with other numbers."""
    bench, vpp = foreign
    bench.uplink = dataclasses.replace(bench.uplink, table=1002)
    bench.settle(bench.host, bench.uplink, bench.tenant())
    os.kill(vpp.pid, signal.SIGSTOP)
    goes_on = hub.spawn(lambda: (hub.sleep(1.0), os.kill(vpp.pid, signal.SIGCONT)))
    bench.again()
    found = bench.room.allocations()
    goes_on.wait()
    assert found.vlans == {"red": 7} and found.tables == {bench.uplink.port_id: 1002}


def test_a_read_back_that_its_death_ends_prints_no_trace(foreign, capfd):
    bench, vpp = foreign
    bench.uplink = dataclasses.replace(bench.uplink, table=1002)
    objects = [bench.host, bench.uplink, *[bench.tenant(f"t{vlan}", vlan) for vlan in range(20, 40)]]
    bench.settle(*objects)
    client = bench.room.supervisor.client
    dump = client.dump

    def dying(message, **fields):
        if message == "ip_address_dump":
            vpp.kill()
        return dump(message, **fields)

    client.dump = dying
    with pytest.raises(NotReady):
        bench.room.actual()
    hub.sleep(0.1)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_an_external_vpp_that_is_restarted_is_filled_again(foreign):
    bench, vpp = foreign
    bench.uplink = dataclasses.replace(bench.uplink, table=1002)
    objects = [bench.host, bench.uplink, bench.tenant()]
    bench.settle(*objects)
    vpp.stop()
    until(lambda: str(vpp.api_socket) in (bench.room.ready() or ""), 5)
    vpp.start()
    until(lambda: bench.room.ready() is None, 5)
    bench.settle(*objects)


def test_a_route_that_something_else_overrides_is_reported_and_not_made_again_and_again(bench):
    objects = bench.standard()
    bench.settle(*objects)
    for command in ("create loopback interface", "set interface state loop0 up",
                    f"set interface ip6 table loop0 {bench.uplink.table}",
                    "set interface ip address loop0 2001:db8:e::1/64"):
        bench.cli(command)
    failed, touched = bench.install(*objects)
    assert touched == 1 and list(failed) == [("route", bench.uplink.table, IPv6Network("2001:db8:e::/64"))]
    assert "another route to it, which counts more" in str(failed)
    bench.cli("set interface ip address del loop0 2001:db8:e::1/64")
    bench.settle(*objects)


def test_prefixes_of_one_address_settle(bench):
    """A route to the uplink's own address, and a routed subnet that is one floating IP."""
    red = bench.tenant()
    fip, = bench.mappings(red, 1)
    own, only = (IPv6Network(address) for address in (bench.uplink.addresses[0].ip, fip.floating_ip))
    bench.uplink = dataclasses.replace(bench.uplink, routed=(only,),
                                       routes=((own, IPv6Address("2001:db8:f::7")),))
    bench.settle(bench.host, bench.uplink, red, fip)


def test_routes_of_others_in_our_tables_do_not_count(bench):
    """What the plugin and Neighbor Discovery put into a table is not a route of ours."""
    bench.settle(*bench.standard())
    routes = [item for item in bench.room.actual().values() if isinstance(item, Route)]
    assert {str(item.destination) for item in routes} == {"::/0", "2001:db8:e::/64", "0.0.0.0/0"}
