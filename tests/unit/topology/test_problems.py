# SPDX-License-Identifier: Apache-2.0
"""Every fault of a topology document is reported as ``file:line: path: reason``, and nothing else is.

What is faulty is out, with what needs it, and nothing else.
"""

from __future__ import annotations

import pytest

from fip64agent.exceptions import TopologyError
from fip64agent.topology.file import problems
from fip64agent.topology.file.loader import parse, parse_faulty
from fip64agent.topology.model import KINDS

GOOD = """\
networks:
- id: ext
  router:external: true
- id: other-ext
  router:external: true
- id: net
subnets:
- {id: ext6, network_id: ext, cidr: '2001:db8:f::/64', gateway_ip: '2001:db8:f::1'}
- {id: ext4, network_id: ext, cidr: 203.0.113.0/24}
- id: sub
  network_id: net
  cidr: 10.0.0.0/24
  ip_version: 4
  gateway_ip: 10.0.0.1
  host_routes:
  - {destination: 10.9.0.0/16, nexthop: 10.0.0.9}
routers:
- id: r
  nat64_pool: 100.65.0.0/24
  routes:
  - destination: 2001:db8:9::/48
    nexthop: 2001:db8:f::9
ports:
- id: r-if
  network_id: net
  mac_address: fa:16:3e:00:00:01
  device_owner: network:router_interface
  device_id: r
  fixed_ips:
  - subnet_id: sub
    ip_address: 10.0.0.1
- id: vm
  network_id: net
  mac_address: fa:16:3e:00:00:02
  fixed_ips:
  - subnet_id: sub
    ip_address: 10.0.0.5
- id: vm2
  network_id: net
  mac_address: fa:16:3e:00:00:03
  fixed_ips:
  - {subnet_id: sub, ip_address: 10.0.0.6}
  - {subnet_id: sub, ip_address: 10.0.0.7}
floatingips:
- id: fip
  floating_network_id: ext
  floating_ip_address: 2001:db8:f::10
  port_id: vm
- id: fip2
  floating_network_id: ext
  floating_ip_address: 2001:db8:f::11
  port_id: vm2
  fixed_ip_address: 10.0.0.7
"""

VM_MAC = "  mac_address: fa:16:3e:00:00:02\n"
VM_IP = "    ip_address: 10.0.0.5\n"
FIP_ADDRESS = "  floating_ip_address: 2001:db8:f::10\n"
FIP_PORT = "  port_id: vm\n"
FIP2_FIXED = "  fixed_ip_address: 10.0.0.7\n"
POOL = "  nat64_pool: 100.65.0.0/24\n"
IF2 = (
    "- id: r2-if\n  network_id: net\n  mac_address: fa:16:3e:00:00:0a\n"
    "  device_owner: network:router_interface\n  device_id: r2\n"
    "  fixed_ips: [{subnet_id: sub, ip_address: 10.0.0.2}]\n"
)


def found(text: str | bytes) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        parse(text, "t.yaml")
    return [str(problem) for problem in caught.value.problems]


def out(text: str) -> set[str]:
    """Return what is out of force of a text that can be read: "<kind> <id>" of each."""
    topology, _ = parse_faulty(text, "t.yaml")
    return {" ".join(key) for key in topology.faults if key[1] not in getattr(topology, key[0])}


def only_what_is_faulty_is_out(text: str, names: set[str]) -> None:
    """Check what is in force of a changed GOOD of which the reports name these: `ports[1]`, and so on."""
    good = parse(GOOD, "t.yaml")
    topology, _ = parse_faulty(text, "t.yaml")
    at_fault = {key for key, fault in topology.faults.items() if fault.findings}
    assert {key[0] for key in at_fault} <= {name.partition("[")[0] for name in names}
    assert len(at_fault) <= len(names)
    for key in topology.faults:
        while (needs := topology.faults[key].needs) is not None:
            key = needs
        assert key in at_fault
    for kind in KINDS:
        for item_id in getattr(good, kind):
            if f"id: {item_id}\n" in text and (kind, item_id) not in topology.faults:
                assert item_id in getattr(topology, kind)


def with_(*changes: tuple[str, str], text: str = GOOD) -> str:
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_the_good_one_is_good():
    topology = parse(GOOD, "t.yaml")
    assert topology.floatingips["fip"].router_id == "r"
    assert str(topology.floatingips["fip"].fixed_ip_address) == "10.0.0.5"
    assert topology.floatingips["fip2"].router_id == "r"


# Each: what to replace, by what, the text of the line that must be named, path, reason.
ONE_FAULT = {
    # Types and values
    "unknown key": (
        "- id: net\n",
        "- id: net\n  mut: 1400\n",
        "mut: 1400",
        "networks[2].mut",
        "is unknown; did you mean mtu?",
    ),
    "unknown key of people's output": (
        FIP_PORT,
        FIP_PORT + "  Port ID: vm\n",
        "Port ID",
        "floatingips[0].'Port ID'",
        "is unknown; did you mean port_id?",
    ),
    "unknown key far from all": (
        "- id: net\n",
        "- id: net\n  zzzzzz: 1\n",
        "zzzzzz",
        "networks[2].zzzzzz",
        "is unknown",
    ),
    "unknown inner key": (
        "  - subnet_id: sub\n    ip_address: 10.0.0.5\n",
        "  - subnet_id: sub\n    ip_adress: 10.0.0.5\n    ip_address: 10.0.0.5\n",
        "ip_adress",
        "ports[1].fixed_ips[0].ip_adress",
        "is unknown; did you mean ip_address?",
    ),
    "unknown section": (
        "routers:\n",
        "rooters: []\nrouters:\n",
        "rooters",
        "rooters",
        "is unknown; did you mean routers?",
    ),
    "bool": (
        "  router:external: true\n- id: net\n",
        "  router:external: yes\n- id: net\n",
        "external: yes",
        "networks[1].router:external",
        "must be true or false, is 'yes'",
    ),
    "mtu as text": (
        "- id: net\n",
        "- id: net\n  mtu: '1500'\n",
        "'1500'",
        "networks[2].mtu",
        "must be a whole number, is '1500'",
    ),
    "mtu too small": (
        "- id: net\n",
        "- id: net\n  mtu: 67\n",
        "67",
        "networks[2].mtu",
        "must be between 68 and 65535, is 67",
    ),
    "number as name": (
        "- id: net\n",
        "- id: net\n  name: 12\n",
        "name: 12",
        "networks[2].name",
        "must be a string, is 12; put it into quotes",
    ),
    "ignored attribute of the wrong type": (
        "- id: net\n",
        "- id: net\n  admin_state_up: 3\n",
        "admin",
        "networks[2].admin_state_up",
        "must be true or false, is 3",
    ),
    "ignored list of the wrong type": (
        "- id: net\n",
        "- id: net\n  tags: a\n",
        "tags",
        "networks[2].tags",
        "must be a list of strings, is 'a'",
    ),
    "id with a slash": (
        "- id: fip2\n",
        "- id: f/2\n",
        "f/2",
        "floatingips[1].id",
        "'f/2' is not an id: 1 to 48 letters",
    ),
    "id too long": (
        "- id: fip2\n",
        f"- id: {'x' * 49}\n",
        "xxx",
        "floatingips[1].id",
        "is not an id: 1 to 48",
    ),
    "id of digits": (
        "- id: fip2\n",
        "- id: 123\n",
        "123",
        "floatingips[1].id",
        "must be an id, is 123; put it into quotes",
    ),
    "missing": (VM_MAC, "", "- id: vm\n", "ports[1].mac_address", "is required"),
    "required null": (
        VM_MAC,
        "  mac_address: ~\n",
        "~",
        "ports[1].mac_address",
        "must be a MAC address, is null",
    ),
    "MAC": (
        VM_MAC,
        "  mac_address: fa:16:3e:00:02\n",
        "3e:00:02",
        "ports[1].mac_address",
        "'fa:16:3e:00:02' is not a MAC address like",
    ),
    "group MAC": (
        VM_MAC,
        "  mac_address: 01:00:5e:00:00:02\n",
        "01:00:5e",
        "ports[1].mac_address",
        "is a group address",
    ),
    "zero MAC": (
        VM_MAC,
        "  mac_address: 00:00:00:00:00:00\n",
        "00:00:00",
        "ports[1].mac_address",
        "must not be all zeros",
    ),
    "cidr": (
        "  cidr: 10.0.0.0/24\n",
        "  cidr: 10.0.0.0\n",
        "cidr: 10",
        "subnets[2].cidr",
        "'10.0.0.0' is not a prefix in CIDR form",
    ),
    "cidr with host bits": (
        "  cidr: 10.0.0.0/24\n",
        "  cidr: 10.0.0.1/24\n",
        "cidr: 10",
        "subnets[2].cidr",
        "'10.0.0.1/24' has host bits set; the prefix is 10.0.0.0/24",
    ),
    "ip_version": (
        "  ip_version: 4\n",
        "  ip_version: 6\n",
        "version",
        "subnets[2].ip_version",
        "is 6, but cidr 10.0.0.0/24 is IPv4",
    ),
    "ip_version 5": (
        "  ip_version: 4\n",
        "  ip_version: 5\n",
        "version",
        "subnets[2].ip_version",
        "must be 4 or 6, is 5",
    ),
    "address": (
        VM_IP,
        "    ip_address: 10.0.0.500\n",
        "500",
        "ports[1].fixed_ips[0].ip_address",
        "'10.0.0.500' is not an IP address",
    ),
    "address with a zone": (
        FIP_ADDRESS,
        "  floating_ip_address: 2001:db8:f::10%eth0\n",
        "eth0",
        "floatingips[0].floating_ip_address",
        "is not an IPv6 address",
    ),
    "fixed_ips no list": (
        "  fixed_ips:\n  - subnet_id: sub\n    ip_address: 10.0.0.5\n",
        "  fixed_ips: 10.0.0.5\n",
        "fixed_ips: 10",
        "ports[1].fixed_ips",
        "must be a list, is '10.0.0.5'",
    ),
    "section no list": (
        GOOD[GOOD.index("floatingips:") :],
        "floatingips: {a: 1}\n",
        "floatingips",
        "floatingips",
        "must be a list, is a mapping",
    ),
    "item no mapping": (
        "- id: net\n",
        "- id: net\n- text\n",
        "- text",
        "networks[3]",
        "must be a mapping, is 'text'",
    ),
    # IPv4 where IPv6 belongs, and the other way round
    "IPv4 floating": (
        FIP_ADDRESS,
        "  floating_ip_address: 203.0.113.10\n",
        "113.10",
        "floatingips[0].floating_ip_address",
        "must be IPv6, '203.0.113.10' is an IPv4 address",
    ),
    "IPv6 fixed_ip_address": (
        FIP2_FIXED,
        "  fixed_ip_address: 2001:db8::1\n",
        "db8::1",
        "floatingips[1].fixed_ip_address",
        "must be IPv4, '2001:db8::1' is an IPv6 address",
    ),
    "IPv6 pool": (POOL, "  nat64_pool: 2001:db8::/96\n", "pool", "routers[0].nat64_pool", "must be IPv4"),
    "IPv6 on an IPv4 subnet": (
        "ip_address: 10.0.0.6}",
        "ip_address: '2001:db8::5'}",
        "db8::5",
        "ports[2].fixed_ips[0].ip_address",
        "must be IPv4, like subnet sub; 2001:db8::5 is IPv6",
    ),
    "IPv6 gateway of IPv4": (
        "  gateway_ip: 10.0.0.1\n",
        "  gateway_ip: fe80::1\n",
        "fe80",
        "subnets[2].gateway_ip",
        "must be IPv4, like cidr; fe80::1 is IPv6",
    ),
    "IPv6 route of IPv4": (
        "destination: 10.9.0.0/16",
        "destination: '2001:db8::/64'",
        "nexthop: 10",
        "subnets[2].host_routes[0].destination",
        "must be IPv4, 2001:db8::/64 is IPv6",
    ),
    "next hop of another version": (
        "    nexthop: 2001:db8:f::9\n",
        "    nexthop: 10.0.0.9\n",
        "    nexthop: 10.0",
        "routers[0].routes[0].nexthop",
        "must be IPv6, like the destination; 10.0.0.9 is IPv4",
    ),
    # Floating addresses nobody can reach
    "multicast": (
        FIP_ADDRESS,
        "  floating_ip_address: ff02::1\n",
        "ff02",
        "floatingips[0].floating_ip_address",
        "ff02::1 is multicast, which cannot be a floating IP address",
    ),
    "unspecified": (
        FIP_ADDRESS,
        "  floating_ip_address: '::'\n",
        "'::'",
        "floatingips[0].floating_ip_address",
        ":: is the unspecified address",
    ),
    "link-local": (
        FIP_ADDRESS,
        "  floating_ip_address: fe80::10\n",
        "fe80",
        "floatingips[0].floating_ip_address",
        "fe80::10 is link-local",
    ),
    "loopback": (
        FIP_ADDRESS,
        "  floating_ip_address: ::1\n",
        "::1\n",
        "floatingips[0].floating_ip_address",
        "::1 is the loopback address",
    ),
    "IPv4-mapped": (
        FIP_ADDRESS,
        "  floating_ip_address: ::ffff:1.2.3.4\n",
        "::ffff",
        "floatingips[0].floating_ip_address",
        "is IPv4-mapped",
    ),
    "outside": (
        FIP_ADDRESS,
        "  floating_ip_address: 2001:db8:e::10\n",
        "db8:e",
        "floatingips[0].floating_ip_address",
        "2001:db8:e::10 is not in 2001:db8:f::/64 of network ext",
    ),
    "no IPv6 subnet": (
        "  floating_network_id: ext\n" + FIP_ADDRESS,
        "  floating_network_id: other-ext\n" + FIP_ADDRESS,
        "::10\n",
        "floatingips[0].floating_ip_address",
        "there is no IPv6 subnet in network other-ext",
    ),
    "the gateway's": (
        FIP_ADDRESS,
        "  floating_ip_address: 2001:db8:f::1\n",
        "f::1\n",
        "floatingips[0].floating_ip_address",
        "2001:db8:f::1 is the gateway_ip of subnet ext6",
    ),
    "not external": (
        "- id: ext\n  router:external: true\n",
        "- id: ext\n  router:external: false\n",
        None,
        "floatingips[0].floating_network_id",
        "network ext is not external",
    ),
    # Duplicates
    "duplicate id": (
        "- id: vm2\n",
        "- id: vm\n  network_id: net\n  mac_address: fa:16:3e:00:00:04\n- id: vm2\n",
        "- id: vm\n  network_id: net\n  mac_address: fa:16:3e:00:00:04",
        "ports[2].id",
        "'vm' is already the id of ports[1]",
    ),
    "duplicate key": (
        VM_MAC,
        VM_MAC + "  network_id: net\n",
        VM_MAC + "  network_id",
        "ports[1].network_id",
        "is there twice in this mapping",
    ),
    "duplicate floating address": (
        "  floating_ip_address: 2001:db8:f::11\n",
        "  floating_ip_address: 2001:DB8:F:0::10\n",
        "DB8",
        "floatingips[1].floating_ip_address",
        "2001:db8:f::10 is already the address of floating IP fip",
    ),
    "duplicate fixed IP": (
        VM_IP,
        "    ip_address: 10.0.0.1\n",
        VM_MAC,
        "ports[1].fixed_ips[0].ip_address",
        "10.0.0.1 is already an address of port r-if in the same subnet",
    ),
    "duplicate MAC": (
        VM_MAC,
        "  mac_address: FA:16:3E:00:00:01\n",
        "FA:16",
        "ports[1].mac_address",
        "fa:16:3e:00:00:01 is already the MAC address of port r-if in the same network",
    ),
    "a port's address": (
        "floatingips:\n",
        "- id: up\n  network_id: ext\n  mac_address: fa:16:3e:00:00:09\n"
        "  fixed_ips: [{subnet_id: ext6, ip_address: '2001:db8:f::10'}]\nfloatingips:\n",
        FIP_ADDRESS,
        "floatingips[0].floating_ip_address",
        "2001:db8:f::10 is already an address of port up",
    ),
    "two on one target": (
        "  port_id: vm2\n  fixed_ip_address: 10.0.0.7\n",
        "  port_id: vm\n",
        None,
        "floatingips[1].fixed_ip_address",
        "10.0.0.5 behind router r already has floating IP fip",
    ),
    # Dangling references
    "subnet's network": (
        "- {id: ext4, network_id: ext,",
        "- {id: ext4, network_id: nix,",
        "nix",
        "subnets[1].network_id",
        "no network has the id 'nix'",
    ),
    "port's network": (
        "- id: vm2\n  network_id: net\n  mac_address: fa:16:3e:00:00:03\n  fixed_ips:\n"
        "  - {subnet_id: sub, ip_address: 10.0.0.6}\n  - {subnet_id: sub, ip_address: 10.0.0.7}\n"
        + GOOD[GOOD.index("floatingips:") :],
        "- id: vm2\n  network_id: nix\n  mac_address: fa:16:3e:00:00:03\n",
        "nix",
        "ports[2].network_id",
        "no network has the id 'nix'",
    ),
    "floating network": (
        "  floating_network_id: ext\n" + FIP_ADDRESS,
        "  floating_network_id: nix\n" + FIP_ADDRESS,
        "nix",
        "floatingips[0].floating_network_id",
        "no network has the id 'nix'",
    ),
    "floating IP's port": (
        FIP_PORT,
        "  port_id: nix\n",
        "nix",
        "floatingips[0].port_id",
        "no port has the id 'nix'",
    ),
    "floating IP's router": (
        FIP_PORT,
        FIP_PORT + "  router_id: nix\n",
        "nix",
        "floatingips[0].router_id",
        "no router has the id 'nix'",
    ),
    # Where addresses are
    "fixed IP outside": (
        VM_IP,
        "    ip_address: 10.0.1.5\n",
        "10.0.1.5",
        "ports[1].fixed_ips[0].ip_address",
        "10.0.1.5 is not in 10.0.0.0/24 of subnet sub",
    ),
    "subnet of another network": (
        "  fixed_ips:\n  - subnet_id: sub\n    ip_address: 10.0.0.5\n",
        "  fixed_ips:\n  - {subnet_id: sub, ip_address: 10.0.0.5}\n"
        "  - {subnet_id: ext6, ip_address: '2001:db8:f::99'}\n",
        "f::99",
        "ports[1].fixed_ips[1].subnet_id",
        "subnet ext6 is of network ext, the port is on network net",
    ),
    "gateway outside": (
        "  gateway_ip: 10.0.0.1\n",
        "  gateway_ip: 10.0.1.1\n",
        "10.0.1.1",
        "subnets[2].gateway_ip",
        "10.0.1.1 is not in 10.0.0.0/24",
    ),
    "overlap in a network": (
        "- {id: ext4, network_id: ext, cidr: 203.0.113.0/24}",
        "- {id: ext7, network_id: ext, cidr: '2001:db8:f::/80'}",
        "ext7",
        "subnets[1].cidr",
        "2001:db8:f::/80 overlaps 2001:db8:f::/64 of subnet ext6 in the same network",
    ),
    # Pools
    "pool overlaps": (
        POOL,
        "  nat64_pool: 10.0.0.128/25\n",
        "pool",
        "routers[0].nat64_pool",
        "10.0.0.128/25 overlaps 10.0.0.0/24 of subnet sub, which the router has a port on",
    ),
    "pool too small": (
        POOL,
        "  nat64_pool: 100.64.0.0/31\n",
        "pool",
        "routers[0].nat64_pool",
        "100.64.0.0/31 is too small: a pool is a /30 or larger",
    ),
    "pool with host bits": (
        POOL,
        "  nat64_pool: 100.64.0.9/24\n",
        "pool",
        "routers[0].nat64_pool",
        "has host bits set",
    ),
    # Static client bindings
    "binding outside the pool": (
        POOL,
        POOL + "  nat64_bindings: [{ipv6_address: '2001:db8::1', pool_address: 100.66.0.1}]\n",
        "nat64_bindings",
        "routers[0].nat64_bindings[0].pool_address",
        "100.66.0.1 is not in nat64_pool 100.65.0.0/24",
    ),
    "binding of the pool's last address": (
        POOL,
        POOL + "  nat64_bindings: [{ipv6_address: '2001:db8::1', pool_address: 100.65.0.255}]\n",
        "nat64_bindings",
        "routers[0].nat64_bindings[0].pool_address",
        "100.65.0.255 is the first or last address of nat64_pool",
    ),
    "binding of a multicast client": (
        POOL,
        POOL + "  nat64_bindings: [{ipv6_address: 'ff02::1', pool_address: 100.65.0.1}]\n",
        "nat64_bindings",
        "routers[0].nat64_bindings[0].ipv6_address",
        "ff02::1 is no address that a client elsewhere can have",
    ),
    "binding of an IPv4 client": (
        POOL,
        POOL + "  nat64_bindings: [{ipv6_address: 192.0.2.1, pool_address: 100.65.0.1}]\n",
        "nat64_bindings",
        "routers[0].nat64_bindings[0].ipv6_address",
        "must be IPv6",
    ),
    "binding without pool address": (
        POOL,
        POOL + "  nat64_bindings: [{ipv6_address: '2001:db8::1'}]\n",
        "nat64_bindings",
        "routers[0].nat64_bindings[0].pool_address",
        "is required",
    ),
    "two bindings of one client": (
        POOL,
        POOL + "  nat64_bindings: [{ipv6_address: '2001:db8::1', pool_address: 100.65.0.1},\n"
        "   {ipv6_address: '2001:db8::1', pool_address: 100.65.0.2}]\n",
        "   {ipv6_address: '2001:",
        "routers[0].nat64_bindings[1].ipv6_address",
        "2001:db8::1 already has a pool address by nat64_bindings[0]",
    ),
    "two bindings of one pool address": (
        POOL,
        POOL + "  nat64_bindings: [{ipv6_address: '2001:db8::1', pool_address: 100.65.0.1},\n"
        "   {ipv6_address: '2001:db8::2', pool_address: 100.65.0.1}]\n",
        "   {ipv6_address: '2001:",
        "routers[0].nat64_bindings[1].pool_address",
        "100.65.0.1 is already the pool address of client 2001:db8::1",
    ),
    "pool of multicast": (
        POOL,
        "  nat64_pool: 224.0.0.0/8\n",
        "pool",
        "routers[0].nat64_pool",
        "overlaps 224.0.0.0/4",
    ),
    # Targets of floating IPs
    "fixed_ip_address of nobody": (
        FIP2_FIXED,
        "  fixed_ip_address: 10.0.0.5\n",
        FIP2_FIXED[:-2] + "5",
        "floatingips[1].fixed_ip_address",
        "10.0.0.5 is not an address of port vm2; it has 10.0.0.6, 10.0.0.7",
    ),
    "several addresses": (
        FIP2_FIXED,
        "",
        None,
        "floatingips[1].fixed_ip_address",
        "is required: port vm2 has several IPv4 addresses, 10.0.0.6, 10.0.0.7",
    ),
    "no IPv4 address": (
        "  fixed_ips:\n  - subnet_id: sub\n    ip_address: 10.0.0.5\n",
        "",
        FIP_PORT,
        "floatingips[0].port_id",
        "port vm has no IPv4 address",
    ),
    "a router's port": (
        FIP_PORT,
        "  port_id: r-if\n",
        "port_id: r-if",
        "floatingips[0].port_id",
        "port r-if is a router's; a floating IP leads to a VM's port",
    ),
    "fixed_ip_address alone": (
        FIP_PORT,
        "  fixed_ip_address: 10.0.0.5\n",
        "fixed_ip_address: 10.0.0.5",
        "floatingips[0].fixed_ip_address",
        "needs a port_id",
    ),
    "router_id alone": (
        FIP_PORT,
        "  router_id: r\n",
        "router_id: r",
        "floatingips[0].router_id",
        "needs a port_id",
    ),
}


@pytest.mark.parametrize("name", ONE_FAULT)
def test_one_fault(name):
    old, new, needle, path, reason = ONE_FAULT[name]
    text = with_((old, new))
    reports = found(text)
    if name not in ("section no list", "unknown section"):
        only_what_is_faulty_is_out(text, {report.split(": ")[1].partition(".")[0] for report in reports})
    if name == "not external":
        assert len(reports) == 2
    else:
        assert len(reports) == 1, reports
    if needle is None:  # missing in the item: the item's line
        line = int(reports[0].split(":")[1])
        assert text.splitlines()[line - 1].startswith(("- id: fip2", "- id: fip", "  floating_network_id"))
    elif name == "duplicate fixed IP":
        line = text[: text.index(VM_MAC)].count("\n") + 4
    elif name == "duplicate key":
        line = text[: text.index(VM_MAC)].count("\n") + 2
    else:
        line = text[: text.index(needle)].count("\n") + 1
    assert reports[0].startswith(f"t.yaml:{line}: {path}: "), reports
    assert reason in reports[0]


def lines_of(text: str, needle: str) -> int:
    return text[: text.index(needle)].count("\n") + 1


def test_dangling_subnet_of_a_fixed_ip():
    text = with_(
        ("  - {subnet_id: sub, ip_address: 10.0.0.6}\n", "  - {subnet_id: nix, ip_address: 10.0.0.6}\n")
    )
    assert found(text) == [
        f"t.yaml:{lines_of(text, 'nix')}: ports[2].fixed_ips[0].subnet_id: no subnet has the id 'nix'"
    ]


def test_router_port_of_no_router():
    text = with_(
        (
            IF2 := "floatingips:\n",
            "- id: x-if\n  network_id: net\n  mac_address: fa:16:3e:00:00:0b\n"
            "  device_owner: network:router_gateway\n  device_id: nix\nfloatingips:\n",
        )
    )
    assert IF2 in text
    assert found(text) == [f"t.yaml:{lines_of(text, 'nix')}: ports[3].device_id: no router has the id 'nix'"]


def test_router_port_without_device_id():
    text = with_(("  device_id: r\n", ""))
    line = lines_of(text, "- id: r-if")
    assert (
        found(text)[0]
        == f"t.yaml:{line}: ports[0].device_id: is required: the id of the router whose port it is"
    )


def test_overlapping_subnets_on_one_router():
    text = with_(
        ("routers:\n", "- {id: sub2, network_id: other-ext, cidr: 10.0.0.0/16}\nrouters:\n"),
        (
            "floatingips:\n",
            "- id: r-gw\n  network_id: other-ext\n  mac_address: fa:16:3e:00:00:0c\n"
            "  device_owner: network:router_gateway\n  device_id: r\n"
            "  fixed_ips: [{subnet_id: sub2, ip_address: 10.0.9.9}]\nfloatingips:\n",
        ),
    )
    line = lines_of(text, "  - subnet_id: sub\n") - 1
    assert found(text) == [
        f"t.yaml:{line}: ports[0].fixed_ips: router r has a port on subnet sub (10.0.0.0/24) and on subnet "
        "sub2 (10.0.0.0/16), which overlap"
    ]


def test_two_routers_on_the_subnet():
    text = with_(("routers:\n", "routers:\n- id: r2\n"), ("floatingips:\n", IF2 + "floatingips:\n"))
    reports = found(text)
    assert reports == [
        f"t.yaml:{lines_of(text, f'- id: fip{number}')}: floatingips[{index}].router_id: is required: "
        "several routers have an interface on subnet sub: r, r2"
        for index, number in enumerate(("", "2"))
    ]
    chosen = parse(
        with_(
            (FIP_PORT, FIP_PORT + "  router_id: r2\n"),
            (FIP2_FIXED, FIP2_FIXED + "  router_id: r\n"),
            text=text,
        ),
        "t.yaml",
    )
    assert chosen.floatingips["fip"].router_id == "r2"


def test_no_router_on_the_subnet():
    text = with_(("  device_owner: network:router_interface\n", "  device_owner: network:router_gateway\n"))
    reports = found(text)
    assert len(reports) == 2
    assert reports[0].endswith(
        "floatingips[0].router_id: cannot be determined: no router has an interface on "
        "subnet sub, where 10.0.0.5 is"
    )


def test_given_router_without_interface_there():
    text = with_(("routers:\n", "routers:\n- id: r2\n"), (FIP_PORT, FIP_PORT + "  router_id: r2\n"))
    assert found(text) == [
        f"t.yaml:{lines_of(text, 'router_id: r2')}: floatingips[0].router_id: router r2 has no "
        "interface on subnet sub, where 10.0.0.5 is"
    ]


def test_all_faults_at_once_in_order():
    text = with_(
        ("- id: net\n", "- id: net\n  mtu: big\n"),
        (POOL, "  nat64_pool: 10.0.0.0/31\n"),
        (VM_MAC, "  mac_address: x\n"),
        (FIP_ADDRESS, "  floating_ip_address: ff02::1\n"),
        ("  port_id: vm2\n", "  port_id: nix\n"),
    )
    paths = [report.split(": ")[1] for report in found(text)]
    assert paths == [
        "networks[2].mtu",
        "routers[0].nat64_pool",
        "ports[1].mac_address",
        "floatingips[0].floating_ip_address",
        "floatingips[1].port_id",
    ]


def test_nobody_is_blamed_for_referring_to_a_faulty_resource():
    for section, old in (
        ("networks", "- id: ext\n"),
        ("routers", "- id: r\n"),
        ("ports", "- id: r-if\n"),
        ("subnets", "- id: sub\n"),
    ):
        text = with_((old, old + "  wrong: 1\n"))
        assert [report.split(": ")[1] for report in found(text)] == [f"{section}[{text_index(old)}].wrong"]
        assert "floatingips fip" in out(text)


def text_index(old: str) -> int:
    return {"- id: ext\n": 0, "- id: r\n": 0, "- id: r-if\n": 0, "- id: sub\n": 2}[old]


def test_more_problems_than_are_printed(monkeypatch):
    text = "networks:\n" + "- {}\n" * (problems.MAX_PROBLEMS + 7)
    reports = found(text)
    assert len(reports) == problems.MAX_PROBLEMS + 1
    assert reports[0] == "t.yaml:2: networks[0].id: is required"
    assert reports[999] == "t.yaml:1001: networks[999].id: is required"
    assert reports[-1] == "t.yaml: and 7 more problems"
    assert found("networks:\n" + "- {}\n" * 50_000)[-1] == "t.yaml: and at least 9000 more problems"


WHAT_IS_OUT = {
    "missing": {"ports vm", "floatingips fip"},
    "ip_version": {"subnets sub", "ports r-if", "ports vm", "ports vm2", "floatingips fip",
                   "floatingips fip2"},
    "duplicate floating address": {"floatingips fip2"},
    "duplicate MAC": {"ports vm", "floatingips fip"},
    "pool overlaps": {"floatingips fip", "floatingips fip2"},
    "binding outside the pool": set(),
    "unknown key": {"networks net", "subnets sub", "ports r-if", "ports vm", "ports vm2", "floatingips fip",
                    "floatingips fip2"},
    "item no mapping": set(),
    "fixed IP outside": {"ports vm", "floatingips fip"},
}


@pytest.mark.parametrize("name", WHAT_IS_OUT)
def test_what_is_out(name):
    assert out(with_(ONE_FAULT[name][:2])) == WHAT_IS_OUT[name]


@pytest.mark.parametrize("section", ["floatingip", "floating_ips", "FLOATINGIPS", "networks2"])
def test_an_unknown_section_refuses_the_file(section):
    """It may be a section of ours, misspelled: nobody takes its resources away."""
    with pytest.raises(TopologyError) as caught:
        parse_faulty(GOOD.replace("floatingips:", f"{section}:"), "t.yaml")
    assert caught.value.refused
    [report] = map(str, caught.value.problems)
    assert report.startswith(f"t.yaml:{lines_of(GOOD, 'floatingips:')}: {section}: is unknown")


def test_a_section_that_is_there_twice_refuses_the_file():
    with pytest.raises(TopologyError) as caught:
        parse_faulty(GOOD + "floatingips: []\n", "t.yaml")
    assert caught.value.refused
    assert [str(problem) for problem in caught.value.problems] == [
        f"t.yaml:{len(GOOD.splitlines()) + 1}: floatingips: is there twice, first in line "
        f"{lines_of(GOOD, 'floatingips:')}"]


def test_what_the_translator_cannot_do_is_told_of_the_topology():
    """Faults that only the plan knew of."""
    text = with_((VM_IP, "    ip_address: 10.0.0.255\n"))
    assert found(text) == [
        f"t.yaml:{lines_of(text, FIP_PORT)}: floatingips[0].port_id: address 10.0.0.255 of port vm is the "
        "broadcast address of its subnet sub (10.0.0.0/24), which is not translated"]
    text = with_(("cidr: '2001:db8:f::/64', gateway_ip: '2001:db8:f::1'", "cidr: '0:db8::/32'"),
                 (FIP_ADDRESS, "  floating_ip_address: 0:db8::10\n"))
    assert found(text)[0] == (
        f"t.yaml:{lines_of(text, '0:db8::10')}: floatingips[0].floating_ip_address: 0:db8::10 is a reserved "
        "address (::/8), which is not translated")


# The text itself


@pytest.mark.parametrize(
    "case",
    [
        ("", "t.yaml:1: is empty; a topology with nothing in it is written as {}"),
        ("# nothing\n", "t.yaml:1: is empty; a topology with nothing in it is written as {}"),
        ("---\n", "t.yaml:1: is empty; a topology with nothing in it is written as {}"),
        ("- a\n", f"t.yaml:1: must be a mapping with the keys {', '.join(KINDS)}"),
        ("\nhello\n", f"t.yaml:2: must be a mapping with the keys {', '.join(KINDS)}"),
        ("{}\n---\n{}\n", "t.yaml:2: has a second YAML document; only one is allowed"),
        ("{networks: [], networks: [{}]}\n", "t.yaml:1: networks: is there twice, first in line 1"),
        ("networks: []\nnetworks: []\n", "t.yaml:2: networks: is there twice, first in line 1"),
        (
            "networks:\n- {id: a, mut: 3}\nports: []\nnetworks:\n- id: b\n- {id: a, mut: 3}\n",
            "t.yaml:2: networks[0].mut: is unknown; did you mean mtu?",
            "t.yaml:4: networks: is there twice, first in line 1",
        ),
        (
            "networks:\n- id: a\n  mut: 3\nnetworks:\n- name: b\n  mut: 3\n  id: a\n",
            "t.yaml:3: networks[0].mut: is unknown; did you mean mtu?",
            "t.yaml:4: networks: is there twice, first in line 1",
        ),
        ("3: []\n", "t.yaml:1: key '3' must be a string"),
        ("? [a]\n: b\n", "t.yaml:1: a key must be a string"),
        ("networks:\n- {id: a, ? {x: y} : 1}\n", "t.yaml:2: networks[0]: a key must be a string"),
        (
            "networks:\n- id: !!python/name:os.system a\n",
            "t.yaml:2: networks[0].id: has the YAML tag 'tag:yaml.org,2002:python/name:os.system'; "
            "tags are not supported",
        ),
        (
            "networks:\n- !thing\n  id: a\n",
            "t.yaml:2: networks[0]: has the YAML tag '!thing'; tags are not supported",
        ),
        ("networks:\n- &a {id: a}\n- *a\n", "t.yaml:3: networks[1].id: 'a' is already the id of networks[0]"),
        (
            "networks:\n- {id: a, tags: &t [*t]}\n",
            "t.yaml:2: networks[0].tags[0]: is the alias *t, but no value before it has the anchor &t",
        ),
        (
            "networks:\n- {id: a, name: *nix}\n",
            "t.yaml:2: networks[0].name: is the alias *nix, but no value before it has the anchor &nix",
        ),
        (
            "networks:\n- {id: a, tags: &t [b, 3]}\n- id: b\n  tags: *t\n- {id: c}",
            "t.yaml:2: networks[0].tags: must be a list of strings",
            "t.yaml:4: networks[1].tags: must be a list of strings",
        ),
        ("networks: &n []\nports: *n\n", "t.yaml:2: ports: is the alias *n; the list must be written out"),
        (b"networks:\n- id: \xff\n", "t.yaml:2: is not UTF-8 text: byte 0xff at offset 16"),
        ("networks:\n- id: \udcff\n", "t.yaml:2: is not text: lone surrogate"),
        (b"\0\0\0\0", "t.yaml:1: is not valid YAML: control characters are not allowed"),
        (b"a: b\n\x7fELF\x02\x01", "t.yaml:2: is not valid YAML: control characters are not allowed"),
    ],
)
def test_text(case):
    text, *reports = case
    assert found(text) == reports


@pytest.mark.parametrize(
    "text, line",
    [
        ("networks:\n- id: a\n  name: 'open\n", 3),
        ("networks:\n- id: a\n   name: b\n", 3),
        ("a: b: c\n", 1),
        ("networks: [\n", 1),
        ("networks:\n- id: a\n\tname: b\n", 3),
        ("networks:\n- id: *nix\n", None),
    ],
)
def test_broken_yaml(text, line):
    reports = found(text)
    if line is None:
        assert reports == [
            "t.yaml:2: networks[0].id: is the alias *nix, but no value before it has the anchor &nix"
        ]
    else:
        assert reports[-1].startswith(f"t.yaml:{line}: is not valid YAML: ")


def test_faults_before_the_broken_line_are_reported_too():
    reports = found("networks:\n- id: a\n  mut: 3\n- id: b\nsubnets: ]\n")
    assert reports[0] == "t.yaml:3: networks[0].mut: is unknown; did you mean mtu?"
    assert reports[1].startswith("t.yaml:5: is not valid YAML: ")
    assert len(reports) == 2


@pytest.mark.parametrize(
    "text, reason",
    [
        (
            "networks:\n- id: x\n  segments:\n  - &a0 [lol]\n"
            + "".join(f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)),
            "has more than 100000 values in one resource",
        ),
        (
            "networks:\n- &b0 {id: x}\n"
            + "".join(f"- &b{n} {{<<: [*b{n - 1}, *b{n - 1}]}}\n" for n in range(1, 60)),
            "has more than 100000 values in one resource",
        ),
        (
            "networks:\n- {id: x, segments: &big ["
            + "a," * 50_000
            + "]}\n"
            + "".join(f"- {{id: x{n}, segments: *big}}\n" for n in range(10_000)),
            "aliases stand for more than 2000000 values",
        ),
        ("networks:\n- {id: x, tags: [" + "*x," * 50_000 + "]}\n", "no value before it has the anchor"),
    ],
)
@pytest.mark.timeout(60)
def test_billion_laughs(text, reason):
    assert any(reason in report for report in found(text))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "networks: " + "[" * 5000 + "]" * 5000,
        "networks: " + "{a: " * 5000,
        "networks:\n- tags: " + "[" * 5000,
        "\n".join(" " * n + "-" for n in range(500)),
        "networks:\n- id: a\n  x:\n" + "\n".join(" " * (n + 4) + "a:" for n in range(400)),
        "? " * 3000,
    ],
)
@pytest.mark.timeout(60)
def test_deep_nesting(text):
    assert found(text)


def test_huge_resource():
    assert found("networks:\n- tags: [" + "a," * 200_000 + "]\n") == [
        "t.yaml:2: networks[0]: has more than 100000 values in one resource"
    ]


def test_huge_number():
    text = f"networks:\n- id: a\n  mtu: {'9' * 10_000}\n"
    assert found(text)[0].startswith("t.yaml:3: networks[0].mtu: must be a whole number, is '9999")
    assert len(found(text)[0]) < 200
