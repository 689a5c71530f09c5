# SPDX-License-Identifier: Apache-2.0
"""What executes FIP64; `translator_from()` picks the driver that the configuration names."""

from __future__ import annotations

from collections.abc import Callable

from fip64agent.translator.base import Translator


def translator_from(conf, on_change: Callable[[], None] = lambda: None) -> Translator:
    """Return the driver for [fip64] translator, not started."""
    from fip64agent.translator.tayga.room import TaygaRoom

    return TaygaRoom(run_path=conf.run_path, state_path=conf.state_path, binary=conf.tayga.binary,
                     netns_prefix=conf.tayga.netns_prefix, on_change=on_change)
