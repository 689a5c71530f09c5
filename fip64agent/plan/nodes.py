# SPDX-License-Identifier: Apache-2.0
"""What the engine computes is described by nodes, which are constants of the features' modules.

- `Input`: something that is given, by id;
- `Derived`: a pure function of an id, which asks for the values of other nodes;
- `Objects`: the same; its values are the plan's objects of one kind, or the reason why there is none;
- `Collected`: the values of other nodes, put together by a key: the floating IPs of a router.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from fip64agent.topology.model import Difference

Key = Hashable


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Input:
    """Values that are given."""

    name: str
    read: Callable[[Any], Mapping]
    """Takes the inputs, returns the values by key."""
    difference: Callable[[Any], Difference | None] = lambda inputs: None
    """Takes the inputs, returns what is known of how the values differ from earlier ones."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """Values that follow from others."""

    name: str
    compute: Callable[..., Any]
    """Takes ask(node, key), a key and, with `each`, that node's value; returns the value, None for none.
    Pure: what it knows, it has asked for."""
    reads: tuple[Node, ...] = ()
    """The nodes that `compute` asks."""
    each: Node | None = None
    """It has a value for each value of that node, under the same key. None: for what somebody asks for."""
    members_of: tuple[Collected, ...] = ()
    """Collections of ids that are this node's own: when one changes, all the ids in it are computed anew.
    `compute` asks for those that its id is in by ask.own(), which need not be noted."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The plan's objects of one kind. As Derived, but that `compute` returns (object, problem).

    Either may be None. Instead of one object, whose id is the key, there may be a tuple of objects with
    ids of their own. The problem is the key's.
    """

    kind: str
    compute: Callable[..., tuple[Any, Any]]
    each: Node
    reads: tuple[Node, ...] = ()

    @property
    def name(self) -> str:
        return self.kind


def edited_ids(ids: tuple | None, gone: list, come: list) -> tuple | None:
    """Return sorted ids without those that are gone and with those that have come; None for no ids.

    The `gather` of a Collected whose items are ids.
    """
    if not ids and not gone and len(come) == 1:  # by far the most
        return (come[0],)
    if len(gone) + len(come) > 8:
        return tuple(sorted({*(ids or ()), *come}.difference(set(gone).difference(come)))) or None
    edited = list(ids or ())
    for item in gone:
        del edited[bisect_left(edited, item)]
    for item in come:
        insort(edited, item)
    return tuple(edited) or None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """Items of other nodes' values, put together by key. One change costs no look at the other items."""

    name: str
    places: Mapping[Node, Callable[[Key, Any], Iterable[tuple[Key, Any]]]]
    """By source: takes a key and a value of it, returns (key to collect under, item). Pure."""
    gather: Callable[[Any, list, list], Any] = edited_ids
    """Takes the collection so far (None: there is none), the items that are gone, and those that have come;
    returns the new collection, or None when nothing is left. Never changes the old one."""
    empty: Any = ()
    """What is answered for a key with no items."""


Node = Input | Derived | Objects | Collected


def sources(node: Node) -> tuple[Node, ...]:
    """Return the nodes that a node reads."""
    if isinstance(node, Input):
        return ()
    if isinstance(node, Collected):
        return tuple(node.places)
    return (*node.reads, *([node.each] if node.each else ()), *getattr(node, "members_of", ()))


def in_order(roots: Iterable[Node]) -> list[Node]:
    """Return the nodes and all that they read, each after those.

    Raises: ValueError when nodes read each other.
    """
    ordered: dict[Node, None] = {}

    def put(node: Node, above: tuple[Node, ...]) -> None:
        if node in above:
            raise ValueError(f"nodes read each other: {' -> '.join(n.name for n in (*above, node))}")
        if node not in ordered:
            for source in sources(node):
                put(source, (*above, node))
            ordered[node] = None

    for root in roots:
        put(root, ())
    return list(ordered)
