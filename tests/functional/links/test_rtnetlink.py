# SPDX-License-Identifier: Apache-2.0
"""Routes set and read on a real kernel's netlink; events of a real TUN device."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network, ip_address
from socket import AF_INET, AF_INET6

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from fip64agent.links import netns as namespaces
from fip64agent.links import rtnetlink
from fip64agent.links.kernel import Door
from fip64agent.links.model import PROTOCOL
from lab.shell import run
from tests.conftest import require_root

UNICAST, BLACKHOLE = 1, 6


@pytest.fixture
def door() -> Iterator[Door]:
    """A namespace with the veth pair "one" and "two", and the TUN device "tun"."""
    require_root()
    name = f"f64r{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "-batch", "-", input="link add one type veth peer name two\nlink set one up\n"
            "link set two up\nlink set lo up\ntuntap add tun mode tun\nlink set tun up mtu 1400\n")
        door = Door(name)
        yield door
        door.close()
    finally:
        run("ip", "netns", "del", name)


def shown(door: Door, *argv: str) -> list[str]:
    return sorted(" ".join(line.split()) for line in run("ip", *argv, netns=door.name).stdout.splitlines())


def put(door, destination, link="one", via="fe80::2", kind=UNICAST, table=100):
    rtnetlink.replace_route(door.socket, table, IPv6Network(destination), PROTOCOL, kind,
                            door.index(link) if link else 0, ip_address(via) if via else None)


def test_routes_are_set_as_ip_shows_them(door):
    put(door, "2001:db8::1/128")
    put(door, "2001:db8:1::/64", via=None, table=1000)
    put(door, "::/0", table=254)
    put(door, "2001:db8:2::/64", link="", via=None, kind=BLACKHOLE)
    assert shown(door, "-6", "route", "show", "table", "100") == [
        "2001:db8::1 via fe80::2 dev one proto 164 metric 1024 onlink pref medium",
        "blackhole 2001:db8:2::/64 dev lo proto 164 metric 1024 pref medium"]
    assert shown(door, "-6", "route", "show", "table", "1000") == [
        "2001:db8:1::/64 dev one proto 164 metric 1024 pref medium"]
    assert "default via fe80::2 dev one proto 164 metric 1024 onlink pref medium" in shown(
        door, "-6", "route")


def test_a_route_is_replaced_not_doubled(door):
    put(door, "2001:db8::1/128")
    put(door, "2001:db8::1/128")
    put(door, "2001:db8::1/128", link="two", via="fe80::3")
    assert shown(door, "-6", "route", "show", "table", "100") == [
        "2001:db8::1 via fe80::3 dev two proto 164 metric 1024 onlink pref medium"]


def test_all_routes_are_read_and_only_those_of_the_protocol(door):
    lines = [f"-6 route add 2001:db8::{number:x} dev one table 100 proto 164" for number in range(1, 3001)]
    run("ip", "-n", door.name, "-batch", "-", input="\n".join(line.removeprefix("-6 ") for line in [
        *lines, "-6 route add 2001:db8:f::/64 dev one table 100",
        "-6 route add blackhole 2001:db8:e::/64 table 5000 proto 164"]))
    run("ip", "-n", door.name, "route", "add", "10.0.0.0/8", "dev", "two", "proto", "164")
    found = rtnetlink.routes(door.socket, AF_INET6, PROTOCOL)
    one = door.index("one")
    assert {row for row in found if row.kind == UNICAST} == {
        rtnetlink.RouteRow(100, IPv6Address(f"2001:db8::{number:x}").packed, 128, UNICAST, one, None)
        for number in range(1, 3001)}
    assert [(row.table, row.destination, row.length) for row in found if row.kind == BLACKHOLE] == [
        (5000, IPv6Network("2001:db8:e::/64").network_address.packed, 64)]
    assert rtnetlink.routes(door.socket, AF_INET, PROTOCOL) == [
        rtnetlink.RouteRow(254, bytes([10, 0, 0, 0]), 8, UNICAST, door.index("two"), None)]


def test_a_gateway_is_read_back(door):
    put(door, "2001:db8::1/128")
    assert [row.gateway for row in rtnetlink.routes(door.socket, AF_INET6, PROTOCOL)] == [
        IPv6Address("fe80::2").packed]


def test_what_the_kernel_refuses_is_raised_and_the_socket_goes_on(door):
    with pytest.raises(NetlinkError) as refusal:
        rtnetlink.replace_route(door.socket, 100, IPv6Network("2001:db8::1/128"), PROTOCOL, UNICAST, 4711)
    assert refusal.value.code == errno.ENODEV
    put(door, "2001:db8::1/128")
    assert len(rtnetlink.routes(door.socket, AF_INET6, PROTOCOL)) == 1


def test_indexes_of_links(door):
    indexes = {link["ifname"]: link["ifindex"]
               for link in json.loads(run("ip", "-json", "link", netns=door.name).stdout)}
    assert {name: door.index(name) for name in ("lo", "one", "two", "tun", "three")} == {
        name: indexes.get(name) for name in ("lo", "one", "two", "tun", "three")}
    assert door.index("three") is None


def events(door: Door, seconds: float = 0.5) -> list[bytes]:
    """What the kernel tells within some time."""
    result = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            result.append(door.events.recv(1 << 16))
        except BlockingIOError:
            time.sleep(0.02)
    return result


def test_carrier_of_a_tun_device_is_no_news_but_all_else_is(door):
    def attach():
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"tun", 0x1001))
        return fd

    fd = namespaces.inside(door.name, attach)  # the first time brings addresses too
    events(door, 1)
    os.close(fd)
    events(door, 1)
    fd = namespaces.inside(door.name, attach)
    told = events(door)
    os.close(fd)
    told += events(door)
    assert told
    assert all(rtnetlink.tells_only_carrier(event, "tun", 1400) for event in told)
    assert not any(rtnetlink.tells_only_carrier(event, "tun", 1500) for event in told)
    assert not any(rtnetlink.tells_only_carrier(event, "one", 1400) for event in told)
    for change in (["mtu", "1300"], ["down"]):
        run("ip", "link", "set", "tun", *change, netns=door.name)
        told = events(door)
        assert told
        assert not all(rtnetlink.tells_only_carrier(event, "tun", 1400) for event in told), change
    run("ip", "link", "del", "tun", netns=door.name)
    assert not all(rtnetlink.tells_only_carrier(event, "tun", 1400) for event in events(door))
