# SPDX-License-Identifier: Apache-2.0
"""The translator's contract, kept by VPP."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.functional.translator.contract import Contract
from tests.functional.translator.site import Site
from tests.functional.translator.vpp_site import vpp_site


@pytest.fixture
def site(short_tmp) -> Iterator[Site]:
    with vpp_site(short_tmp) as made:
        yield made


class TestContract(Contract):
    def kill(self, site: Site) -> None:
        os.kill(site.room.supervisor.process.pid, signal.SIGKILL)
