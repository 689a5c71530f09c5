# SPDX-License-Identifier: Apache-2.0
"""How a room explains what becomes of a packet in what it installs; for `fip64ctl trace`.

Only a room knows what it installs, so only the room can say what must hold there. A check is made when the
packet gets that far, and not before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from fip64agent.plan.desired import Mapping64, Tenant, Uplink

OK, NOTE, STOP, NOT_REACHED = "ok", "note", "stop", "not reached"
Outcome = tuple[str, str, str]
"""(OK or NOTE; what was looked at; what was found). With NOTE the packet goes on; somebody should look."""


class PacketStopped(Exception):
    """The packet ends here; the message says why."""

    def __init__(self, looked_at: str, detail: str) -> None:
        self.looked_at = looked_at
        super().__init__(detail)


@dataclasses.dataclass(slots=True)
class TracedPath:
    """The path of a packet from a client to a floating IP, and of the VM's answer."""

    client: IPv6Address
    uplink: Uplink
    tenant: Tenant
    mapping: Mapping64
    pool_address: IPv4Address
    """The IPv4 address that stands in for the client. A check that finds the client's binding sets it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold on the way."""

    name: str
    title: str
    look: Callable[[], Outcome]
    """Makes the check, in a greenthread. Raises: PacketStopped; Fip64Error or OSError when the component
    cannot be asked."""


@dataclasses.dataclass(frozen=True, slots=True)
class Explanation:
    """A room's checks of a packet, in the order of the packet's way."""

    before: tuple[Check, ...] = ()
    """Before the client can send the packet: its next hop, on the uplink's link, must find the address."""
    there: tuple[Check, ...] = ()
    """Between the uplink's veth and the flow that delivers to the VM."""
    back: tuple[Check, ...] = ()
    """Between the flow that takes the VM's answer and the uplink's veth."""
