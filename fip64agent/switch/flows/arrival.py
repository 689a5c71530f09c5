# SPDX-License-Identifier: Apache-2.0
"""Frames that NORMAL would carry to ports with security groups: they are taken to the groups instead.

They come in by interfaces of others, and by ports without groups. A frame is taken if it came in by an
interface that is in the port's VLAN and is for the port's MAC: so no frame changes its VLAN.
"""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.plan.groups.objects import Arrival, Entry
from fip64agent.switch import pipeline, stages
from fip64agent.switch.examples import ARRIVAL, ENTRY, ENTRY_TRUNK
from fip64agent.switch.features import Example, FlowFeature
from fip64agent.switch.flows.flow import (
    IPV4,
    IPV6,
    UNTAGGED,
    Conjunction,
    Flow,
    Match,
    Resubmit,
    StripVlan,
)
from fip64agent.switch.stages import REG_DESTINATION, REG_NETWORK, load

NAME = "arrival"
NUMBERS = 0xF1641000
"""Numbers of the conjunctions: this, and the VLAN."""
PRESENT = 0x1000
"""OFPVID_PRESENT: there is an 802.1Q tag."""
_LOCAL_16, _LOCAL = 0xFFFE, 0xFFFFFFFE
"""The bridge's own port, as OVSDB has it and as OpenFlow 1.3 has it."""


def _conjunction(vlan: int, clause: int) -> Conjunction:
    return Conjunction(NUMBERS + vlan, clause, 2)


def of_entry(entry: Entry) -> Iterator[Flow]:
    """Yield the flows for the VLANs that an interface is in."""
    port = ("in_port", _LOCAL if entry.ofport == _LOCAL_16 else entry.ofport)
    if entry.untagged is not None:
        yield Flow(pipeline.CLASSIFIER, pipeline.ARRIVAL, (port, UNTAGGED),
                   (_conjunction(entry.untagged, 1),), NAME, entry.key)
    for vlan in entry.tagged:
        yield Flow(pipeline.CLASSIFIER, pipeline.ARRIVAL, (port, ("vlan_vid", PRESENT | vlan)),
                   (_conjunction(vlan, 1),), NAME, entry.key)


def of_arrival(arrival: Arrival) -> Iterator[Flow]:
    """Yield the flows for a MAC: the clause, and where the frame goes."""
    actions = (StripVlan(), load(REG_NETWORK, arrival.network), load(REG_DESTINATION, arrival.ofport),
               Resubmit(stages.TRACK_IN))
    for protocol in (IPV4, IPV6):
        match: Match = (protocol, ("eth_dst", arrival.mac))
        yield Flow(pipeline.CLASSIFIER, pipeline.ARRIVAL, match, (_conjunction(arrival.vlan, 2),), NAME,
                   arrival.key)
        yield Flow(pipeline.CLASSIFIER, pipeline.ARRIVAL, (("conj_id", NUMBERS + arrival.vlan), *match),
                   actions, NAME, arrival.key)


FEATURE = FlowFeature(
    NAME, 42, "Takes frames from elsewhere to the security groups of their ports.",
    {Entry.kind: of_entry, Arrival.kind: of_arrival},
    (Example("Per interface of others", "Port 3 is an access port of VLAN 7:", (ENTRY,)),
     Example("Per interface of others that takes tags", "Port 4 is a trunk, and ports with security groups "
             "are in VLAN 7:", (ENTRY_TRUNK,)),
     Example("Per MAC of a port with security groups", "Port 21, in VLAN 7:", (ARRIVAL,))))
