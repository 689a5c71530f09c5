# SPDX-License-Identifier: Apache-2.0
"""What executes FIP64: `choose()` says which driver, `translator_from()` makes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from fip64agent.exceptions import EnvironmentMissing
from fip64agent.translator.base import Translator
from fip64agent.translator.succession import Succession

TAYGA, VPP, AUTO = "tayga", "vpp", "auto"


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """Which driver, and why."""

    name: str
    reason: str


def choose(conf) -> Choice:
    """Decide what executes the translation. Nobody else reads [fip64] translator.

    Looks at the file system: ask once, a package may be installed any time.
    """
    from fip64agent.translator.vpp import installation

    if conf.fip64.translator != AUTO:
        return Choice(conf.fip64.translator, f"[fip64] translator = {conf.fip64.translator}")
    if conf.vpp.launch == "external":
        return Choice(VPP, "[vpp] launch = external")
    try:
        found = installation.find(conf.vpp.binary, conf.vpp.plugin_path)
    except EnvironmentMissing as error:
        return Choice(TAYGA, str(error))
    if found.missing:
        return Choice(TAYGA, found.missing)
    return Choice(VPP, f"{found.binary} and {found.plugin} are there")


def translator_from(conf, name: str, on_change: Callable[[], None] = lambda: None) -> Translator:
    """Return the driver called `name`, not started; it also removes what another one has left."""
    from fip64agent.translator.tayga.room import TaygaRoom
    from fip64agent.translator.vpp.room import VppRoom

    def tayga(on_change) -> Translator:
        return TaygaRoom(run_path=conf.run_path, state_path=conf.state_path, binary=conf.tayga.binary,
                         netns_prefix=conf.tayga.netns_prefix, on_change=on_change)

    def vpp(on_change) -> Translator:
        return VppRoom.from_conf(conf, on_change=on_change)

    drivers = {TAYGA: tayga, VPP: vpp}
    active = drivers.pop(name)(on_change)
    return Succession(active, [make(lambda: None) for make in drivers.values()])
