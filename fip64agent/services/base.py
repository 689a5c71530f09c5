# SPDX-License-Identifier: Apache-2.0
"""What a service is: a function of a parsed packet and an object of the plan. No sockets, no clocks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fip64agent.discovery import found
from fip64agent.net.packet import Packet

GROUP = "fip64agent.services"
"""Entry points of other packages: each names a Service."""


@dataclasses.dataclass(frozen=True, slots=True)
class Outgoing:
    """A packet to send."""

    data: bytes
    """From Ethernet on."""
    ofport: int | None = None
    """OpenFlow port that it goes out of; None: the one that the answered packet came in by."""


Handler = Callable[[Packet, Any], Iterable[Outgoing]]
"""(packet, object of the plan) -> packets to send. Must not wait. What a VM sends is hostile: when
anything of a packet is not as it must be, there is no answer. What a handler raises is counted and logged."""


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """What takes the packets that a flow feature sends to the controller."""

    feature: str
    """Name of the flow feature (switch/features.py)."""
    kind: str
    """Name of the kind of the plan's objects that the handler needs."""
    in_ports: Callable[[Any], Iterable[int]]
    """OpenFlow ports that an object's packets come in by; each is one object's only."""
    handle: Handler


@functools.cache
def services() -> Mapping[str, Service]:
    """Return all services by their flow feature: those in `services/`, then others'.

    Raises: ValueError when two serve the same flow feature.
    """
    result: dict[str, Service] = {}
    for name, service in found("fip64agent.services", "SERVICE", GROUP):
        if service.feature in result:
            raise ValueError(f"service {name}: flow feature {service.feature} has a service already")
        result[service.feature] = service
    return result
