# SPDX-License-Identifier: Apache-2.0
"""How the objects of a kind are listed, by the agent and by fip64ctl.

This module and those in `listings/` import little, as fip64ctl starts a new process with each call.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fip64agent import discovery

if TYPE_CHECKING:
    from fip64agent.admin.state import State, States

GROUP = "fip64agent.listings"
"""Entry points of other packages: each names a Listing."""
STATE_COLUMNS = ("state", "reason", "cause")
"""What each row has behind its own fields."""


_declaration = functools.partial(dataclasses.dataclass, frozen=True, slots=True, eq=False, repr=False)
"""Without the methods that nobody calls: dataclasses compiles each one anew with every call of fip64ctl."""


@_declaration
class ExternalFault:
    """Something wrong outside of this host that affects an object."""

    reason: str
    while_active: str
    """A sentence with the reason in it, for the time in which the object works all the same."""


@_declaration
class Gauge:
    """A metric: numbers that may rise and fall."""

    name: str
    help: str
    labels: Sequence[str]
    samples: Mapping[tuple[str, ...], float]
    """By the values of the labels."""


@_declaration
class Details:
    """What ``fip64ctl <kind> show <one>`` is made of."""

    help: str
    metavar: str
    """What the argument is called in the help: "FIP"."""
    known_by: Sequence[str]
    """What the argument may be: ("id", "address")."""
    find: Callable[[States, str], str | None]
    """Returns the id of the object that the argument names; None: there is none."""
    fields: Callable[[States, str], dict[str, Any]]
    """Returns further fields of an object, shown behind its row; empty when it is not in the plan."""
    completed_from: str = "id"
    """The column of the list that has what bash offers for the argument."""


@_declaration
class Listing:
    """How the objects of one kind are listed.

    The functions are called in the agent. `states` is the state of this moment, `name` an object's id, `obj`
    the object itself.
    """

    kind: str
    """Name of the kind, as plan.kinds has it: ``fip64ctl <kind> list``."""
    title: str
    titles: str
    """Singular and plural of what an object is called: as Kind.title and Kind.titles, which fip64ctl does not
    import."""
    help: str = ""
    """What ``fip64ctl <kind> list --help`` says; "": there is no such list."""
    path: str = ""
    """Where the admin API has the list: "fips"."""
    columns: Sequence[str] = ("id", *STATE_COLUMNS)
    """All columns: of JSON, YAML and --long."""
    short: Sequence[str] = ()
    """Those of the other formats without --long; (): all."""
    table: Sequence[str] = ()
    """Those of a table for people without --long, in this order; (): all."""
    below: Sequence[str] = ("reason",)
    """Columns of long text."""
    by_state: bool = False
    """Whether ``list`` has the option --state."""
    headline: bool = False
    """Whether ``fip64ctl status`` begins with the number of those that are active."""

    row: Callable[[States, str], dict[str, Any]] = lambda states, name: {"id": name}
    """Returns an object's own fields."""
    label: Callable[[States, str], str] = lambda states, name: name
    """Returns what an operator calls the object."""
    details: Details | None = None
    absent: Callable[[States, str], State | None] = lambda states, name: None
    """Returns the state of an object that is neither in the plan nor a problem; None: it is waited for."""
    common: Callable[[States, str, str], str] = lambda states, name, reason: ""
    """Returns the reason of a pending object in words that fit all objects that wait for the same; "": the
    reason itself fits."""
    parts: Callable[[States, Any], Iterable[tuple[str, str]]] = lambda states, obj: ()
    """Returns the keys, or their first two parts, of objects that are parts of `obj`, which is not active
    until they are installed."""
    waits: Callable[[States, Any], Iterable[str]] | None = None
    """Returns the names of the interfaces that `obj` waits for; None: those of Kind.waits."""
    check: Callable[[States, str], State | None] | None = None
    """Returns the state of an installed object that does not work; None: it works. None for the function: all
    installed objects work."""
    shares_problems: bool = True
    """Whether objects that stand on an object of this kind share its problem while it is in the plan."""
    external: Callable[[States], Mapping[str, ExternalFault]] = lambda states: {}
    """Returns what is wrong outside of this host, by id. Of all problems that are as bad it is shown first,
    as nothing on this host can be its cause."""
    gauges: Callable[[States], Iterable[Gauge]] = lambda states: ()
    """Returns metrics of its own."""


@functools.cache
def built_in() -> Mapping[str, Listing]:
    """Return the listings of this package, by kind."""
    return _by_kind(discovery.inside("fip64agent.admin.listings", "LISTING"))


@functools.cache
def added() -> Mapping[str, Listing]:
    """Return the listings that other packages bring, by kind. Raises: as discovery.outside()."""
    return _by_kind(discovery.outside(GROUP))


def _by_kind(found: Iterable[tuple[str, Listing]]) -> dict[str, Listing]:
    return {listing.kind: listing for _, listing in found}


@functools.cache
def listed() -> Mapping[str, Listing]:
    """Return the listing of each kind that is listed, by kind; what others build on comes first.

    A kind that brings none has one with id, state and reason.
    """
    # Not for each call of fip64ctl: it imports all of plan/.
    from fip64agent.plan.kinds import kinds

    own = {**added(), **built_in()}
    return {kind.name: own.get(kind.name) or _general(kind.name, kind.title, kind.titles)
            for kind in kinds().values() if kind.listed}


def listing_of(kind: str) -> Listing:
    """Return the listing of a kind, known here or not: fip64ctl may be older than the agent that it asks."""
    for known in (built_in, added, listed):
        if kind in known():
            return known()[kind]
    return _general(kind, kind, kind)


def _general(kind: str, title: str, titles: str) -> Listing:
    return Listing(kind, title, titles, f"List the {titles}, with their state on this host and why.", kind)
