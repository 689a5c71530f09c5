# SPDX-License-Identifier: Apache-2.0
"""One VPP for a module; what a test made in it goes after the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.vpp import Vpp
from tests.fakes.vpp import make_module_vpp, make_vpp  # noqa: F401
from tests.functional.vpp_plugin.control import Control


@pytest.fixture(scope="module")
def vpp(make_module_vpp) -> Vpp:  # noqa: F811
    # Tests read refusals in the log, faster than VPP would write them down by itself.
    return make_module_vpp(stanzas="logging { class fip64 { rate-limit 100000 } }")


@pytest.fixture(scope="module")
def connected(vpp) -> Iterator[Control]:
    with vpp.papi("tests") as api:
        yield Control(vpp, api)


@pytest.fixture
def control(connected) -> Iterator[Control]:
    """A VPP with IPv4 tables 1 and 2 and IPv6 table 6, and the plugin empty."""
    assert connected.vpp.running
    for table_id, ip6 in ((1, False), (2, False), (6, True)):
        connected.add_table(table_id, ip6)
    yield connected
    assert connected.vpp.running, connected.vpp.output()[-3000:]
    connected.remove_everything()
