# SPDX-License-Identifier: Apache-2.0
"""Which IPv6 modes a subnet can have: the table of Neutron's documentation (admin/config-ipv6). Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.topology.model import DHCPV6_STATELESS, SLAAC, Finding, Subnet

INTERFACE_ID_BITS = 64
"""RFC 4291, section 2.5.1. The prefix that hosts make addresses of has the rest (RFC 4862, section 5.5.3)."""


def mode_findings(subnet: Subnet) -> Iterator[Finding]:
    """Yield what is wrong with the IPv6 modes of a subnet.

    One mode alone is right, and both when they are the same.
    """
    modes = {"ipv6_ra_mode": subnet.ipv6_ra_mode, "ipv6_address_mode": subnet.ipv6_address_mode}
    given = {name: mode for name, mode in modes.items() if mode is not None}
    for name in given:
        if subnet.ip_version == 4:
            yield Finding((name,), f"is for IPv6 subnets only, cidr {subnet.cidr} is IPv4")
        elif not subnet.enable_dhcp:
            yield Finding((name,), "cannot be given while enable_dhcp is false")
    if subnet.ip_version == 4:
        return
    if len(set(given.values())) > 1:
        yield Finding(("ipv6_address_mode",), f"is {subnet.ipv6_address_mode}, but ipv6_ra_mode is "
                      f"{subnet.ipv6_ra_mode}: when both are given, they must be the same")
    for name, mode in given.items():
        if mode in (SLAAC, DHCPV6_STATELESS) and subnet.cidr.prefixlen != 128 - INTERFACE_ID_BITS:
            yield Finding(("cidr",), f"must be a /64 with {name} {mode}, as hosts make the other "
                                     f"{INTERFACE_ID_BITS} bits of their addresses; it is {subnet.cidr}")
            return
