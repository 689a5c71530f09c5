# SPDX-License-Identifier: Apache-2.0
"""What executes FIP64. The only place that knows which drivers there are.

`choose()` says which one is the host's, `driver()` returns it, `translator_from()` makes its room.
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
"""Names, which are those of packages here with a module `driver`. With "auto" the first that is usable is
taken; the last one always is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """Which driver, and why."""

    name: str
    reason: str


def driver(name: str) -> Driver:
    """Return the driver with that name in [fip64] translator."""
    return importlib.import_module(f"{__name__}.{name}.driver").DRIVER


def choose(conf) -> Choice:
    """Decide what executes the translation. Nobody else reads [fip64] translator.

    Looks at the file system: ask once, a package may be installed any time.
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
    """Return the driver called `name`, not started; it also removes what another one has left."""
    prefix = netns_prefix(conf)
    others = [driver(other).room(conf, prefix, lambda: None) for other in _DRIVERS if other != name]
    return TranslatorRoom(driver(name).room(conf, prefix, on_change), others)
