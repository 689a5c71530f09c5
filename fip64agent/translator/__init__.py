# SPDX-License-Identifier: Apache-2.0
"""The translator drivers. This is the only place that knows which there are.

`choose()` says which one this host uses, `driver()` returns it, `translator_from()` makes its room.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable

from fip64agent.plan.inputs import Settings
from fip64agent.translator.base import Driver, Translator
from fip64agent.translator.room import TranslatorRoom

AUTO = "auto"
_DRIVERS = ("vpp", "tayga")
"""Names of packages here, each with a module `driver`. With "auto" the first that is usable is chosen; the
last one is always usable."""


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """Which driver, and why."""

    name: str
    reason: str


def driver(name: str) -> Driver:
    """Return the driver that [fip64] translator calls `name`."""
    return importlib.import_module(f"{__name__}.{name}.driver").DRIVER


def choose(conf) -> Choice:
    """Decide which driver translates. Nothing else reads [fip64] translator.

    It looks for programs in the file system. Call it once: packages may be installed at any time.
    """
    if conf.fip64.translator != AUTO:
        return Choice(conf.fip64.translator, f"[fip64] translator = {conf.fip64.translator}")
    reasons = []
    for name in _DRIVERS:
        if (is_usable := driver(name).usable) is None:
            break
        usable, reason = is_usable(conf)
        if usable:
            return Choice(name, reason)
        reasons.append(reason)
    return Choice(name, "; ".join(reasons))


def netns_prefix(conf) -> str:
    """Return what the names of all network namespaces of the agent begin with, whichever the driver."""
    return conf.tayga.netns_prefix


def fixed_settings(conf, name: str) -> Settings:
    """Return the settings of plan() that the driver called `name` brings; all others are the defaults."""
    return Settings(capabilities=driver(name).capabilities, netns_prefix=netns_prefix(conf))


def translator_from(conf, name: str, on_change: Callable[[], None] = lambda: None) -> Translator:
    """Return the room of the driver called `name`, not started. It also removes what other drivers have left.

    `on_change`: called when a read-back is worth while.
    """
    prefix = netns_prefix(conf)
    others = [driver(other).room(conf, prefix, lambda: None) for other in _DRIVERS if other != name]
    return TranslatorRoom(driver(name).room(conf, prefix, on_change), others)
