# SPDX-License-Identifier: Apache-2.0
"""Real packets of one floating IP, as VPP's packet tracer saw them. Bounded, and always cleared."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.reconcile.explain import Journey
from fip64agent.translator.base import Sighting
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppError

MOST = 20
"""Packets that are traced at most, in each of VPP's threads."""
ENOUGH = 4
"""Packets that were seen to the end: there is no need to wait for more."""
_POLL = 0.25
_INPUT = "af-packet-input"
_PACKET = re.compile(r"^Packet \d+$", re.MULTILINE)
_NODE = re.compile(r"^(\d+):(\d+):(\d+):(\d+): (\S+)$")
_SHOWN = re.compile(r"fip64|drop|punt")
"""Nodes whose lines are told; of others the name does."""


def watch(client: VppClient, journey: Journey, seconds: float) -> list[Sighting]:
    """Trace packets to the floating IP and answers of its VM for up to `seconds`. Raises: NotReady.

    Filters of VPP's keep all other packets out, however many there are.
    """
    begun, found = time.monotonic(), []
    try:
        with _armed(client, filters(journey)):
            while len(found) < ENOUGH and (left := seconds - (time.monotonic() - begun)) > 0:
                hub.sleep(min(_POLL, left))
                found = sightings(_cli(client, f"show trace max {MOST}"))
    except VppError as error:
        raise NotReady(f"VPP cannot trace: {error}") from error
    return found


def filters(journey: Journey) -> tuple[str, ...]:
    """What a packet must match, as `classify filter` takes it: untagged IPv6 there, tagged IPv4 back."""
    return (f"mask l3 ip6 dst match l3 ip6 dst {journey.mapping.floating_ip}",
            f"mask l2 tag1 l3 ip4 src match l2 tag1 {journey.tenant.vlan} "
            f"l3 ip4 src {journey.mapping.fixed_ip}")


@contextlib.contextmanager
def _armed(client: VppClient, matches: Iterable[str]) -> Iterator[None]:
    """Let VPP trace what matches; in the end nothing is traced, and VPP's memory is as it was."""
    try:
        _disarm(client)  # an agent that was killed meanwhile may have left its filters
        for match in matches:
            _cli(client, f"classify filter trace {match}")
        _cli(client, f"trace add {_INPUT} {MOST} filter")
        yield
    finally:
        with contextlib.suppress(VppError):  # a VPP that has gone traces nothing
            _disarm(client)


def _disarm(client: VppClient) -> None:
    _cli(client, "clear trace")
    _cli(client, "classify filter trace del")


def _cli(client: VppClient, command: str) -> str:
    return client.call("cli_inband", cmd=command).reply


# -- reading. Pure --------------------------------------------------------------------------------


def sightings(text: str) -> list[Sighting]:
    """Read `show trace`: for each packet its way, and what the plugin and whoever dropped it say."""
    found = [_sighting(packet.splitlines()) for packet in _PACKET.split(text)[1:]]
    if not found:
        return []
    first = min(begun for begun, _ in found)
    return [Sighting(round(begun - first, 6), lines) for begun, lines in sorted(found)]


def _sighting(lines: list[str]) -> tuple[float, tuple[str, ...]]:
    begun, way, told = 0.0, [], []
    shown = False
    for line in lines:
        if (node := _NODE.match(line)) is not None:
            hours, minutes, seconds, micros = map(int, node.groups()[:4])
            begun = begun or hours * 3600 + minutes * 60 + seconds + micros / 1e6
            way.append(node[5])
            if shown := bool(_SHOWN.search(node[5])):
                told.append(f"{node[5]}:")
        elif shown and line.strip() and not line.startswith("---"):
            told.append(line.rstrip())
    return begun, (" > ".join(way), *told)
