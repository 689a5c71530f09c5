# SPDX-License-Identifier: Apache-2.0
"""tayga's configuration of one tenant, and its file of client bindings. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Hashable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from fip64agent.plan.desired import ObjectKey, Tenant
from fip64agent.translator.base import ClientBinding

TUN = "nat64"
"""The TUN device, which the links room makes in the tenant's namespace."""


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """One tayga: equal when it runs with the same configuration."""

    router_id: str
    netns: str
    digest: str
    """Of the configuration's text; in the file's name, so that a running process tells what it has read."""
    text: str = dataclasses.field(default="", compare=False, repr=False)
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return ("tayga", self.router_id)

    def __str__(self) -> str:
        return f"tayga of router {self.router_id}"


def instance(tenant: Tenant, state_path: str) -> Instance:
    """Return what should run for a tenant. Its client bindings live below `state_path`."""
    own = tenant.pool[1]  # tayga keeps the pool's first address free itself
    lines = [
        f"tun-device {TUN}",
        f"ipv4-addr {own}",
        f"ipv6-addr {tenant.address6}",
        f"dynamic-pool {tenant.pool}",
        f"data-dir {data_directory(state_path, tenant.router_id)}",
        *(f"map {fixed} {floating}" for fixed, floating in tenant.maps),
    ]
    text = "\n".join(lines) + "\n"
    return Instance(tenant.router_id, tenant.netns, hashlib.sha256(text.encode()).hexdigest()[:16], text,
                    tenant.key)


def data_directory(state_path: str, router_id: str) -> str:
    """Where tayga keeps dynamic.map of a tenant."""
    return f"{state_path}/tayga/{router_id}"


def bindings(router_id: str, text: str) -> Iterator[ClientBinding]:
    """Read tayga's dynamic.map: "<IPv4> <IPv6> <seconds since the epoch>" lines; others are passed over."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) != 3:
            continue
        try:
            yield ClientBinding(router_id, IPv6Address(words[1]), IPv4Address(words[0]), float(words[2]))
        except (AddressValueError, ValueError):
            continue
