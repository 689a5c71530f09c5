# SPDX-License-Identifier: Apache-2.0
"""A real VPP for tests. Where there is none, tests are skipped with the reason, always: no package brings it.

In a conftest: ``from tests.fakes.vpp import make_module_vpp, make_vpp  # noqa: F401``
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import vpp
from lab.vpp import Vpp


def require_vpp(plugin: bool = True) -> None:
    """Skip the test when there is no VPP (or, with `plugin`, no fip64 plugin) here."""
    reason = vpp.missing(plugin)
    if reason:
        pytest.skip(reason)


def _vpps() -> Iterator[Callable[..., Vpp]]:
    require_vpp()
    made: list[Vpp] = []
    with tempfile.TemporaryDirectory(prefix="f64v-") as directory:

        def make(**options: Any) -> Vpp:
            one = Vpp(Path(directory) / f"v{len(made)}", **options)
            made.append(one)
            one.start()
            return one

        try:
            yield make
        finally:
            for one in made:
                one.stop()


@pytest.fixture
def make_vpp() -> Iterator[Callable[..., Vpp]]:
    """Start VPPs: ``make_vpp(**options of lab.vpp.Vpp)``; they are ended after the test."""
    yield from _vpps()


@pytest.fixture(scope="module")
def make_module_vpp() -> Iterator[Callable[..., Vpp]]:
    """As make_vpp, for VPPs that run for all tests of a module."""
    yield from _vpps()
