# SPDX-License-Identifier: Apache-2.0
"""What this package reads of the agent. `fip64agent.agent.Agent` has this shape."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Any, Protocol

from fip64agent.exceptions import TopologyError
from fip64agent.plan.desired import Desired, PlanObject, Uplink
from fip64agent.plan.inputs import Inputs
from fip64agent.reconcile.loop import Change
from fip64agent.reconcile.room_state import Failure


class LoopView(Protocol):
    """`fip64agent.reconcile.loop.Loop`, read only."""

    passes: int
    last_pass_seconds: float
    applied: int
    pruned: int

    @property
    def desired(self) -> Desired: ...

    @property
    def settled(self) -> bool: ...

    @property
    def alive(self) -> bool: ...

    @property
    def failures(self) -> list[Failure]: ...

    @property
    def blocked(self) -> dict[str, str]: ...

    def carried_out(self, obj: PlanObject) -> bool: ...

    def counts(self) -> dict[str, int]: ...

    def preview(self) -> list[Change]: ...


class MetricsView(Protocol):
    """`fip64agent.admin.metrics.MetricsServer`, read only."""

    url: str | None
    problem: str | None


class StandingView(Protocol):
    """`fip64agent.links.gateways.Standing`."""

    alive: bool | None
    """None: not known yet."""
    since: float | None
    """Seconds since the epoch; None: not known yet."""


class GatewaysView(Protocol):
    """`fip64agent.links.gateways.Gateways`, read only."""

    def standing(self, uplink: Uplink, address: IPv6Address) -> StandingView | None: ...


class ChoiceView(Protocol):
    """`fip64agent.translator.Choice`."""

    name: str
    reason: str


class AgentView(Protocol):
    conf: Any
    """oslo_config.cfg.ConfigOpts."""
    started_at: float
    """Seconds since the epoch."""
    loop: LoopView
    inputs: Inputs | None
    topology_error: TopologyError | None
    topology_path: str
    topology_loaded_at: float | None
    """Seconds since the epoch; None before the first good topology."""
    gateways: GatewaysView
    metrics: MetricsView | None
    choice: ChoiceView
    """Which translator, and why."""
    rooms: Mapping[str, Any]
    """"links", "switch" and "translator"."""
