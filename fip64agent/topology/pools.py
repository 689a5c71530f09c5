# SPDX-License-Identifier: Apache-2.0
"""A router's NAT64 pool and its static bindings, beside the router's subnets. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from fip64agent.net.special import reserved
from fip64agent.topology.claims import subnets_of_port
from fip64agent.topology.model import ROUTER_INTERFACE, Finding, Port, Router
from fip64agent.topology.rules import InForce


def pool_finding(router: Router, default_pool: IPv4Network, ports: Iterable[Port],
                 others: InForce) -> Finding | None:
    """Say why a router's NAT64 pool cannot be used: its VMs could not tell it from one of their subnets.

    `ports`: the router's ports in force. A pool of the router's own must overlap none of its subnets, the
    default pool none that VMs may be on.
    """
    pool = router.nat64_pool or default_pool
    named = pool if router.nat64_pool is not None else f"[fip64] nat64_pool {pool}"
    for port in ports:
        if router.nat64_pool is None and port.device_owner != ROUTER_INTERFACE:
            continue
        for subnet in subnets_of_port(port, others):
            if subnet.ip_version == 4 and pool.overlaps(subnet.cidr):
                return Finding(("nat64_pool",), f"{named} overlaps {subnet.cidr} of subnet {subnet.id}, "
                                                "which the router has a port on")
    return None


def binding_findings(router: Router, default_pool: IPv4Network) -> tuple[Router, tuple[Finding, ...]]:
    """Return the router with only those of its static bindings that can be had, and why not the others."""
    pool = router.nat64_pool or default_pool
    findings: list[Finding] = []
    clients: dict[IPv6Address, int] = {}
    addresses: dict[IPv4Address, int] = {}
    usable = []
    for index, binding in enumerate(router.nat64_bindings):
        client, address = binding.ipv6_address, binding.pool_address
        before = len(findings)
        if kind := reserved(client):
            findings.append(Finding(("nat64_bindings", index, "ipv6_address"),
                                    f"{client} is {kind}, which no client elsewhere has"))
        if (first := clients.setdefault(client, index)) != index:
            findings.append(Finding(("nat64_bindings", index, "ipv6_address"),
                                    f"{client} already has a pool address by nat64_bindings[{first}]"))
        path = ("nat64_bindings", index, "pool_address")
        if (first := addresses.setdefault(address, index)) != index:
            findings.append(Finding(path, f"{address} is already the pool address of client "
                                          f"{router.nat64_bindings[first].ipv6_address}"))
        if address not in pool:
            findings.append(Finding(path, f"{address} is not in nat64_pool {pool}"))
        elif address in (pool[0], pool[-1]):
            findings.append(Finding(path, f"{address} is the first or last address of nat64_pool {pool}, "
                                          "which no client gets"))
        if len(findings) == before:
            usable.append(binding)
    if not findings:
        return router, ()
    return dataclasses.replace(router, nat64_bindings=tuple(usable)), tuple(findings)
