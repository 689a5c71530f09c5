# SPDX-License-Identifier: Apache-2.0
"""Traces packets of one floating IP with VPP's packet tracer.

The number of packets and the time are limited, and VPP's tracer is switched off afterwards in all cases.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator

from fip64agent import hub
from fip64agent.exceptions import NotReady
from fip64agent.reconcile.explain import TracedPath
from fip64agent.translator.base import TracedPacket
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppError

MOST = 20
"""The most packets that each of VPP's threads traces."""
ENOUGH = 4
"""Packets after which the trace ends before its time is over."""
_INTERVAL = 0.25
"""Seconds between two read-outs of the trace."""
_INPUT = "af-packet-input"
_PACKET = re.compile(r"^Packet \d+$", re.MULTILINE)
_NODE = re.compile(r"^(\d+):(\d+):(\d+):(\d+): (\S+)$")
_SHOWN_WHOLE = re.compile(r"fip64|drop|punt")
"""Nodes of which all lines are shown; of the others only the name."""


def watch(client: VppClient, traced: TracedPath, seconds: float) -> list[TracedPacket]:
    """Trace packets to the floating IP, and its VM's answers, for up to `seconds`. Raises: NotReady.

    VPP's filters leave out all other packets.
    """
    begun, found = time.monotonic(), []
    try:
        with _tracing(client, filters(traced)):
            while len(found) < ENOUGH and (left := seconds - (time.monotonic() - begun)) > 0:
                hub.sleep(min(_INTERVAL, left))
                found = parse_trace(_cli(client, f"show trace max {MOST}"))
    except VppError as error:
        raise NotReady(f"VPP cannot trace: {error}") from error
    return found


def filters(traced: TracedPath) -> tuple[str, ...]:
    """What a packet must match, as `classify filter` takes it: untagged IPv6 there, tagged IPv4 back."""
    return (f"mask l3 ip6 dst match l3 ip6 dst {traced.mapping.floating_ip}",
            f"mask l2 tag1 l3 ip4 src match l2 tag1 {traced.tenant.vlan} "
            f"l3 ip4 src {traced.mapping.fixed_ip}")


@contextlib.contextmanager
def _tracing(client: VppClient, matches: Iterable[str]) -> Iterator[None]:
    """Let VPP trace what matches. At the end of the context VPP traces nothing and has freed the memory."""
    try:
        _stop_tracing(client)  # filters of an agent that was killed may still be there
        for match in matches:
            _cli(client, f"classify filter trace {match}")
        _cli(client, f"trace add {_INPUT} {MOST} filter")
        yield
    finally:
        with contextlib.suppress(VppError):  # VPP may have died
            _stop_tracing(client)


def _stop_tracing(client: VppClient) -> None:
    _cli(client, "clear trace")
    _cli(client, "classify filter trace del")


def _cli(client: VppClient, command: str) -> str:
    return client.call("cli_inband", cmd=command).reply


# -- reading what was traced. Pure ----------------------------------------------------------------


def parse_trace(text: str) -> list[TracedPacket]:
    """Return the packets in the output of `show trace`: their nodes, and the lines of some (_SHOWN_WHOLE)."""
    found = [_parse_packet(packet.splitlines()) for packet in _PACKET.split(text)[1:]]
    if not found:
        return []
    first = min(begun for begun, _ in found)
    return [TracedPacket(round(begun - first, 6), lines) for begun, lines in sorted(found)]


def _parse_packet(lines: list[str]) -> tuple[float, tuple[str, ...]]:
    begun, nodes, texts = 0.0, [], []
    shown = False
    for line in lines:
        if (node := _NODE.match(line)) is not None:
            hours, minutes, seconds, micros = map(int, node.groups()[:4])
            begun = begun or hours * 3600 + minutes * 60 + seconds + micros / 1e6
            nodes.append(node[5])
            if shown := bool(_SHOWN_WHOLE.search(node[5])):
                texts.append(f"{node[5]}:")
        elif shown and line.strip() and not line.startswith("---"):
            texts.append(line.rstrip())
    return begun, (" > ".join(nodes), *texts)
