# SPDX-License-Identifier: Apache-2.0
"""The translator's contract: what every driver offers, so that nobody else knows which one it is.

A driver is a room (`reconcile.room.Room`): expand() turns tenants, mappings, uplinks into what the
driver installs; actual() reads back what the translator really has, it never remembers; apply() and
prune() are bulk and idempotent. `on_change` is its event "I restarted, I am empty", and anything else
that makes a read-back worth while. tests/functional/translator/contract.py is this page as tests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from fip64agent.reconcile.room import Room


@dataclasses.dataclass(frozen=True, slots=True)
class ClientBinding:
    """A client's IPv6 address and the pool address that stands for it, within one tenant."""

    router_id: str
    client: IPv6Address
    pool_address: IPv4Address
    last_seen: float | None
    """Seconds since the epoch; None when the driver cannot tell."""


class Translator(Room, Protocol):
    """A room that translates."""

    kind: str
    """Its name in [fip64] translator."""

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
