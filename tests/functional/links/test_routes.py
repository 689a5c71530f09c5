# SPDX-License-Identifier: Apache-2.0
"""Routes set and read on a real kernel's netlink; its news of a real TUN device."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from fip64agent.links import events, routes, rtnetlink
from fip64agent.links import netns as namespaces
from fip64agent.links.kernel import Door
from fip64agent.links.model import BLACKHOLE, UNICAST, Route
from lab.shell import run
from tests.conftest import require_root


@pytest.fixture
def door() -> Iterator[Door]:
    """A namespace with the veth pair "one" and "two", and the TUN device "nat64"."""
    require_root()
    name = f"f64r{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "-batch", "-", input="link add one type veth peer name two\nlink set one up\n"
            "link set two up\nlink set lo up\ntuntap add nat64 mode tun\nlink set nat64 up\n"
            "link set one alias 'one'\naddr add 10.9.0.1/24 dev one\n")
        door = Door(name)
        yield door
        door.close()
    finally:
        run("ip", "netns", "del", name)


def shown(door: Door, *argv: str) -> list[str]:
    return sorted(" ".join(line.split()) for line in run("ip", *argv, netns=door.name).stdout.splitlines())


def route(door: Door, destination: str, link="one", via: str | None = "fe80::2", kind=UNICAST, table=100,
          metric=0) -> Route:
    nexthop = ip_address(via) if via else None
    return Route(door.name, table, ip_network(destination), link, nexthop, kind, metric)


def put(door: Door, *wanted: Route) -> list:
    return routes.change(door.bulk, [[routes.addition(item, door.index)] for item in wanted])


def read(door: Door) -> set[Route]:
    names = {door.index(name): name for name in ("one", "two", "nat64")}
    return set(routes.read(door.bulk, door.name, names))


EVERY_FORM = [
    ("2001:db8::1/128", {}),
    ("2001:db8:1::/64", {"via": None, "table": 1000}),
    ("::/0", {"table": 254}),
    ("2001:db8:2::/64", {"link": "", "via": None, "kind": BLACKHOLE}),
    ("2001:db8:2::/64", {"link": "", "via": None, "kind": BLACKHOLE, "metric": 1000}),
    ("0.0.0.0/0", {"via": "169.254.0.1", "table": 254}),
    ("100.64.0.0/16", {"link": "two", "via": None, "table": 254}),
    ("10.0.0.0/8", {"link": "", "via": None, "kind": BLACKHOLE, "table": 5000}),
]


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "backwards"])
def test_every_form_of_route_is_read_back_as_it_was_set(door, order):
    forms = [route(door, destination, **values) for destination, values in EVERY_FORM[::order]]
    wanted = set(forms)
    assert put(door, *wanted) == [None] * len(wanted)
    assert read(door) == wanted
    assert put(door, *wanted) == [None] * len(wanted)
    assert read(door) == wanted
    for count, item in enumerate(forms, 1):
        assert routes.change(door.bulk, [[routes.removal(item)]]) == [None]
        assert read(door) == set(forms[count:])
    assert routes.change(door.bulk, [[routes.removal(item)] for item in forms]) == [None] * len(forms)


def test_routes_are_set_as_ip_shows_them(door):
    put(door, route(door, "2001:db8::1/128"), route(door, "::/0", table=254),
        route(door, "2001:db8:2::/64", link="", via=None, kind=BLACKHOLE))
    assert shown(door, "-6", "route", "show", "table", "100") == [
        "2001:db8::1 via fe80::2 dev one proto 164 metric 1024 onlink pref medium",
        "blackhole 2001:db8:2::/64 dev lo proto 164 metric 1024 pref medium"]
    assert "default via fe80::2 dev one proto 164 metric 1024 onlink pref medium" in shown(
        door, "-6", "route")


def test_a_route_is_replaced_not_doubled(door):
    first = route(door, "2001:db8::1/128")
    second = route(door, "2001:db8::1/128", link="two", via="fe80::3")
    put(door, first, second)
    assert read(door) == {second}


def test_all_routes_are_read_and_only_ours(door):
    lines = [f"route add 2001:db8::{number:x} dev one table 100 proto 164" for number in range(1, 3001)]
    run("ip", "-n", door.name, "-batch", "-", input="\n".join([
        *lines, "route add 2001:db8:f::/64 dev one table 100", "route add 10.1.0.0/16 dev two"]))
    assert read(door) == {route(door, f"2001:db8::{number:x}/128", via=None) for number in range(1, 3001)}


def test_what_the_kernel_refuses_is_told_in_its_words_and_the_others_are_done(door):
    wanted = [route(door, f"2001:db8::{number:x}/128") for number in range(250)]
    requests = [[routes.addition(item, door.index if number != 120 else lambda _: 4711)]
                for number, item in enumerate(wanted)]
    answers = routes.change(door.bulk, requests)
    assert [number for number, answer in enumerate(answers) if answer] == [120]
    assert answers[120].code == errno.ENODEV and "evice" in str(answers[120])
    assert read(door) == set(wanted) - {wanted[120]}


def test_indexes_of_links(door):
    indexes = {link["ifname"]: link["ifindex"]
               for link in json.loads(run("ip", "-json", "link", netns=door.name).stdout)}
    names = ("lo", "one", "two", "nat64", "three", "a-name-that-is-far-too-long")
    assert {name: door.index(name) for name in names} == {name: indexes.get(name) for name in names}


def news(door: Door, seconds: float = 0.3) -> list[events.Event]:
    """What the kernel tells within some time and may concern us."""
    result = []
    deadline = time.monotonic() + seconds
    while True:
        over = time.monotonic() >= deadline  # before the last look
        try:
            result += events.parse(door.events.recv(1 << 16), foreign_ground=False)
        except BlockingIOError:
            if over:
                return result
            time.sleep(0.02)


def settle(door: Door) -> None:
    """Wait until the kernel has told all of how the namespace was made; carriers follow later."""
    while news(door, 0.7):
        pass


def test_carrier_of_the_tun_device_is_no_news_but_all_else_is(door):
    def attach():
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"nat64", 0x1001))
        return fd

    settle(door)
    fd = namespaces.inside(door.name, attach)
    os.close(fd)
    assert news(door, 1.2) == []
    for change in (["mtu", "1300"], ["mtu", "1500"], ["down"]):
        run("ip", "link", "set", "nat64", *change, netns=door.name)
        assert bool(news(door)) == (change != ["mtu", "1500"]), change
    run("ip", "link", "del", "nat64", netns=door.name)
    assert news(door)


@pytest.mark.parametrize("command", [
    "ip -6 rule add from 2001:db8::/32 table 7", "ip rule add iif one table 7",
    "ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev one", "ip addr add 2001:db8::7/64 dev one nodad",
    "ip route add 2001:db8:7::/64 dev one proto 164", "ip link set one mtu 1400", "ip link set one down",
    "ip link set one alias another", "ip link set one address 02:00:00:00:00:09", "ip link del one",
    "sysctl -q net.ipv6.conf.all.forwarding=1", "sysctl -q net.ipv4.conf.all.rp_filter=2"])
def test_each_kind_of_change_is_news(door, command):
    news(door, 0.2)
    run(*command.split(), netns=door.name)
    assert news(door)


def test_what_others_do_with_routes_of_their_own_is_no_news(door):
    settle(door)
    run("ip", "route", "add", "10.77.0.0/16", "dev", "one", netns=door.name)
    run("ip", "-6", "route", "add", "2001:db8:77::/64", "dev", "one", netns=door.name)
    assert news(door) == []


def test_a_dump_that_ends_with_an_error_is_none(door):
    """The kernel says so in the dump's last message."""
    missing = struct.pack("=8BI", socket.AF_INET, *[0] * 8) + rtnetlink.attribute(15, struct.pack("=I", 4321))
    with pytest.raises(rtnetlink.Refusal) as caught:
        list(door.bulk.dump(26, missing))
    assert caught.value.code == errno.ENOENT
