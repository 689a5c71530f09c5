# SPDX-License-Identifier: Apache-2.0
"""Computes what follows from inputs, and after a change only what depends on what really changed.

An `Engine` holds the values of all nodes (fip64agent.plan.nodes) for one set of inputs. While a node's
function runs, the engine notes what it asks for. When inputs change, the nodes are gone through once, each
after those that it reads; a value that comes out equal to what it was stops the change there. From scratch
is the same with nothing known before, so both come to the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from fip64agent.plan.dependencies import Link, Record
from fip64agent.plan.difference import changed_keys, shared
from fip64agent.plan.nodes import Collected, Derived, Input, Key, Node, Objects
from fip64agent.plan.problems import object_id

Change = tuple[Key, Any, Any]
"""(key, value before, value after); None where there is none."""
_MISSING = object()


class _Values:
    """Values of one node, and who has asked for them."""

    __slots__ = ("changes", "each_of", "links", "members_of", "node", "values")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.values: Mapping[Key, Any] = {}
        self.changes: list[Change] = []
        """Of this run."""
        self.links: list[Link] = []
        """To the nodes that ask for values of this one."""
        self.each_of: list[_Function] = []
        self.members_of: list[_Function] = []

    def missing(self, key: Key) -> Any:
        """Return the value of a key that there is none for."""
        return None

    def not_asked(self, key: Key) -> None:
        """Take note that nobody of a reader asks for a key any more."""

    def tell(self, first: bool) -> None:
        """Mark all as due that depends on what has changed. `first`: nobody has asked for anything yet."""
        for reader in self.each_of:
            due = reader.due
            for change in self.changes:
                due[change[0]] = None
        if first:
            return
        for link in self.links:
            asked_by, due = link.asked_by, link.reader.due
            for change in self.changes if asked_by else ():
                found = asked_by.get(change[0])
                if found is not None:
                    for record in found if type(found) is dict else (found,):
                        keys = record.keys
                        due.update(keys if type(keys) is dict else {keys: None})
        for reader in self.members_of:
            for _, before, after in self.changes:
                reader.due.update(dict.fromkeys((*(before or ()), *(after or ()))))


class _Given(_Values):
    __slots__ = ()

    def __init__(self, node: Input, engine: Engine) -> None:
        super().__init__(node)

    def take(self, inputs: Any) -> None:
        before, after = self.values, self.node.read(inputs)
        keys = changed_keys(before, after, self.node.difference(inputs)) if before else sorted(after)
        self.changes = [(key, before.get(key), after.get(key)) for key in keys]
        self.values = after


class _Function(_Values):
    """Values that are computed."""

    __slots__ = ("compute", "due", "each", "engine", "orphans", "reads", "records", "sources")

    def __init__(self, node: Derived | Objects, engine: Engine) -> None:
        super().__init__(node)
        self.engine = engine
        self.compute = node.compute
        self.due: dict[Key, None] = {}
        self.reads: dict[Key, Record] = {}
        """By own key."""
        self.records: dict[tuple, Record] = {}
        """By what was asked: all that are in `reads`."""
        self.orphans: set[Key] = set()
        """Keys that somebody does not ask for any more."""
        self.sources = {source: Link(self, engine.values_of(source)) for source in node.reads}
        self.each = engine.values_of(node.each) if node.each else None
        if self.each is not None:
            self.each.each_of.append(self)
        for collection in getattr(node, "members_of", ()):
            engine.values_of(collection).members_of.append(self)

    def not_asked(self, key: Key) -> None:
        self.orphans.add(key)

    def missing(self, key: Key) -> Any:
        if self.each is not None:
            return None
        engine = self.engine
        outer = engine.reader, engine.reads
        engine.reader = self
        self.values[key] = value = self.run(key)
        engine.reader, engine.reads = outer
        return value

    def run(self, key: Key, *given: Any) -> Any:
        """Compute the value of a key, and note what it depends on."""
        engine = self.engine
        engine.reads = []
        value = self.compute(engine, key, *given)
        if engine.reads or key in self.reads:
            self.note(key, tuple(engine.reads))
        return value

    def note(self, key: Key, reads: tuple) -> None:
        """Note what the value of a key depends on, instead of what it did before."""
        before = self.reads.get(key)
        if before is not None:
            if before.reads == reads:
                return
            if not before.remove(key):
                self.drop(before)
        if not reads:
            self.reads.pop(key, None)
            return
        record = self.records.get(reads)
        if record is not None:
            record.add(key)
        else:
            record = self.records[reads] = Record(reads, key)
            pairs = iter(reads)
            for link, asked in zip(pairs, pairs, strict=True):
                link.add(asked, record)
        self.reads[key] = record

    def drop(self, record: Record) -> None:
        """Forget a record that no key has any more."""
        del self.records[record.reads]
        pairs = iter(record.reads)
        for link, asked in zip(pairs, pairs, strict=True):
            link.remove(asked, record)

    def update(self) -> None:
        """Compute what is due."""
        due, self.due = self.due, {}
        self.engine.reader = self
        each, values, changes = self.each, self.values, self.changes
        for key in due:
            before = values.get(key)
            if each is None:
                if key not in values:  # not asked for any more
                    continue
                after = self.run(key)
            elif (given := each.values.get(key)) is None:
                after = None
                self.note(key, ())
            else:
                after = self.run(key, given)
            if after is before or (before is not None and after == before):
                continue
            if after is None and each is not None:
                del values[key]
            else:
                values[key] = after
            changes.append((key, before, after))

    def drop_orphans(self) -> None:
        """Forget the values that nobody asks for any more."""
        orphans, self.orphans = self.orphans, set()
        if self.each is None:
            for key in orphans:
                if key in self.values and not any(key in link.asked_by for link in self.links):
                    del self.values[key]
                    self.note(key, ())


class _Planned(_Function):
    """Objects of the plan. Their mapping is handed out, so it is copied before it is changed."""

    __slots__ = ("_own", "_several", "problems")

    def __init__(self, node: Objects, engine: Engine) -> None:
        super().__init__(node, engine)
        self._own = True
        self._several: dict[Key, tuple] = {}
        """By key: the objects, where it has several."""
        self.problems: dict[Key, Any] = {}

    def handed_out(self) -> Mapping[str, Any]:
        """Return the objects by id. The very same mapping as before when nothing has changed."""
        if self._own:
            self.values, self._own = MappingProxyType(self.values), False
        return self.values

    def keep(self, before: Mapping[str, Any]) -> None:
        """Take the objects of an earlier plan wherever they are equal."""
        self.values, self._own = shared(before, self.handed_out()), False

    def update(self) -> None:
        due, self.due = self.due, {}
        self.engine.reader = self
        each, problems, several = self.each.values, self.problems, self._several
        for key in due:
            given = each.get(key)
            if given is None:
                self.note(key, ())
                found = problem = None
            else:
                found, problem = self.run(key, given)
            if (problem is not None or key in problems) and problem != problems.get(key):
                self.engine.problems_changed = True
                if problem is None:
                    del problems[key]
                else:
                    problems[key] = problem
            if type(found) is tuple or key in several:
                self._put_several(key, found or ())
            else:
                self._put(key, found)

    def _put_several(self, key: Key, objects: Any) -> None:
        found = {object_id(obj): obj for obj in (objects if type(objects) is tuple else (objects,))}
        for old in self._several.pop(key, ()):
            if object_id(old) not in found:
                self._put(object_id(old), None)
        for name, obj in found.items():
            self._put(name, obj)
        if found:
            self._several[key] = tuple(found.values())

    def _put(self, name: Key, after: Any) -> None:
        before = self.values.get(name)
        if before is after or (before is not None and before == after):
            return
        if not self._own:
            self.values, self._own = self.values.copy(), True
        if after is None:
            del self.values[name]
        else:
            self.values[name] = after
        self.changes.append((name, before, after))


class _Collection(_Values):
    __slots__ = ("places",)

    def __init__(self, node: Collected, engine: Engine) -> None:
        super().__init__(node)
        self.places = [(engine.values_of(source), place) for source, place in node.places.items()]

    def missing(self, key: Key) -> Any:
        return self.node.empty

    def update(self) -> None:
        gone: dict[Key, list] = {}
        come: dict[Key, list] = {}
        for source, place in self.places:
            for name, before, after in source.changes:
                old = tuple(place(name, before)) if before is not None else ()
                new = place(name, after) if after is not None else ()
                if old:
                    new = tuple(new)
                    if old == new:
                        continue
                    for key, item in old:
                        gone.setdefault(key, []).append(item)
                for key, item in new:
                    if key in come:
                        come[key].append(item)
                    else:
                        come[key] = [item]
        gather, values = self.node.gather, self.values
        for key in come if not gone else {**come, **gone}:
            before = values.get(key)
            after = gather(before, gone.get(key, ()), come.get(key, ()))
            if after is before or (before is not None and after == before):
                continue
            if after is None:
                del values[key]
            else:
                values[key] = after
            self.changes.append((key, before, after))


_BY_TYPE: dict[type, Callable[..., _Values]] = {
    Input: _Given, Derived: _Function, Objects: _Planned, Collected: _Collection}


class Engine:
    """The values of all nodes. It is what `compute` functions get as `ask`."""

    __slots__ = (
        "_ordered", "_problems", "_values", "problems_changed", "reader", "reads", "version")

    def __init__(self, nodes: Iterable[Node]) -> None:
        """`nodes`: in the order of in_order()."""
        self._values: dict[Node, _Values] = {}
        self.reader: _Function | None = None
        """The node that computes just now."""
        self.reads: list = []
        """What it has asked for."""
        self.version = 0
        """Counts the updates."""
        self._problems: Mapping[tuple[str, Key], Any] = MappingProxyType({})
        self.problems_changed = False
        for node in nodes:
            self._values[node] = _BY_TYPE[type(node)](node, self)
        self._ordered = list(self._values.values())

    def __call__(self, node: Node, key: Key) -> Any:
        """Return the value of a node under a key, and note that it was asked for.

        Raises: LookupError when the asking node does not say that it reads that one.
        """
        try:
            link = self.reader.sources[node]
        except KeyError:
            raise LookupError(f"{self.reader.node.name} asks {node.name}, which it does not read") from None
        self.reads += link, key
        value = link.source.values.get(key, _MISSING)
        return value if value is not _MISSING else link.source.missing(key)

    def own(self, node: Collected, key: Key) -> Any:
        """Return a collection, out of `members_of`, that the asking key is in."""
        return self._values[node].values[key]

    def value(self, node: Derived, key: Key) -> Any:
        """Return the value of a node under a key, for somebody outside of the engine."""
        values = self._values[node]
        value = values.values.get(key, _MISSING)
        return value if value is not _MISSING else values.missing(key)

    def values_of(self, node: Node) -> _Values:
        return self._values[node]

    def update(self, inputs: Any) -> None:
        """Bring all values to what follows from `inputs`. What was handed out stays as it is."""
        self.version += 1
        first = self.version == 1
        for values in self._ordered:
            values.take(inputs) if isinstance(values, _Given) else values.update()
            if values.changes:
                values.tell(first)
        for values in reversed(self._ordered):
            values.changes = []
            if isinstance(values, _Function):
                values.drop_orphans()

    def keep(self, objects: Mapping[str, Mapping], problems: Mapping) -> None:
        """Take the objects (by kind and id) and problems of an earlier plan wherever they are equal."""
        for values in self._ordered:
            if isinstance(values, _Planned):
                values.keep(objects.get(values.node.kind, {}))
        self._problems = shared(problems, self.problems())

    def objects(self, node: Objects) -> Mapping[str, Any]:
        """Return the objects of a kind, by id."""
        return self._values[node].handed_out()

    def problems(self) -> Mapping[tuple[str, Key], Any]:
        """Return all problems, by (kind, key). The very same mapping as before when nothing has changed."""
        if self.problems_changed:
            self.problems_changed = False
            planned = [values for values in self._ordered if isinstance(values, _Planned)]
            found = {(values.node.kind, key): problem
                     for values in planned for key, problem in values.problems.items()}
            self._problems = shared(self._problems, found)
        return self._problems
