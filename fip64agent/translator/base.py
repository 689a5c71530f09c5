# SPDX-License-Identifier: Apache-2.0
"""The translator's contract: what every driver offers, so that nobody else knows which one it is.

A driver is a room (`reconcile.room.Room`): expand() turns tenants, mappings, uplinks into what the
driver installs; actual() reads back what the translator really has, each time; apply() and prune() take
many items and can be repeated. The driver calls `on_change` when its translator restarted and is empty, and
whenever else a read-back is worth while. tests/functional/translator/contract.py tests this contract.

A `Driver` says what others must know before there is a room: plan() in `capabilities`, the links room in a
`Layout`, which states the network namespaces, links, addresses, routes and rules that the driver wants.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple, Protocol

from fip64agent.links.model import Layout
from fip64agent.plan.inputs import Allocations, Capabilities
from fip64agent.reconcile.explain import Explanation, TracedPath
from fip64agent.reconcile.room import Item, Room


@dataclasses.dataclass(frozen=True, slots=True)
class ClientBinding:
    """A client's IPv6 address and the pool address that it has within one tenant (NAT64)."""

    router_id: str
    client: IPv6Address
    pool_address: IPv4Address
    last_seen: float | None
    """Seconds since the epoch; None when the driver cannot tell."""
    static: bool = False
    """It does not time out."""


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """The program that translates. None: there is no such value, or the driver does not know it."""

    launch: str | None = None
    """"managed": the agent starts it; "external"."""
    version: str | None = None
    pid: int | None = None
    uptime: float | None = None
    """Seconds since it was started."""
    restarts: int | None = None
    """How often it was lost since the agent started."""
    probe: float | None = None
    """Seconds that its last answer to a health probe took."""
    next_start: float | None = None
    """Seconds until it is started again, after it could not be started or has ended several times."""


class Count(NamedTuple):
    """How much was translated."""

    packets: int
    octets: int


TO_VM, TO_CLIENT = "6to4", "4to6"
"""Directions of translation: names of their counters."""


@dataclasses.dataclass(frozen=True, slots=True)
class Traffic:
    """What was translated. Counts only grow, except when the translator restarts."""

    fips: Mapping[tuple[str, IPv6Address], Mapping[str, Count]] = dataclasses.field(default_factory=dict)
    """{(tenant's router id, floating address): {direction: count}}: "6to4" towards the VM, "4to6" towards the
    client."""
    tenants: Mapping[str, Mapping[str, Count]] = dataclasses.field(default_factory=dict)
    """{router id: the same}"""
    errors: Mapping[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    """{(where, reason): packets} that were not translated, or in another way than usual."""


@dataclasses.dataclass(frozen=True, slots=True)
class TracedPacket:
    """A packet that went through the translator while it was watched."""

    at: float
    """Seconds since the first packet that was traced."""
    lines: tuple[str, ...]
    """What became of it, in the translator's own words."""


class Translator(Room, Protocol):
    """A room that translates."""

    kind: str
    """Its name in [fip64] translator."""

    def allocations(self) -> Allocations:
        """Return the numbers in force, as far as they are read off what this driver has installed."""
        ...

    def remains(self) -> dict[Hashable, Item]:
        """Return what prune() needs to remove all that this driver has installed; it may not be started.

        Raises: NotReady when that cannot be found out.
        """
        ...

    def netns(self, router_id: str) -> str:
        """Return the network namespace in which a tenant's packets are translated; "": none of its own."""
        ...

    def clients(self, router_id: str) -> list[ClientBinding]:
        """Return the client bindings of one tenant, as the translator has them; may be empty.

        Raises: NotReady when it cannot be asked.
        """
        ...

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return {tenant's router id: {counter name: value}}: "clients", and what else the driver counts.

        Raises: NotReady.
        """
        ...

    def healthy(self) -> str | None:
        """Return None when everything that should run runs and answers, else what does not."""
        ...

    def warnings(self) -> list[str]:
        """Return what an operator should know of a translator that works. Never raises."""
        ...

    # For fip64ctl status and trace, and for the metrics

    def about(self) -> About:
        """Return what is known of the program. Never raises."""
        ...

    def traffic(self) -> Traffic | None:
        """Return what was translated; None when the driver cannot count. Raises: NotReady."""
        ...

    def explain(self, traced: TracedPath) -> Explanation:
        """Return the checks of what must hold in the translator for a packet and its answer."""
        ...

    def watch(self, traced: TracedPath, seconds: float) -> list[TracedPacket]:
        """Wait up to `seconds` for packets of that mapping, in both directions; return a few.

        Nothing is traced any more afterwards. Raises: NotReady when the translator cannot show packets, now
        or at all.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Driver:
    """A driver before its room is made. `conf` is an oslo_config.cfg.ConfigOpts with all our options."""

    name: str
    """In [fip64] translator."""
    capabilities: Capabilities
    layout: Callable[[str], Layout]
    """Takes what the names of the agent's network namespaces begin with; returns the links that it wants."""
    room: Callable[[Any, str, Callable[[], None]], Translator]
    """Takes `conf`, what the names of the agent's network namespaces begin with, and a function to call when
    a read-back is worth while. Returns the room, which is not started."""
    usable: Callable[[Any], tuple[bool, str]] | None = None
    """Takes `conf`; returns whether this machine has what the driver needs, and the reason. None: the driver
    is chosen where no other is usable."""
    check: Callable[[Any], None] = lambda conf: None
    """Takes `conf`. Raises: ConfigError when its options cannot be used together."""
