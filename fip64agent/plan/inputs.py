# SPDX-License-Identifier: Apache-2.0
"""What plan() decides from: the topology, OVS's interfaces, settings, allocations in force."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from ipaddress import IPv4Network
from types import MappingProxyType

from fip64agent.topology.model import Topology

DEFAULT_POOL = IPv4Network("100.64.0.0/16")
REDIRECT_ALL = "all"
REDIRECT_EXTERNAL_NETWORKS = "external-networks"


@dataclasses.dataclass(frozen=True, slots=True)
class Interface:
    """A row of OVSDB's Interface table on our bridge."""

    name: str
    ofport: int | None = None
    """OpenFlow port number; None until OVS has opened the device."""
    iface_id: str | None = None
    """``external_ids:iface-id``: the id of the port that is bound here."""
    error: str | None = None
    """Why OVS could not open the device."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The part of the configuration that plan() depends on."""

    translator: str = "tayga"
    redirect: str = REDIRECT_ALL
    answer_arp: bool = True
    nat64_pool: IPv4Network = DEFAULT_POOL
    netns_prefix: str = "fip64-"
    """Network namespaces of the tayga translator are ``<prefix>core`` and ``<prefix><router id>``."""
    vlan_range: tuple[int, int] = (1, 4094)
    """First and last 802.1Q VLAN ID that tenants may get on this host."""


@dataclasses.dataclass(frozen=True, slots=True)
class Allocations:
    """Numbers in force, read back from what is installed: nobody loses the one it has."""

    vlans: Mapping[str, int] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    """Tenant's router id -> VLAN ID."""
    tables: Mapping[str, int] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    """Uplink's port id -> routing table id."""


@dataclasses.dataclass(frozen=True, slots=True)
class Inputs:
    topology: Topology
    interfaces: Mapping[str, Interface]
    """By interface name: all on our bridge, our own veths too."""
    settings: Settings = Settings()
    allocations: Allocations = Allocations()
