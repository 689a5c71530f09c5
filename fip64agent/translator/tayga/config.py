# SPDX-License-Identifier: Apache-2.0
"""tayga's configuration of one tenant, and its file of client bindings. Pure."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
from collections.abc import Hashable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, summarize_address_range

from fip64agent.plan.desired import ObjectKey, Tenant
from fip64agent.translator.base import ClientBinding
from fip64agent.translator.tayga.names import TUN, tenant_netns


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """A tayga process of a tenant. Two are equal when they have the same configuration."""

    router_id: str = dataclasses.field(compare=False)
    """When read back: `name`, which is nearly always the same."""
    name: str
    """Of the tenant's namespace without the agent's prefix; its files are below a directory of that name."""
    netns: str
    digest: str
    """Hash of the configuration's text. It is a part of the file's name, and so of the command line."""
    text: str = dataclasses.field(default="", compare=False, repr=False)
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("tayga", self.name)

    def __str__(self) -> str:
        return f"tayga of router {self.router_id}"


def instance_name(router_id: str) -> str:
    """Return the name of a tenant's directory: its router's id, if that can be a file's name."""
    return tenant_netns("", router_id)


def instance(tenant: Tenant, netns_prefix: str, state_path: str) -> Instance:
    """Return what should run for a tenant. tayga keeps its client bindings below `state_path`."""
    name = instance_name(tenant.router_id)
    pool = tenant.pool
    if tenant.pool_first is not None and tenant.pool_last is not None:
        pool, = summarize_address_range(tenant.pool_first, tenant.pool_last)  # the plan gives a prefix
    own = pool[1]  # tayga keeps the pool's first address free itself
    lines = [
        f"tun-device {TUN}",
        f"ipv4-addr {own}",
        f"ipv6-addr {tenant.address6}",
        f"dynamic-pool {pool}",
        f"data-dir {data_directory(state_path, name)}",
        *(f"map {fixed} {floating}" for fixed, floating in tenant.maps),
        *(f"map {address} {client}" for client, address in tenant.bindings),
    ]
    text = "\n".join(lines) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Instance(tenant.router_id, name, tenant_netns(netns_prefix, tenant.router_id), digest, text,
                    tenant.key)


def data_directory(state_path: str, name: str) -> str:
    """Return the directory in which tayga keeps the client bindings of a tenant (dynamic.map)."""
    return f"{state_path}/tayga/{name}"


def capacity(text: str) -> int | None:
    """Return for how many clients a configuration has pool addresses; None when it does not say."""
    pool, taken = None, set()
    for line in text.splitlines():
        words = line.split()
        with contextlib.suppress(ValueError):
            match words:
                case ["dynamic-pool", value]:
                    pool = IPv4Network(value)
                case ["ipv4-addr", value] | ["map", value, _]:
                    taken.add(IPv4Address(value))
    if pool is None:
        return None
    return pool.num_addresses - len({pool[0]} | {address for address in taken if address in pool})


def bindings(router_id: str, text: str) -> Iterator[ClientBinding]:
    """Read tayga's dynamic.map: "<IPv4> <IPv6> <seconds since the epoch>" lines; others are passed over."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) != 3:
            continue
        with contextlib.suppress(ValueError):
            last_seen = float(words[2])
            yield ClientBinding(router_id, IPv6Address(words[1]), IPv4Address(words[0]),
                                last_seen if math.isfinite(last_seen) else None)
