# SPDX-License-Identifier: Apache-2.0
"""What did not change between two topologies stays the same object."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from fip64agent.topology.model import Topology


def reuse(old: Topology, new: Topology) -> Topology:
    """Return a topology equal to `new`, made of the very objects of `old` wherever they are equal.

    So ``is`` tells what changed. A kind without any change, order included, is the very mapping
    of `old`; without any change at all the result is `old`.
    """
    kinds = {field.name: _reuse_kind(getattr(old, field.name), getattr(new, field.name))
             for field in dataclasses.fields(Topology)}
    if all(kinds[name] is getattr(old, name) for name in kinds):
        return old
    return Topology(**kinds)


def _reuse_kind(old: Mapping, new: Mapping) -> Mapping:
    result = {}
    for item_id, item in new.items():
        before = old.get(item_id)
        result[item_id] = before if before == item else item
    unchanged = len(old) == len(result) and all(
        before is item for before, item in zip(old.values(), result.values(), strict=True))
    return old if unchanged else MappingProxyType(result)
