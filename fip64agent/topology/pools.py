# SPDX-License-Identifier: Apache-2.0
"""A router's NAT64 pool and its static bindings, beside the router's subnets. Pure."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import NamedTuple

from fip64agent.net.special import reserved
from fip64agent.topology.model import Finding, Port, Router, Subnet


class JudgedPool(NamedTuple):
    """What is left of a form of a router once its pool and bindings were looked at."""

    router: Router | None
    """With those bindings only that can be had; None: the form is not right by itself."""
    findings: tuple[Finding, ...]
    """All that is wrong."""
    overlap: Finding | None = None
    """Why its pool cannot be used, if that is so: one of the findings."""


def judge_pool(router: Router, default_pool: IPv4Network, overlaps: list[tuple[Port, Subnet]]) -> JudgedPool:
    """Judge a router that is right but for its pool and bindings.

    overlaps: the ports and subnets of it that its pool overlaps: VMs could not tell the addresses apart.
    """
    router, findings = _bindings(router, default_pool)
    if not overlaps:
        return JudgedPool(router, findings)
    pool, subnet = router.nat64_pool or f"[fip64] nat64_pool {default_pool}", overlaps[0][1]
    overlap = Finding(("nat64_pool",), f"{pool} overlaps {subnet.cidr} of subnet {subnet.id}, which the "
                                       "router has a port on")
    return JudgedPool(router, (overlap, *findings), overlap)


def _bindings(router: Router, default_pool: IPv4Network) -> tuple[Router, tuple[Finding, ...]]:
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
