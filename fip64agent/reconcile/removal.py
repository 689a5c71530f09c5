# SPDX-License-Identifier: Apache-2.0
"""Removes all that is installed on this host and carries our marks."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping

from fip64agent.exceptions import NotReady
from fip64agent.reconcile.room import Item, Room

LOG = logging.getLogger(__name__)


def remains(room: Room) -> Mapping[Hashable, Item]:
    """Return what has to be removed. An item that is removed together with another one may be left out.

    Raises: NotReady.
    """
    return getattr(room, "remains", room.actual)()


def remove_all(rooms: Mapping[str, Room]) -> list[str]:
    """Remove all that carries our marks, flows first.

    `rooms`: by name, in the order in which things are made.
    Returns: what could not be removed, in words.
    """
    problems = []
    for name, room in reversed(rooms.items()):
        try:
            if not hasattr(room, "remains") and (reason := room.ready()):
                raise NotReady(reason)
            items = remains(room)
        except NotReady as error:
            problems.append(f"{name}: {error}")
            continue
        failed = room.prune(list(items.values()))
        problems += [f"{name}: {items[key]}: {reason}" for key, reason in failed.items()]
        LOG.info("%s: %d removed", name, len(items) - len(failed))
    return problems
