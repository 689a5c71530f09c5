# SPDX-License-Identifier: Apache-2.0
"""The translator's contract, kept by VPP."""

import os
import signal
from collections.abc import Iterator

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6

from tests.functional.translator.contract import Contract
from tests.functional.translator.site import CLIENT, FIP_A, FIP_B, Site
from tests.functional.translator.vpp_site import vpp_site


@pytest.fixture
def site(short_tmp) -> Iterator[Site]:
    with vpp_site(short_tmp) as made:
        yield made


class TestContract(Contract):
    def kill(self, site: Site) -> None:
        os.kill(site.room.supervisor.process.pid, signal.SIGKILL)


def test_another_tenants_floating_ip_as_source_is_dropped(site):
    assert site.install(blue=[FIP_A], green=[FIP_B])[0] == {}
    assert site.client.reaches(FIP_A, 5)
    seen = site.delivered("blue", b"honest",
                          IPv6(src=FIP_B, dst=FIP_A) / UDP(sport=7, dport=7) / b"forged",
                          IPv6(src=CLIENT, dst=FIP_A) / UDP(sport=7, dport=9) / b"honest")
    assert not [frame for frame in seen if b"forged" in frame], seen
    assert [str(found.client) for found in site.room.clients("blue")] == [CLIENT]
    assert site.room.traffic().errors["ip6-fip64", "own-source"] == 1
