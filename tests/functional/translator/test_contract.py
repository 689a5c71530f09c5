# SPDX-License-Identifier: Apache-2.0
"""The translator's contract, kept by tayga; and what a restart of tayga costs."""

import os
import signal
import time

from fip64agent.translator.tayga import process
from tests.fakes.kernel import until
from tests.functional.translator.contract import Contract
from tests.functional.translator.site import FIP_A, FIP_B, Site


def end_blue(site: Site, number: int) -> None:
    for found in process.running(str(site.directory / "run")):
        if found.name == "blue":
            os.kill(found.pid, number)


class TestContract(Contract):
    def kill(self, site: Site) -> None:
        end_blue(site, signal.SIGKILL)

    def save_clients(self, site: Site) -> None:
        """tayga writes them down up to a minute late, or when it ends."""
        site.changes = 0
        end_blue(site, signal.SIGTERM)
        until(lambda: site.changes)


def test_a_restart_takes_milliseconds_and_keeps_the_clients(site):
    site.install(blue=[FIP_A])
    assert site.client.reaches(FIP_A, 5)
    address = site.client.http_get(FIP_A)["answer"]["you_are"]
    running = site.client.start_ping(FIP_A, interval=0.001)
    for fips in ([FIP_A, FIP_B], [FIP_A]) * 5:
        time.sleep(0.2)
        assert site.install(blue=fips)[0] == {}
    answer = running.stop()
    gaps: list[int] = []
    for number in answer.lost:
        if number - 1 in answer.lost and gaps:
            gaps[-1] += 1
        else:
            gaps.append(1)
    print(f"\n10 restarts under 1000 pings a second: {len(answer.lost)} of {answer.sent} lost, "
          f"gaps {gaps} ms")
    assert answer.received
    assert site.client.http_get(FIP_A)["answer"]["you_are"] == address
