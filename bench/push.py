# SPDX-License-Identifier: Apache-2.0
"""10,000 mappings pushed into VPP by the daemon's driver, beside a plain loop over vpp_papi; and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from bench.measurement import Measurement, WrongState, median
from lab import netns as namespaces
from lab.node import REPOSITORY
from lab.shell import inside

FIPS = 10_000


def measure(quick: bool) -> Iterator[Measurement]:
    rounds = _rounds(1000 if quick else FIPS, 2 if quick else 9)
    driver, loop, papi, reconcile = (rounds[name] for name in ("driver", "loop", "papi", "reconcile"))
    fips = f"{rounds['fips']:,} mappings"
    beside = f"bare loop: {median(loop):.3f} s"
    what = f"{fips}, {rounds['messages']} messages, pushed"
    yield Measurement(f"{what} by the driver", median(driver), "s", peer=beside, samples=driver)
    yield Measurement(f"{what} by a bare loop over vpp_papi", median(loop), "s", samples=loop)
    yield Measurement(f"{what} by vpp_papi's own client, all before the first answer", median(papi), "s",
                      samples=papi)
    yield Measurement(f"{what}: driver against bare loop", median(driver) / median(loop), "times", 1.5,
                      samples=[one / other for one, other in zip(driver, loop, strict=True)])
    yield Measurement(f"reconcile of {fips} that are as they should be", median(reconcile), "s", 1,
                      samples=reconcile)
    yield Measurement(f"the same, slowest of {len(reconcile)}", max(reconcile), "s", 1)


def _rounds(fips: int, count: int) -> dict:
    """Run bench/vpp_driver.py in a namespace of its own; return what it measured, and the number of FIPs."""
    netns = f"f64-push{os.getpid()}"
    namespaces.add(netns)
    try:
        with tempfile.TemporaryDirectory(prefix="f64b-") as directory:
            argv = [sys.executable, "-m", "bench.vpp_driver", directory, str(fips), str(count)]
            done = subprocess.run(inside(netns, argv), cwd=REPOSITORY, text=True, capture_output=True,
                                  timeout=1800)
    finally:
        namespaces.delete(netns)
    if done.returncode:
        raise WrongState(f"bench.vpp_driver: {done.stderr[-2000:]}")
    return json.loads(done.stdout) | {"fips": fips}
