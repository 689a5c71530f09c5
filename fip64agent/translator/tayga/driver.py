# SPDX-License-Identifier: Apache-2.0
"""The driver tayga, before its room is made."""

from __future__ import annotations

from collections.abc import Callable

from fip64agent.plan.inputs import Capabilities
from fip64agent.translator.base import Driver
from fip64agent.translator.tayga.links import TaygaLayout
from fip64agent.translator.tayga.room import TaygaRoom


def _room(conf, netns_prefix: str, on_change: Callable[[], None]) -> TaygaRoom:
    return TaygaRoom(run_path=conf.run_path, state_path=conf.state_path, binary=conf.tayga.binary,
                     netns_prefix=netns_prefix, on_change=on_change)


DRIVER = Driver(
    name="tayga",
    # tayga does not use the first address of a pool, and the second one is its own.
    capabilities=Capabilities(pools_are_prefixes=True, kept_addresses=2),
    layout=TaygaLayout,
    room=_room)
