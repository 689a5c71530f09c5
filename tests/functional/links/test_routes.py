# SPDX-License-Identifier: Apache-2.0
"""Routes set and read on a real kernel's netlink; its events of a real TUN device."""

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
from fip64agent.links.kernel import Handle
from fip64agent.links.model import BLACKHOLE, UNICAST, Route
from lab.shell import run
from tests.conftest import require_root


@pytest.fixture
def handle() -> Iterator[Handle]:
    """A namespace with the veth pair "one" and "two", and the TUN device "nat64"."""
    require_root()
    name = f"f64r{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "-batch", "-", input="link add one type veth peer name two\nlink set one up\n"
            "link set two up\nlink set lo up\ntuntap add nat64 mode tun\nlink set nat64 up\n"
            "link set one alias 'one'\naddr add 10.9.0.1/24 dev one\n")
        handle = Handle(name)
        yield handle
        handle.close()
    finally:
        run("ip", "netns", "del", name)


def shown(handle: Handle, *argv: str) -> list[str]:
    return sorted(" ".join(line.split()) for line in run("ip", *argv, netns=handle.name).stdout.splitlines())


def route(handle: Handle, destination: str, link="one", via: str | None = "fe80::2", kind=UNICAST, table=100,
          metric=0) -> Route:
    nexthop = ip_address(via) if via else None
    return Route(handle.name, table, ip_network(destination), link, nexthop, kind, metric)


def put(handle: Handle, *wanted: Route) -> list:
    return routes.change(handle.bulk, [[routes.addition(item, handle.index)] for item in wanted])


def read(handle: Handle) -> set[Route]:
    names = {handle.index(name): name for name in ("one", "two", "nat64")}
    return set(routes.read(handle.bulk, handle.name, names))


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


def test_a_route_to_one_address_is_the_same_however_it_is_written():
    """What is wanted may be written either way, and what is read back is compared with it."""
    for address in ("2001:db8::1", "10.0.0.1"):
        written = Route("red", 100, ip_address(address)), Route("red", 100, ip_network(address))
        assert written[0] == written[1] and written[0].key == written[1].key
        assert str(written[0]) == f"route to {ip_network(address)} in table 100 of namespace red"


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "backwards"])
def test_every_form_of_route_is_read_back_as_it_was_set(handle, order):
    forms = [route(handle, destination, **values) for destination, values in EVERY_FORM[::order]]
    wanted = set(forms)
    assert put(handle, *wanted) == [None] * len(wanted)
    assert read(handle) == wanted
    assert put(handle, *wanted) == [None] * len(wanted)
    assert read(handle) == wanted
    for count, item in enumerate(forms, 1):
        assert routes.change(handle.bulk, [[routes.removal(item)]]) == [None]
        assert read(handle) == set(forms[count:])
    assert routes.change(handle.bulk, [[routes.removal(item)] for item in forms]) == [None] * len(forms)


def test_routes_are_set_as_ip_shows_them(handle):
    put(handle, route(handle, "2001:db8::1/128"), route(handle, "::/0", table=254),
        route(handle, "2001:db8:2::/64", link="", via=None, kind=BLACKHOLE))
    assert shown(handle, "-6", "route", "show", "table", "100") == [
        "2001:db8::1 via fe80::2 dev one proto 164 metric 1024 onlink pref medium",
        "blackhole 2001:db8:2::/64 dev lo proto 164 metric 1024 pref medium"]
    assert "default via fe80::2 dev one proto 164 metric 1024 onlink pref medium" in shown(
        handle, "-6", "route")


def test_a_route_is_replaced_not_doubled(handle):
    first = route(handle, "2001:db8::1/128")
    second = route(handle, "2001:db8::1/128", link="two", via="fe80::3")
    put(handle, first, second)
    assert read(handle) == {second}


def test_all_routes_are_read_and_only_ours(handle):
    lines = [f"route add 2001:db8::{number:x} dev one table 100 proto 164" for number in range(1, 3001)]
    run("ip", "-n", handle.name, "-batch", "-", input="\n".join([
        *lines, "route add 2001:db8:f::/64 dev one table 100", "route add 10.1.0.0/16 dev two"]))
    assert read(handle) == {route(handle, f"2001:db8::{number:x}/128", via=None) for number in range(1, 3001)}


def test_what_the_kernel_refuses_is_reported_in_its_words_and_the_others_are_done(handle):
    wanted = [route(handle, f"2001:db8::{number:x}/128") for number in range(250)]
    requests = [[routes.addition(item, handle.index if number != 120 else lambda _: 4711)]
                for number, item in enumerate(wanted)]
    answers = routes.change(handle.bulk, requests)
    assert [number for number, answer in enumerate(answers) if answer] == [120]
    assert answers[120].code == errno.ENODEV and "evice" in str(answers[120])
    assert read(handle) == set(wanted) - {wanted[120]}


def test_indexes_of_links(handle):
    indexes = {link["ifname"]: link["ifindex"]
               for link in json.loads(run("ip", "-json", "link", netns=handle.name).stdout)}
    names = ("lo", "one", "two", "nat64", "three", "a-name-that-is-far-too-long")
    assert {name: handle.index(name) for name in names} == {name: indexes.get(name) for name in names}


def reported(handle: Handle, seconds: float = 0.3) -> list[events.Event]:
    """Return the events of some time that may concern us."""
    result = []
    deadline = time.monotonic() + seconds
    while True:
        over = time.monotonic() >= deadline  # before the last attempt
        try:
            result += events.parse(handle.events.recv(1 << 16), own_links=None)
        except BlockingIOError:
            if over:
                return result
            time.sleep(0.02)


def settle(handle: Handle) -> None:
    """Wait for the end of the events of making the namespace; those of carriers come later."""
    while reported(handle, 0.7):
        pass


def test_carrier_of_the_tun_device_is_not_reported_but_all_else_is(handle):
    def attach():
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"nat64", 0x1001))
        return fd

    settle(handle)
    fd = namespaces.inside(handle.name, attach)
    os.close(fd)
    assert reported(handle, 1.2) == []
    for change in (["mtu", "1300"], ["mtu", "1500"], ["down"]):
        run("ip", "link", "set", "nat64", *change, netns=handle.name)
        assert bool(reported(handle)) == (change != ["mtu", "1500"]), change
    run("ip", "link", "del", "nat64", netns=handle.name)
    assert reported(handle)


@pytest.mark.parametrize("command", [
    "ip -6 rule add from 2001:db8::/32 table 7", "ip rule add iif one table 7",
    "ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev one", "ip addr add 2001:db8::7/64 dev one nodad",
    "ip route add 2001:db8:7::/64 dev one proto 164", "ip link set one mtu 1400", "ip link set one down",
    "ip link set one alias another", "ip link set one address 02:00:00:00:00:09", "ip link del one",
    "sysctl -q net.ipv6.conf.all.forwarding=1", "sysctl -q net.ipv4.conf.all.rp_filter=2"])
def test_each_kind_of_change_is_reported(handle, command):
    reported(handle, 0.2)
    run(*command.split(), netns=handle.name)
    assert reported(handle)


def test_what_others_do_with_routes_of_their_own_is_not_reported(handle):
    settle(handle)
    run("ip", "route", "add", "10.77.0.0/16", "dev", "one", netns=handle.name)
    run("ip", "-6", "route", "add", "2001:db8:77::/64", "dev", "one", netns=handle.name)
    assert reported(handle) == []


def test_a_dump_that_ends_with_an_error_is_none(handle):
    """The kernel says so in the dump's last message."""
    missing = struct.pack("=8BI", socket.AF_INET, *[0] * 8) + rtnetlink.attribute(15, struct.pack("=I", 4321))
    with pytest.raises(rtnetlink.Refusal) as caught:
        list(handle.bulk.dump(26, missing))
    assert caught.value.code == errno.ENOENT
