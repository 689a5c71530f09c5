# SPDX-License-Identifier: Apache-2.0
"""Which links in the agent's own namespace are ours.

They are known by their names: of a pair only the first end has a mark.
"""

from __future__ import annotations

from collections.abc import Iterable

from fip64agent.links.model import LinkItem, Veth


class OwnLinks:
    """The names of our links in the agent's own namespace: of those that were read back, and of those that
    are wanted, also while another link has the name. Until something was read back, every link may be ours.

    A name too many does no harm: a change of that link leads to a read-back.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._known = False

    def __contains__(self, name: str) -> bool:
        return not self._known or name in self._names

    def note_read_back(self, items: Iterable[LinkItem]) -> None:
        """Note what is installed: all of it."""
        self.add(items)
        self._known = True

    def add(self, items: Iterable[LinkItem]) -> None:
        """Note what is wanted."""
        for item in items:
            if type(item) is Veth:
                self._names.update(_names(item))

    def remove(self, items: Iterable[LinkItem]) -> None:
        """Note what is not wanted any more."""
        for item in items:
            if type(item) is Veth:
                self._names.difference_update(_names(item))


def _names(pair: Veth) -> list[str]:
    """Return the names of those ends of a pair that are in the agent's own namespace."""
    return [name for netns, name in ((pair.netns, pair.name), (pair.peer_netns, pair.peer)) if not netns]
