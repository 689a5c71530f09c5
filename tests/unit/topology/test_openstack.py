# SPDX-License-Identifier: Apache-2.0
"""What ``openstack ... show -f yaml`` prints fits into a topology as it is.

The files beside this one have what python-openstackclient 10.5 prints of each kind of resource.
"""

from __future__ import annotations

import textwrap
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest

from fip64agent.topology.file.entries import split
from fip64agent.topology.file.loader import parse
from fip64agent.topology.model import AddressPair, DhcpOption, SecurityGroupRule, Topology

SHOWN = Path(__file__).parent / "openstack"
SECTIONS = {
    "networks": ["network"], "subnets": ["subnet-v6", "subnet-v4"], "routers": ["router"],
    "address_groups": ["address_group"], "security_groups": ["security_group"], "ports": ["port"]}
DEFAULT = "b1f3a8de-46a4-4a6e-a6d7-4a4a2f1fd001"
OFFICE = "6f6a2e64-0f0e-4d0b-9b8e-6b5bd4de0f42"


def document() -> str:
    """Return a topology of all that is shown: only indented, each as an item of its section's list."""
    text = ""
    for section, names in SECTIONS.items():
        text += f"{section}:\n"
        for name in names:
            text += "- " + textwrap.indent((SHOWN / f"{name}.yaml").read_text(), "  ")[2:]
    return text


@pytest.fixture(scope="module")
def topology() -> Topology:
    return parse(document(), "shown")


def only(items):
    [item] = items.values()
    return item


def test_all_is_taken_and_nothing_is_faulty(topology):
    assert {section: len(getattr(topology, section)) for section in SECTIONS} == {
        section: len(names) for section, names in SECTIONS.items()}
    assert len(list(SHOWN.iterdir())) == sum(map(len, SECTIONS.values()))
    assert topology.faults == {}


def test_it_is_read_again_entry_by_entry():
    assert [section.count for section in split(document().encode())] == list(map(len, SECTIONS.values()))


def test_network_and_subnets(topology):
    assert only(topology.networks).dns_domain == "web.example.org"
    v6, v4 = topology.subnets.values()
    assert (v6.ipv6_ra_mode, v6.ipv6_address_mode, v6.enable_dhcp) == ("slaac", "slaac", True)
    assert v6.dns_nameservers == (IPv6Address("2001:db8::53"), IPv6Address("2001:db8::1:53"))
    assert (v4.ipv6_ra_mode, v4.ipv6_address_mode, v4.dns_nameservers) == (None, None, ())


def test_port(topology):
    port = only(topology.ports)
    assert port.security_groups == (DEFAULT,) and port.port_security_enabled and port.dns_name == "www1"
    assert port.allowed_address_pairs == (
        AddressPair(IPv6Network("2001:db8:77:1::100/128"), "fa:16:3e:4b:21:7f"),
        AddressPair(IPv4Network("10.20.0.128/25"), "00:00:5e:00:01:0a"))
    assert port.extra_dhcp_opts == (DhcpOption("bootfile-name", "http://[2001:db8::80]/boot.efi", 6),
                                    DhcpOption("150", "10.20.0.80", 4))
    assert ip_address("10.20.0.31") in {fixed.ip_address for fixed in port.fixed_ips}


def test_security_group(topology):
    group = only(topology.security_groups)
    assert (group.id, group.name, group.stateful) == (DEFAULT, "default", True)
    start = "0f1d0a31-9b3e-4d25-8f6e-4f9c2d7b1c0"
    assert group.rules == (
        SecurityGroupRule(f"{start}1", "egress", "IPv6"),
        SecurityGroupRule(f"{start}2", "ingress", "IPv6", remote_group_id=DEFAULT),
        SecurityGroupRule(f"{start}3", "ingress", "IPv4", 6, 80, 443, ip_network("203.0.113.0/24")),
        SecurityGroupRule(f"{start}4", "ingress", "IPv6", 58, 128, 0, remote_address_group_id=OFFICE),
        SecurityGroupRule(f"{start}5", "egress", "IPv4", 47))


def test_address_group(topology):
    assert only(topology.address_groups).addresses == (
        ip_network("2001:db8:ab::/48"), ip_network("198.51.100.7/32"))


def test_the_names_of_the_api_do_as_well():
    text = document().replace("  rules:\n", "  security_group_rules:\n").replace(
        "  security_group_ids:\n", "  security_groups:\n")
    assert text != document() and parse(text, "api") == parse(document(), "shown")
