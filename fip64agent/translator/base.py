# SPDX-License-Identifier: Apache-2.0
"""The translator's contract: what every driver offers, so that nobody else knows which one it is.

A driver is a room (`reconcile.room.Room`): expand() turns tenants, mappings, uplinks into what the
driver installs; actual() reads back what the translator really has, it never remembers; apply() and
prune() are bulk and idempotent. `on_change` is its event "I restarted, I am empty", and anything else
that makes a read-back worth while. tests/functional/translator/contract.py is this page as tests.

What others must know before there is a room says its `Driver`: to plan() in `capabilities`, to the links room
in a `Layout`, which states the network namespaces, links, addresses, routes and rules that the driver wants.
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
    """A client's IPv6 address and the pool address that stands for it, within one tenant."""

    router_id: str
    client: IPv6Address
    pool_address: IPv4Address
    last_seen: float | None
    """Seconds since the epoch; None when the driver cannot tell."""
    static: bool = False
    """It never goes by itself."""


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """The program that translates, for people. None: there is no such thing, or the driver cannot tell."""

    launch: str | None = None
    """"managed": the agent starts it; "external"."""
    version: str | None = None
    pid: int | None = None
    uptime: float | None = None
    """Seconds."""
    restarts: int | None = None
    """How often it was lost since the agent started."""
    probe: float | None = None
    """Seconds that its last answer to a health probe took."""
    next_start: float | None = None
    """Seconds until it is started again, as it could not be or died again and again."""


class Count(NamedTuple):
    packets: int
    octets: int


@dataclasses.dataclass(frozen=True, slots=True)
class Traffic:
    """What was translated. Counts never go back, but for a restart of what counts."""

    fips: Mapping[tuple[str, IPv6Address], Mapping[str, Count]] = dataclasses.field(default_factory=dict)
    """{(tenant's router id, floating address): {direction: count}}: "6to4" towards the VM, "4to6" towards the
    client."""
    tenants: Mapping[str, Mapping[str, Count]] = dataclasses.field(default_factory=dict)
    """{router id: the same}"""
    errors: Mapping[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    """{(where, reason): packets}: refused, or otherwise special."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sighting:
    """A packet that was seen on its way through the translator."""

    at: float
    """Seconds since the watch began."""
    lines: tuple[str, ...]
    """Its way, as the translator tells it."""


class Translator(Room, Protocol):
    """A room that translates."""

    kind: str
    """Its name in [fip64] translator."""

    def allocations(self) -> Allocations:
        """Return the numbers in force, as far as they are read off what this driver has installed."""
        ...

    def remains(self) -> dict[Hashable, Item]:
        """Return what prune() needs to remove all that this driver has installed; it may not be started.

        Raises: NotReady when it cannot be told.
        """
        ...

    def netns(self, router_id: str) -> str:
        """Return the network namespace in which a tenant's packets are translated; "": none of its own."""
        ...

    def clients(self, router_id: str) -> list[ClientBinding]:
        """Return the bindings of one tenant, as the translator has them; may be empty.

        Raises: NotReady when it cannot be asked.
        """
        ...

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return {tenant's router id: {counter name: value}}; what the driver can count."""
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
        """Return what must hold in the translator for a packet to get there, and its answer back."""
        ...

    def watch(self, traced: TracedPath, seconds: float) -> list[Sighting]:
        """Wait up to `seconds` for packets of that mapping, in both directions; return a few of them.

        Leaves nothing behind. Raises: NotReady when the translator cannot show packets, now or at all.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Driver:
    """A driver before it is made. `conf`, everywhere: an oslo_config.cfg.ConfigOpts with all our options."""

    name: str
    """In [fip64] translator."""
    capabilities: Capabilities
    layout: Callable[[str], Layout]
    """Takes what the names of the agent's network namespaces begin with; returns what it wants of Linux."""
    room: Callable[[Any, str, Callable[[], None]], Translator]
    """Takes `conf`, that beginning, and what to call when a read-back is worth while; returns the driver,
    which is not started."""
    usable: Callable[[Any], tuple[bool, str]] | None = None
    """Takes `conf`; returns whether this machine has what the driver needs, and why. None: it is taken
    where no other is usable."""
    check: Callable[[Any], None] = lambda conf: None
    """Takes `conf`. Raises: ConfigError when its options ask for what cannot be."""
