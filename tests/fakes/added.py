# SPDX-License-Identifier: Apache-2.0
"""A feature of another package, as it is installed beside ours: found by its entry points."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fip64agent.links import features as link_features
from fip64agent.plan import kinds, planner

NAME = "beacons_for_fip64"
MODULE = '''
import dataclasses
from ipaddress import IPv6Address, IPv6Interface
from typing import ClassVar

from fip64agent.links.model import ROUTER, Address, LinkFeature, Namespace, Neighbor, Veth
from fip64agent.plan.base.bindings import BINDINGS
from fip64agent.plan.inputs import PORTS
from fip64agent.plan.kinds import Feature, Kind
from fip64agent.plan.nodes import Collected, Objects
from fip64agent.plan.numbers import number_space


@dataclasses.dataclass(frozen=True, slots=True)
class Beacon:
    """Each VM port that is bound here has one."""

    kind: ClassVar[str] = "beacon"
    port_id: str
    channel: int
    netns: str = ""

    @property
    def key(self):
        return (self.kind, self.port_id)


_BOUND = Collected("bound ports with a beacon", {BINDINGS: lambda port_id, found: (("", port_id),)})
CHANNELS = number_space("channels", _BOUND, lambda ask: (1, 100))


def _beacon(ask, port_id, port):
    if port.is_router_port or not ask(BINDINGS, port_id):
        return None, None
    return Beacon(port_id, ask(CHANNELS.number, port_id)), None


FEATURE = Feature(
    "beacons",
    kinds=(Kind(Beacon.kind, "beacon", "beacons", after=("uplink",), numbers=((CHANNELS, "channel"),)),),
    planners=(Objects(Beacon.kind, _beacon, each=PORTS, reads=(BINDINGS, CHANNELS.number)),),
    numbers=(CHANNELS,))


def _links(beacon, mark):
    """A namespace, and a pair whose ends have names that no feature of ours gives."""
    yield Namespace(beacon.netns, ROUTER, owner=beacon.key)
    yield Veth("", f"light{beacon.channel}", beacon.netns, "lamp", mark, 1500, "02:be:ac:00:00:01", True,
               owner=beacon.key)
    yield Address(beacon.netns, "lamp", IPv6Interface("2001:db8:be::1/64"), beacon.key)
    yield Neighbor(beacon.netns, "lamp", IPv6Address("2001:db8:be::2"), "02:be:ac:00:00:02", beacon.key)


LINKS = LinkFeature({Beacon.kind: _links})
'''
GROUPS = {kinds.GROUP: "FEATURE", link_features.GROUP: "LINKS"}
"""Entry point group -> what of the module it names."""


def _forget() -> None:
    for cached in (kinds.features, kinds.kinds, planner._planners, planner._nodes,
                   link_features._by_kind):
        cached.cache_clear()


@contextlib.contextmanager
def installed(directory: Path) -> Iterator[ModuleType]:
    """Put the package into a directory, and that into the module search path; yield its module."""
    (directory / f"{NAME}.py").write_text(MODULE)
    about = directory / f"{NAME}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "".join(f"[{group}]\nbeacons = {NAME}:{attribute}\n" for group, attribute in GROUPS.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(directory))
        _forget()
        try:
            yield importlib.import_module(NAME)
        finally:
            _forget()
            sys.modules.pop(NAME, None)
