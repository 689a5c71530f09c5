# SPDX-License-Identifier: Apache-2.0
"""What a service is: functions of a parsed packet and an object of the plan. No sockets, no clocks."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fip64agent.discovery import found

GROUP = "fip64agent.services"
"""Entry points of other packages: each names a Service."""


@dataclasses.dataclass(frozen=True, slots=True)
class Outgoing:
    """A packet to send."""

    data: bytes
    """From Ethernet on."""
    ofports: tuple[int, ...] | None = None
    """OpenFlow ports to send it to, each of which gets it as it is: no flow sees it. (): nobody. None: the
    port by which the answered packet came in."""


@dataclasses.dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a packet beside what is in it."""

    ofport: int
    """OpenFlow port by which it came in."""
    reason: int
    """Number in the register REG_REASON (switch/pipeline.py) when the flow sent it; 0: none was set."""
    data: bytes
    """The packet from Ethernet on, to be quoted."""


Handler = Callable[..., Iterable[Outgoing]]
"""Takes a Packet and the object of the plan that its port belongs to, and its Arrival if the service says so;
returns the packets to send. It must not wait. What a VM sends may be an attack: a handler does not answer a
packet that is not exactly as it must be. An exception that it raises is counted and logged."""


class Event(enum.Enum):
    """What has happened to an object that sends without being asked."""

    APPEARED = "appeared"
    """It is new in the plan, or the agent has started."""
    CHANGED = "changed"
    DUE = "due"
    """The interval that it asked for at its last turn has passed."""
    GONE = "gone"
    """It is not in the plan any more: this is its last turn."""


@dataclasses.dataclass(frozen=True, slots=True)
class Occasion:
    """Why an object has a turn to send."""

    event: Event
    number: int = 0
    """Turns that it has had since it appeared, or since it changed: 0 then, and from 1 on when it is DUE."""
    old: Any = None
    """When it is CHANGED: the object as it was at its last turn; None otherwise."""


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """What an object sends in one turn, and when it has the next."""

    packets: tuple[Outgoing, ...] = ()
    """Their `ofports` must not be None."""
    interval: tuple[float, float] | None = None
    """Shortest and longest time until the next turn, in seconds, between which one at random is taken. None:
    it has one when it changes, and when it goes."""


Unsolicited = Callable[[Any, Occasion], Turn | None]
"""Takes an object of the plan (when it is GONE: as it was last) and an Occasion, and returns its turn. None
when it has CHANGED: nothing has changed for what it sends, and its next turn stays when it was. Pure: the
clock and random numbers are those of switch/periodic.py."""


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """Handles the packets that a flow feature sends to the controller, or sends without being asked."""

    feature: str
    """Name of the flow feature (switch/features.py)."""
    kind: str
    """Name of the kind of the plan's objects that the handler needs."""
    in_ports: Callable[[Any], Iterable[int]]
    """Returns the OpenFlow ports by which an object's packets come in; no two objects have the same port.
    Of two that have it, one gets the packets; `fip64ctl status` names the other."""
    handle: Handler
    takes_arrival: bool = False
    """Whether the handler has a third argument, the packet's Arrival."""
    unsolicited: Unsolicited | None = None
    """What the objects of that kind send without being asked; None: nothing."""
    shortest_pause: float = 0.0
    """Seconds between two turns in which an object sends, at least: a change waits for so long (of Router
    Advertisements MIN_DELAY_BETWEEN_RAS, RFC 4861, section 6.2.6)."""


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
