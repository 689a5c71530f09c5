# SPDX-License-Identifier: Apache-2.0
"""The driver vpp, before its room is made."""

from __future__ import annotations

from collections.abc import Callable

from fip64agent.exceptions import EnvironmentMissing
from fip64agent.plan.inputs import Capabilities
from fip64agent.translator.base import Driver
from fip64agent.translator.vpp import installation, startup
from fip64agent.translator.vpp.links import VppLayout
from fip64agent.translator.vpp.room import VppRoom

LARGEST_POOL = 1 << 22
"""Pool addresses that the plugin handles for one tenant, at most: a /10."""


def _usable(conf) -> tuple[bool, str]:
    """Return whether VPP and its plugin are installed, or VPP is external; and the reason."""
    if conf.vpp.launch == "external":
        return True, "[vpp] launch = external"
    try:
        found = installation.find(conf.vpp.binary, conf.vpp.plugin_path)
    except EnvironmentMissing as error:
        return False, str(error)
    if found.missing:
        return False, found.missing
    return True, f"{found.binary} and {found.plugin} are there"


def _room(conf, netns_prefix: str, on_change: Callable[[], None]) -> VppRoom:
    return VppRoom.from_conf(conf, on_change=on_change)


DRIVER = Driver(
    name="vpp",
    capabilities=Capabilities(shared_downlink=True, largest_pool=LARGEST_POOL, configurable=True),
    usable=_usable,
    check=startup.check,
    layout=lambda netns_prefix: VppLayout(),
    room=_room)
