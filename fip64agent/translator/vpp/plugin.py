# SPDX-License-Identifier: Apache-2.0
"""Makes and removes the plugin's mappings and static bindings, many in each message."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence

from fip64agent.translator.vpp import requests
from fip64agent.translator.vpp.api.errors import explain
from fip64agent.translator.vpp.items import Binding, Mapping
from fip64agent.translator.vpp.readback import ALL, static_bindings
from fip64agent.translator.vpp.requests import Request
from fip64agent.translator.vpp.sender import Failures, Pairs, Sender

ENTRY_ALREADY_EXISTS = -116


class Plugin:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def make_mappings(self, pairs: Pairs) -> Failures:
        items = [item for _, item in pairs]
        refused = self._batched(items, requests.mappings)
        # A fixed address leads to one floating address. Its holder goes or moves too, only later.
        contested = [item for item in items if refused.get(item.key) == ENTRY_ALREADY_EXISTS]
        if contested:
            wanted = {(item.table, item.fixed) for item in contested}
            found = self._sender.client.dump("fip64_mapping_dump", table_id=ALL)
            holders = [detail.mapping for detail in found
                       if (detail.mapping.table_id, detail.mapping.fixed) in wanted]
            for part in requests.batches(holders):
                self._sender.send([requests.mappings(part, False)])
            refused = {key: why for key, why in refused.items() if why != ENTRY_ALREADY_EXISTS}
            refused |= self._batched(contested, requests.mappings)
        return _told(refused)

    def make_bindings(self, pairs: Pairs) -> Failures:
        items = [item for _, item in pairs]
        moved = [was for was, _ in pairs if was is not None]
        self._batched(moved, functools.partial(requests.bindings, is_add=False))
        refused = self._batched(items, requests.bindings)
        contested = [item for item in items if refused.get(item.key)]
        if contested:
            wanted = {(item.table, item.address) for item in contested}
            holders = [detail.binding for detail in static_bindings(self._sender.client)
                       if (detail.binding.table_id, detail.binding.pool_address) in wanted]
            for part in requests.batches(holders):
                self._sender.send([requests.bindings(part, False)])
            refused = self._batched(contested, requests.bindings) if holders else refused
        return _told(refused)

    def _batched(self, items: Sequence, make: Callable[[Sequence], Request]) -> dict[Hashable, int | str]:
        """Send many items in each message. Returns what VPP refused: its return value, or a reason."""
        parts = list(requests.batches(items))
        refused: dict[Hashable, int | str] = {}
        for part, answer in zip(parts, self._sender.send([make(part) for part in parts]), strict=True):
            if not isinstance(answer, Exception):
                continue
            values = getattr(getattr(answer, "reply", None), "retvals", None)
            if values is None or len(values) != len(part):
                refused.update((item.key, str(answer)) for item in part)
            else:
                refused.update((item.key, value) for item, value in zip(part, values, strict=True) if value)
        return refused

    def remove(self, kind: type, items: Sequence[Mapping | Binding]) -> Failures:
        """Remove mappings, or bindings. Gone already is success."""
        make = requests.mappings if kind is Mapping else requests.bindings
        return _told(self._batched(items, functools.partial(make, is_add=False)))


def _told(refused: dict[Hashable, int | str]) -> Failures:
    return {key: why if isinstance(why, str) else f"VPP refused it: {explain(why)}"
            for key, why in refused.items()}
