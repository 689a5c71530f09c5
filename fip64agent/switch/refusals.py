# SPDX-License-Identifier: Apache-2.0
"""Packets of VMs that are refused are dropped in a table of their own, and counted there by port and reason.

What refuses a packet puts the reason into a register. The table has a flow for each port and each reason that
the port's packets can be refused for; Open vSwitch counts the packets of a flow. So counting needs no packet
to the agent, and goes on while the agent does not run.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator

from fip64agent.plan.ports.objects import ServedPort
from fip64agent.switch import pipeline
from fip64agent.switch.connection import codec
from fip64agent.switch.connection.fields import header
from fip64agent.switch.flows.flow import DROP, Action, Flow, Resubmit
from fip64agent.switch.pipeline import REG_REASON, Table
from fip64agent.switch.stages import REG_PORT, load

REFUSED = 194
TABLE = Table(REFUSED, "refused", "from the VM", "Drops what was refused, and counts it.",
              "The port and the reason.", "Nowhere.")


class Refusal(enum.IntEnum):
    """Why a packet of a VM is refused. The numbers are in installed flows."""

    SOURCE_MAC = 1
    """The source MAC is none of its port."""
    SOURCE_ADDRESS = 2
    """The IPv6 source is not allowed for its port and MAC."""
    ND_CONTENT = 3
    """A message of Neighbor Discovery whose hop limit is not 255, with a code, or with a foreign MAC."""
    ND_TARGET = 4
    """It advertises, or checks for duplicates, an address that is not its port's."""
    RA_GUARD = 5
    """A Router Advertisement or a Redirect."""
    DHCPV6_GUARD = 6
    """A message to a DHCPv6 client."""
    HEADER_CHAIN = 7
    """Headers that end before the one of the upper layer; ICMPv6 in fragments with hop limit 255, which
    may be Neighbor Discovery."""
    VLAN_TAG = 8
    """IPv6 in an 802.1Q tag, or more than one tag."""

    @property
    def text(self) -> str:
        """As metrics have it: "source-mac"."""
        return self.name.lower().replace("_", "-")


def refuse(reason: Refusal) -> tuple[Action, ...]:
    """Return the actions that drop and count a packet. The register of the port must be loaded."""
    return load(REG_REASON, reason), Resubmit(REFUSED)


def counted(port: ServedPort, reasons: Iterable[Refusal], feature: str) -> Iterator[Flow]:
    """Yield the flows that drop and count what of a port is refused for one of these reasons."""
    for reason in reasons:
        yield Flow(REFUSED, 1, ((REG_PORT, port.ofport), (REG_REASON, reason)), DROP, feature, port.key)


_KEY = struct.Struct("!4sI4sI")
_FIELDS = (header(REG_PORT), header(REG_REASON))
_TEXTS = {int(reason): reason.text for reason in Refusal}


def counters(bodies: Iterable[bytes]) -> dict[tuple[int, str], int]:
    """Return how many packets were refused, by (OpenFlow port, reason), where there were any.

    bodies: of the reply that has the flows of the table REFUSED. Raises: CodecError.
    """
    found = {}
    for body in bodies:
        for _, _, cookie, match, _, packets, _ in codec.decode_flows(body):
            if packets and pipeline.is_ours(cookie) and len(match) == _KEY.size:
                port_field, ofport, reason_field, reason = _KEY.unpack(codec.normalise(match))
                if (port_field, reason_field) == _FIELDS and reason in _TEXTS:
                    found[ofport, _TEXTS[reason]] = packets
    return found
