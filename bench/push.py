# SPDX-License-Identifier: Apache-2.0
"""10,000 mappings pushed into VPP by the daemon's driver, beside a bare loop over vpp_papi; and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from bench.figures import Figure, WrongState, median
from lab import netns as namespaces
from lab.node import REPOSITORY
from lab.shell import inside

FIPS = 10_000


def measure(quick: bool) -> Iterator[Figure]:
    turns = _turns(1000 if quick else FIPS, 2 if quick else 9)
    driver, bare, papi, reconcile = (turns[name] for name in ("driver", "bare", "papi", "reconcile"))
    fips = f"{turns['fips']:,} mappings"
    beside = f"bare loop: {median(bare):.3f} s"
    what = f"{fips}, {turns['messages']} messages, pushed"
    yield Figure(f"{what} by the driver", median(driver), "s", peer=beside, samples=driver)
    yield Figure(f"{what} by a bare loop over vpp_papi", median(bare), "s", samples=bare)
    yield Figure(f"{what} by vpp_papi's own client, all before the first answer", median(papi), "s",
                 samples=papi)
    yield Figure(f"{what}: driver against bare loop", median(driver) / median(bare), "times", 1.5,
                 samples=[one / other for one, other in zip(driver, bare, strict=True)])
    yield Figure(f"reconcile of {fips} that are as they should be", median(reconcile), "s", 1,
                 samples=reconcile)
    yield Figure(f"the same, slowest of {len(reconcile)}", max(reconcile), "s", 1)


def _turns(fips: int, rounds: int) -> dict:
    """Run bench/vpp_driver.py in a namespace of its own."""
    netns = f"f64-push{os.getpid()}"
    namespaces.add(netns)
    try:
        with tempfile.TemporaryDirectory(prefix="f64b-") as directory:
            argv = [sys.executable, "-m", "bench.vpp_driver", directory, str(fips), str(rounds)]
            done = subprocess.run(inside(netns, argv), cwd=REPOSITORY, text=True, capture_output=True,
                                  timeout=1800)
    finally:
        namespaces.delete(netns)
    if done.returncode:
        raise WrongState(f"bench.vpp_driver: {done.stderr[-2000:]}")
    return json.loads(done.stdout) | {"fips": fips}
