# SPDX-License-Identifier: Apache-2.0
"""The numbers of products, and what has part in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from fip64agent.plan.groups.objects import Part, Product, Service
from fip64agent.plan.groups.rules import OWN_RULES, REMOTE, Remote, Rules
from fip64agent.plan.groups.translated import TRANSLATED_RULES
from fip64agent.plan.nodes import Collected, Key, Node, Objects
from fip64agent.plan.numbers import number_space
from fip64agent.plan.problems import ERROR, Problem

FIRST_PRODUCT, LAST_PRODUCT = 0x01000000, 0xF1640000
"""Conjunction IDs: clear of low ones, which other systems use, and of our others (switch/flows)."""


def _from_all(place: Callable[[Rules], Iterable[tuple]]) -> dict[Node, Callable]:
    """Return the sources of a collection of Rules, with a function that takes one of these."""
    def of_many(key: Key, products: tuple[Rules, ...]) -> Iterator[tuple]:
        for rules in products:
            yield from place(rules)

    return {OWN_RULES: of_many, TRANSLATED_RULES: of_many}


_NAMES = Collected("names of products", _from_all(lambda rules: (("", rules.name),)))
_WAYS = Collected("products by name", _from_all(lambda rules: ((rules.name, rules.ingress),)))
PRODUCT_NUMBERS = number_space("products", _NAMES, lambda ask: (FIRST_PRODUCT, LAST_PRODUCT),
                               kind=Product.kind)


def _product(ask, name: str, ingress: tuple[bool, ...]) -> tuple[Product | None, None]:
    number = ask(PRODUCT_NUMBERS.number, name)
    return (Product(name, number, ingress[0]) if number is not None else None), None


PRODUCTS = Objects(Product.kind, _product, each=_WAYS, reads=(PRODUCT_NUMBERS.number,))


# What a remote, or a service, has part in

class Use(NamedTuple):
    """A product that a remote or a service is in."""

    ingress: bool
    version: int
    name: str
    clause: int
    clauses: int


def _use(rules: Rules, clause: int) -> Use:
    return Use(rules.ingress, rules.version, rules.name, clause, rules.clauses)


def _by_remote(rules: Rules) -> Iterator[tuple[Remote, Use]]:
    if rules.remote is not None:
        yield rules.remote, _use(rules, REMOTE)


def _by_service(rules: Rules) -> Iterator[tuple[Service, Use]]:
    for service in rules.services:
        yield service, _use(rules, rules.clauses)


USES_OF_REMOTE = Collected("products with a remote", _from_all(_by_remote))
"""By Remote: Uses, sorted."""
USES_OF_SERVICE = Collected("products with a service", _from_all(_by_service))
"""By Service: Uses, sorted."""

MOST_PARTS = 4000
"""Products that one flow can have part in: OpenFlow's messages end at 65535 bytes."""


def parts(ask, uses: Iterator[Use]) -> tuple[tuple[Part, ...], tuple[Part, ...], Problem | None]:
    """Return the parts of a match in products, egress and ingress, and what is wrong with them, if anything.

    Asks PRODUCT_NUMBERS.number.
    """
    found: tuple[list[Part], list[Part]] = ([], [])
    for use in uses:
        number = ask(PRODUCT_NUMBERS.number, use.name)
        if number is not None:
            found[use.ingress].append(Part(number, use.clause, use.clauses))
    egress, ingress = (tuple(sorted(each))[:MOST_PARTS] for each in found)
    problem = None
    if max(map(len, found)) > MOST_PARTS:
        problem = Problem(ERROR, f"it is in rules of more than {MOST_PARTS} security groups that ports of "
                                 "this host have; the others let nothing through")
    return egress, ingress, problem
