# SPDX-License-Identifier: Apache-2.0
"""Finds what features bring: in the modules of a package of ours, and in other installed packages.

So a new feature is a new module, and no list of features has to be edited.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any


def found(package: str, attribute: str, group: str) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of all that is to be found, by name within each of the two places.

    package: dotted name, see inside(). group: an entry point group, see outside().
    Raises: ImportError when an entry point cannot be loaded.
    """
    yield from inside(package, attribute)
    yield from outside(group)


def inside(package: str, attribute: str) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of what modules in a package of ours bring.

    package: dotted name; the value is the `attribute` of each module or package directly in it
    that has one, and the name is the module's.
    """
    parent = importlib.import_module(package)
    for module in sorted(pkgutil.iter_modules(parent.__path__), key=lambda found: found.name):
        value = getattr(importlib.import_module(f"{package}.{module.name}"), attribute, None)
        if value is not None:
            yield module.name, value


def outside(group: str) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of the entries of an entry point group: packages outside of fip64agent name such
    values themselves there.

    Raises: ImportError, naming the entry point and its package, when one cannot be loaded.
    """
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        try:
            value = entry.load()
        except Exception as error:  # a package of somebody else's may raise anything
            raise ImportError(f"package {entry.dist.name} {entry.dist.version}: entry point {entry.name} = "
                              f"{entry.value} of the group {group} cannot be loaded: {type(error).__name__}: "
                              f"{error}") from error
        yield entry.name, value
