# SPDX-License-Identifier: Apache-2.0
"""What a topology says of IPv6 and of names: modes of subnets, address pairs of ports, DNS, DHCP options."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.topology import values
from fip64agent.topology.file.loader import parse, parse_faulty
from fip64agent.topology.model import IPV6_MODES, AddressPair, DhcpOption, Port

SUBNET = {"id": "s", "network_id": "n", "cidr": "2001:db8::/64"}
PORT = {"id": "p", "network_id": "n", "mac_address": "fa:16:3e:00:00:01"}


def text(subnet: dict | None = None, port: dict | None = None, network: dict | None = None) -> str:
    """Return a topology with these attributes of its network, subnet and port."""
    return yaml.safe_dump({"networks": [{"id": "n", **(network or {})}],
                           "subnets": [SUBNET | (subnet or {})], "ports": [PORT | (port or {})]})


def reasons(**items: dict) -> list[str]:
    _, problems = parse_faulty(text(**items), "t")
    return [f"{problem.path}: {problem.reason}" for problem in problems]


# Modes


@pytest.mark.parametrize("address_mode", [None, *IPV6_MODES])
@pytest.mark.parametrize("ra_mode", [None, *IPV6_MODES])
def test_each_combination_of_neutrons_table(ra_mode, address_mode):
    modes = {"ipv6_ra_mode": ra_mode, "ipv6_address_mode": address_mode}
    if None in (ra_mode, address_mode) or ra_mode == address_mode:
        subnet = parse(text(subnet=modes), "t").subnets["s"]
        assert (subnet.ipv6_ra_mode, subnet.ipv6_address_mode) == (ra_mode, address_mode)
    else:
        assert reasons(subnet=modes) == [
            f"subnets[0].ipv6_address_mode: is {address_mode}, but ipv6_ra_mode is {ra_mode}: when both are "
            "given, they must be the same"]


@pytest.mark.parametrize("name", ["ipv6_ra_mode", "ipv6_address_mode"])
@pytest.mark.parametrize("mode", IPV6_MODES)
def test_what_a_mode_demands(name, mode):
    wide = {"cidr": "2001:db8::/56", name: mode}
    if mode == "dhcpv6-stateful":
        assert reasons(subnet=wide) == []
    else:
        assert reasons(subnet=wide) == [
            f"subnets[0].cidr: must be a /64 with {name} {mode}, as hosts make the other 64 bits of their "
            "addresses; it is 2001:db8::/56"]
    assert reasons(subnet={"cidr": "10.0.0.0/24", name: mode}) == [
        f"subnets[0].{name}: is for IPv6 subnets only, cidr 10.0.0.0/24 is IPv4"]
    assert reasons(subnet={"enable_dhcp": False, name: mode}) == [
        f"subnets[0].{name}: cannot be given while enable_dhcp is false"]


def test_no_mode():
    assert reasons(subnet={"ipv6_ra_mode": "SLAAC "}) == [
        "subnets[0].ipv6_ra_mode: must be slaac, dhcpv6-stateful or dhcpv6-stateless, is 'SLAAC '"]
    subnet = parse(text(subnet={"cidr": "10.0.0.0/24", "enable_dhcp": False}), "t").subnets["s"]
    assert not subnet.enable_dhcp and subnet.ipv6_ra_mode is None
    assert parse(text(subnet={"enable_dhcp": None}), "t").subnets["s"].enable_dhcp


def test_resolvers_are_of_the_subnets_ip_version():
    servers = ["2001:db8::53", "2001:db8::35", "2001:db8::53"]
    assert parse(text(subnet={"dns_nameservers": servers}), "t").subnets["s"].dns_nameservers == (
        IPv6Address("2001:db8::53"), IPv6Address("2001:db8::35"))
    servers[1] = "10.0.0.53"
    assert reasons(subnet={"dns_nameservers": servers}) == [
        "subnets[0].dns_nameservers[1]: must be IPv6, like cidr; 10.0.0.53 is IPv4"]
    assert reasons(subnet={"dns_nameservers": "10.0.0.53"}) == [
        "subnets[0].dns_nameservers: must be a list, is '10.0.0.53'"]


# Ports


def test_address_pairs():
    pairs = [{"ip_address": "2001:db8::9"}, {"ip_address": "10.0.0.0/24", "mac_address": "00:00:5E:00:01:01"},
             {"ip_address": "::/0", "mac_address": None}]
    port = parse(text(port={"allowed_address_pairs": pairs, "port_security_enabled": False}), "t").ports["p"]
    assert port.allowed_address_pairs == (
        AddressPair(ip_network("2001:db8::9/128"), PORT["mac_address"]),
        AddressPair(ip_network("10.0.0.0/24"), "00:00:5e:00:01:01"),
        AddressPair(ip_network("::/0"), PORT["mac_address"]))
    assert not port.port_security_enabled


@pytest.mark.parametrize(("pair", "reason"), [
    ({"ip_address": "2001:db8::9/64"}, "ip_address: '2001:db8::9/64' has host bits set; the prefix is"),
    ({"ip_address": "fe80::1%eth0"}, "ip_address: 'fe80::1%eth0' is not an IP address"),
    ({"ip_address": 10}, "ip_address: must be an IP address or a prefix, is 10"),
    ({"mac_address": "fa:16:3e:00:00:02"}, "ip_address: is required"),
    ({"ip_address": "10.0.0.1", "mac_address": "01:00:5e:00:00:02"}, "mac_address: 01:00:5e:00:00:02 is a "),
    ({"ip_address": "10.0.0.1", "mac_adress": "x"}, "mac_adress: is unknown; did you mean mac_address?"),
])
def test_a_faulty_address_pair(pair, reason):
    [found] = reasons(port={"allowed_address_pairs": [{"ip_address": "10.0.0.1"}, pair]})
    assert found.startswith(f"ports[0].allowed_address_pairs[1].{reason}")


def test_dhcp_options():
    options = [{"opt_name": "tftp-server", "opt_value": "10.0.0.9"},
               {"opt_name": "24", "opt_value": "example.org", "ip_version": 6}]
    assert parse(text(port={"extra_dhcp_opts": options}), "t").ports["p"].extra_dhcp_opts == (
        DhcpOption("tftp-server", "10.0.0.9", 4), DhcpOption("24", "example.org", 6))
    assert reasons(port={"extra_dhcp_opts": [{"opt_name": "24", "opt_value": "x", "ip_version": 5}]}) == [
        "ports[0].extra_dhcp_opts[0].ip_version: must be 4 or 6, is 5"]


def test_a_port_without_any_of_it_has_nothing_of_its_own():
    """So thousands of ports need no memory for what they do not say."""
    port, plain = parse(text(port={"allowed_address_pairs": [], "security_groups": [], "dns_name": "",
                                   "extra_dhcp_opts": None}), "t").ports["p"], Port("p", "n", "")
    for name in ("allowed_address_pairs", "security_groups", "extra_dhcp_opts", "dns_name",
                 "port_security_enabled"):
        assert getattr(port, name) is getattr(plain, name)
    assert sys.getsizeof(port) <= 16 + 8 * 14


# Names


@pytest.mark.parametrize(("given_name", "name"), [
    ("Example.ORG.", "example.org"), ("vm", "vm"), ("", ""), (".", ""), ("a_b.c-d.e1", "a_b.c-d.e1"),
    ("<project_id>.example.org.", ""), ("<user_name>-<project_name>.example.org", "")])
def test_dns_names(given_name, name):
    topology = parse(text(network={"dns_domain": given_name}, port={"dns_name": given_name}), "t")
    assert topology.networks["n"].dns_domain == name and topology.ports["p"].dns_name == name


@pytest.mark.parametrize("name", ["a..b", "-a", "a-.b", "a b", "ä.org", f"{'a' * 64}.org", ".a", "<id>.org"])
def test_no_dns_names(name):
    [reason] = reasons(network={"dns_domain": name})
    assert reason.startswith("networks[0].dns_domain: ") and "is not a DNS name: labels of 1 to 63" in reason


def test_a_dns_name_that_is_too_long():
    label = "a" * 63
    assert parse(text(port={"dns_name": ".".join([label, label, label, "a" * 61])}), "t").faults == {}
    [reason] = reasons(port={"dns_name": ".".join([label, label, label, "a" * 62])})
    assert reason.endswith("is too long: a DNS name has at most 253 characters")


# Any value at all

ANY = st.none() | st.booleans() | st.integers() | st.text(max_size=40) | st.lists(st.text(), max_size=2)
ADDRESSES = st.ip_addresses()


def taken(validator, value):
    """Return what a validator makes of a value; None when it refuses it, in words."""
    try:
        return validator(value)
    except ValueError as error:
        assert str(error)
        return None


@given(ANY | st.from_regex(r"[a-z0-9_.<>-]{1,70}", fullmatch=True))
def test_a_dns_name_is_one_or_is_refused(value):
    name = taken(values.dns_name, value)
    if name:
        assert len(name) <= 253 and all(0 < len(label) <= 63 for label in name.split("."))
        assert values.dns_name(name) == values.dns_name(name.upper() + ".") == name
        name.encode("ascii")


@given(ANY | st.sampled_from(sorted(values.PROTOCOLS)) | st.integers(-2, 300))
def test_a_protocol_is_a_number_or_is_refused(value):
    number = taken(values.protocol, value)
    assert number is None or 0 <= number <= 255
    if isinstance(value, int) and not isinstance(value, bool):
        assert number == (value if 0 <= value <= 255 else None)


@given(ADDRESSES, st.integers(0, 128))
def test_a_remote_prefix_has_the_address_and_no_host_bits(address, length):
    length = min(length, address.max_prefixlen)
    prefix = values.remote_prefix(f"{address}/{length}")
    assert prefix.prefixlen == length and address in prefix
    assert values.remote_prefix(str(address)) == values.address_or_prefix(str(address)) == ip_network(address)
    strict = taken(values.address_or_prefix, f"{address}/{length}")
    assert strict == (prefix if address == prefix.network_address else None)


@given(ANY | st.from_regex(r"[0-9a-f:./%]{1,30}", fullmatch=True))
def test_what_is_no_address_is_refused(value):
    for validator in (values.remote_prefix, values.address_or_prefix):
        prefix = taken(validator, value)
        if prefix is not None:
            start = ip_address(value.partition("/")[0])
            assert isinstance(start, IPv4Address | IPv6Address) and start in prefix
