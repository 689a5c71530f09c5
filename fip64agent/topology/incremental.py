# SPDX-License-Identifier: Apache-2.0
"""Loads a document of which most entries are known from the load before.

A large file takes seconds to parse, and mostly one floating IP in it is new. Known entries (see
entries.py) are taken over as the objects they are; the text without them is a small document,
read in the ordinary way. How all resources fit together is then checked in the ordinary way too.
So the result is that of loader.parse(), or there is none: at the least doubt or fault nothing is
reported here, and loader.parse() has to look at the whole text.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from fip64agent.topology import entries
from fip64agent.topology.attributes import SECTIONS
from fip64agent.topology.check import Checker, Draft
from fip64agent.topology.document import Unreadable
from fip64agent.topology.entries import Index, Section
from fip64agent.topology.loader import read_items
from fip64agent.topology.model import FloatingIP
from fip64agent.topology.problems import Collector, GiveUp
from fip64agent.topology.reuse import reuse


def load_again(data: bytes, known: Index, limit: int) -> Index | None:
    """Return the index, with the topology, of `data`; None when only the ordinary way can tell.

    `known`: of the load before; its objects are reused where they are equal. `limit`: so many
    bytes of unknown entries are read here.
    """
    with _without_gc():
        return _load_again(data, known, limit)


@contextlib.contextmanager
def _without_gc() -> Iterator[None]:
    """Keep the collector from running, which would stop all threads until it has seen each object.

    The many objects made meanwhile would call for it, but nearly all are gone again by the end.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _load_again(data: bytes, known: Index, limit: int) -> Index | None:
    sections = entries.split(data)
    if sections is None or not all(section.name in SECTIONS for section in sections):
        return None
    places: dict[str, list[int | None]] = {}
    digests: dict[str, bytes] = {}
    for section in sections:
        found = list(map(entries.digest, section.entries(data)))
        places[section.name] = _places(found, known.digests.get(section.name, b""))
        digests[section.name] = b"".join(found)
    rest = _without_known(data, sections, places)
    del sections
    if len(rest) > limit:
        return None
    collector = Collector()
    try:
        document, unknown = read_items(rest, collector)
        unknowns = {name: where.count(None) for name, where in places.items()}
        if collector.count or not entries.agrees(unknowns, document):
            return None
        draft = _merged(places, unknown, known, collector)
        given = bytes(map(entries.given, draft.objects["floatingips"].values()))
        topology = Checker(draft, collector).topology()
    except (Unreadable, GiveUp):
        return None
    if collector.count:
        return None
    return Index(reuse(known.topology, topology), digests, given)


def _places(found: list[bytes], known: bytes) -> list[int | None]:
    """Return which known entry each one found is."""
    size = entries.DIGEST_SIZE
    if b"".join(found) == known:
        return list(range(len(found)))
    by_digest = {known[start:start + size]: start // size for start in range(0, len(known), size)}
    return [by_digest.get(one) for one in found]


def _without_known(data: bytes, sections: list[Section], places: dict[str, list[int | None]]) -> bytes:
    pieces = [data[:sections[0].start]] if sections else [data]
    for section in sections:
        pieces.append(data[section.start:section.bounds[0]])
        bounds = section.bounds
        pieces += [data[bounds[number]:bounds[number + 1]]
                   for number, place in enumerate(places[section.name]) if place is None]
    return b"".join(pieces)


def _merged(places: dict[str, list[int | None]], unknown: Draft, known: Index, collector: Collector) -> Draft:
    """Return the draft of the whole document. Raises: GiveUp."""
    draft = Draft(SECTIONS, collector)
    for name, where in places.items():
        before = _as_written(known) if name == "floatingips" else list(getattr(known.topology, name).values())
        new = iter(unknown.objects[name].values())
        for index, place in enumerate(where):
            draft.put(name, index, next(new) if place is None else before[place], None)
    return draft


def _as_written(known: Index) -> list[FloatingIP]:
    """Return the floating IPs without what followed from other resources: that may be different now."""
    return [FloatingIP(fip.id, fip.floating_network_id, fip.floating_ip_address, fip.port_id,
                       fip.fixed_ip_address if given & entries.FIXED_IP_GIVEN else None,
                       fip.router_id if given & entries.ROUTER_GIVEN else None)
            for fip, given in zip(known.topology.floatingips.values(), known.given, strict=True)]
