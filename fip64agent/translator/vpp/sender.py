# SPDX-License-Identifier: Apache-2.0
"""Sends requests about items to VPP, and says which items VPP refused."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from fip64agent.exceptions import NotReady
from fip64agent.translator.vpp import requests
from fip64agent.translator.vpp.api.client import VppClient
from fip64agent.translator.vpp.api.errors import VppError, explain
from fip64agent.translator.vpp.api.pipeline import Request
from fip64agent.translator.vpp.items import Item

WINDOW = 512
"""Requests that are sent ahead of VPP's answers."""
Failures = dict[Hashable, str]
"""{key of an item: why it could not be made or removed}"""


class Sender:
    """Sends to one VPP, many requests at a time."""

    def __init__(self, client: VppClient) -> None:
        self.client = client

    def send(self, wanted: Sequence[Request], one_by_one: bool = False) -> list[Any]:
        """Return for each request the reply, or a VppError or ValueError. Raises: NotReady.

        one_by_one: send each request after the answer to the one before. For requests that take VPP long: a
        host-interface takes 40 ms, in which VPP forwards no packets; between two of them it does.
        """
        answers = self.client.pipeline(wanted, window=1 if one_by_one else WINDOW) if wanted else []
        for answer in answers:
            if isinstance(answer, NotReady):
                raise answer
            if isinstance(answer, Exception) and not isinstance(answer, VppError | ValueError):
                raise answer
        return answers

    def send_each(self, work: Iterable[tuple[Item, Sequence[Request]]],
                  accept: frozenset[int] = frozenset(), one_by_one: bool = False) -> Failures:
        """Send the requests of each item, and return why items failed. Raises: NotReady.

        accept: return values that count as success. one_by_one: as for send().
        """
        work = list(work)
        answers = iter(self.send([request for _, several in work for request in several], one_by_one))
        failed: Failures = {}
        for item, several in work:
            for answer in [next(answers) for _ in several]:
                if isinstance(answer, Exception) and getattr(answer, "retval", None) not in accept:
                    failed.setdefault(item.key, str(answer))
        return failed

    def send_batches(self, items: Sequence[Item],
                     make: Callable[[Sequence], Request]) -> dict[Hashable, int | str]:
        """Send requests that are about many items each. Raises: NotReady.

        make: returns the request for a part of the items. Returns for the key of each item that VPP refused
        its return value, or a reason in words.
        """
        parts = list(requests.batches(items))
        refused: dict[Hashable, int | str] = {}
        for part, answer in zip(parts, self.send([make(part) for part in parts]), strict=True):
            if not isinstance(answer, Exception):
                continue
            values = getattr(getattr(answer, "reply", None), "retvals", None)
            if values is None or len(values) != len(part):
                refused.update((item.key, str(answer)) for item in part)
            else:
                refused.update((item.key, value) for item, value in zip(part, values, strict=True) if value)
        return refused


def reasons(refused: dict[Hashable, int | str]) -> Failures:
    """Return what send_batches() returned in words."""
    return {key: why if isinstance(why, str) else f"VPP refused it: {explain(why)}"
            for key, why in refused.items()}
