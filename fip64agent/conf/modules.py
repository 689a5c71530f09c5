# SPDX-License-Identifier: Apache-2.0
"""Finds the modules of this package by what they define, so that a new group of options is a new module."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType


def modules_with(attribute: str) -> list[ModuleType]:
    """Return the modules of this package that have an attribute of that name, sorted by their own names."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    modules = [importlib.import_module(f"{__package__}.{name}") for name in names]
    return [module for module in modules if hasattr(module, attribute)]
