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
    """OpenFlow port to send it to; None: the one by which the answered packet came in."""


Handler = Callable[[Packet, Any], Iterable[Outgoing]]
"""Takes a packet and the object of the plan that its port belongs to; returns the packets to send. It must
not wait. What a VM sends may be an attack: a handler does not answer a packet that is not exactly as it must
be. An exception that it raises is counted and logged."""


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """Handles the packets that a flow feature sends to the controller."""

    feature: str
    """Name of the flow feature (switch/features.py)."""
    kind: str
    """Name of the kind of the plan's objects that the handler needs."""
    in_ports: Callable[[Any], Iterable[int]]
    """Returns the OpenFlow ports by which an object's packets come in; no two objects have the same port.
    Of two that have it, one gets the packets; `fip64ctl status` names the other."""
    handle: Handler


@functools.cache
def services() -> Mapping[str, Service]:
    """Return all services by their flow feature: those in `services/`, then those of other packages.

    Raises: ValueError when two of them are for the same flow feature.
    """
    result: dict[str, Service] = {}
    for name, service in found("fip64agent.services", "SERVICE", GROUP):
        if service.feature in result:
            raise ValueError(f"service {name}: flow feature {service.feature} has a service already")
        result[service.feature] = service
    return result
