# SPDX-License-Identifier: Apache-2.0
"""The RFC table names only tests that exist."""

import re
from pathlib import Path


def test_every_test_named_exists():
    here = Path(__file__).parent
    named = set(re.findall(r"``(test_\w+)``", (here.parent / "doc" / "rfc7915.rst").read_text()))
    nodes = (here.parents[2] / "tests" / "functional" / "vpp_plugin").glob("test_*.py")
    code = "".join(p.read_text() for p in [*here.glob("test_*.py"), here / "test_core.c", *nodes])
    assert len(named) > 60
    assert sorted(n for n in named if not re.search(rf"\b{n} ?\(", code)) == []
