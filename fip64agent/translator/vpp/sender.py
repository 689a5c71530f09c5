# SPDX-License-Identifier: Apache-2.0
"""Sends requests about items to VPP, all in one pipeline."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from fip64agent.exceptions import NotReady
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppError
from fip64agent.translator.vpp.items import Item
from fip64agent.translator.vpp.readback import State
from fip64agent.translator.vpp.requests import Request

WINDOW = 512
"""Requests that are sent ahead of VPP's answers."""
Failures = dict[Hashable, str]
"""Key of an item -> why it could not be made or removed."""
Pairs = Sequence[tuple[Item | None, Item]]
"""(what is installed or None, what should be)"""


class Sender:
    """One VPP, with what is known of it: as it was read back last, and changed since."""

    def __init__(self, client: VppClient, state: State) -> None:
        self.client = client
        self.state = state
        self.collateral = False
        """Something was made anew, and what was on it went with it: a read-back finds out."""

    def send(self, wanted: Sequence[Request], one_by_one: bool = False) -> list[Any]:
        """Return the reply to each request, or the VppError or ValueError. Raises: NotReady.

        one_by_one: for what takes VPP long, some 40 ms for a host-interface made or removed. It forwards
        nothing meanwhile, but between two.
        """
        answers = self.client.pipeline(wanted, window=1 if one_by_one else WINDOW) if wanted else []
        for answer in answers:
            if isinstance(answer, NotReady):
                raise answer
            if isinstance(answer, Exception) and not isinstance(answer, VppError | ValueError):
                raise answer
        return answers

    def run(self, work: Iterable[tuple[Item, Sequence[Request]]],
            accept: frozenset[int] = frozenset(), one_by_one: bool = False) -> Failures:
        """Send each item's requests. Returns why items failed; return values in `accept` are success."""
        work = list(work)
        answers = iter(self.send([request for _, several in work for request in several], one_by_one))
        failed: Failures = {}
        for item, several in work:
            for answer in [next(answers) for _ in several]:
                if isinstance(answer, Exception) and getattr(answer, "retval", None) not in accept:
                    failed.setdefault(item.key, str(answer))
        return failed
