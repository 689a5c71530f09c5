# SPDX-License-Identifier: Apache-2.0
"""``python -m bench [NAMES] [--json DIR] [--quick]``: one table, and DIR/<name>.json for each benchmark.

Exit status: 0 measured, whatever the results, or skipped because there is no VPP; 1 something was not
installed as it should be, or broke.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measurement import Measurement, WrongState, table
from lab import vpp

BENCHMARKS = {
    "planning": "plan() and replan() of 10,000 floating IPs",
    "coldstart": "from nothing to everything programmed, beside ovs-ofctl",
    "onefip": "one floating IP more among 10,000",
    "resident": "memory, idle CPU and restart of the daemon with 10,000 floating IPs",
    "packetin": "packets that come in to the daemon, and what a flood does to others",
    "push": "10,000 mappings into VPP by the driver and read back, beside vpp_papi",
    "vpp_agent": "one floating IP more with VPP, and a VPP that is killed",
    "vpp_memory": "memory of VPP for each mapping and each client binding",
    "vpp_clocks": "clocks per packet of the fip64 plugin, beside VPP's nat64 and map-t",
    "path": "ping and TCP through vpp and tayga, beside plain IPv6",
}
NEED_VPP = frozenset({"push", "vpp_agent", "vpp_memory", "vpp_clocks"})
"""Skipped, not failed, where there is no VPP with the fip64 plugin."""
RESULTS = Path(__file__).resolve().parent / "results"


def _first_line(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()[0]
    except (OSError, IndexError):
        return "?"


def _vpp_version() -> str:
    found = vpp.find()
    return "" if found is None else " ".join(_first_line(str(found.binary), "--version").split()[:2])


def machine() -> dict[str, Any]:
    """What the measurements depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
                     platform.machine())
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "processor": processor,
            "cpus": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "python": platform.python_version(), "ovs": _first_line("ovs-vswitchd", "--version"),
            "vpp": _vpp_version(),
            "load_before": os.getloadavg()[0]}


def run(name: str, quick: bool, directory: Path) -> tuple[list[Measurement], str | None]:
    """Run one benchmark and write its JSON; returns its measurements, and in words what was wrong."""
    where = machine()
    measurements: list[Measurement] = []
    wrong = None
    begun = time.monotonic()
    try:
        for measurement in importlib.import_module(f"bench.{name}").measure(quick):
            measurements.append(measurement)
            print(f"  {name}: {' '.join(part for part in measurement.row() if part)}", file=sys.stderr,
                  flush=True)
    except WrongState as error:
        wrong = str(error)
    except Exception as error:
        traceback.print_exc()
        wrong = f"{type(error).__name__}: {error}"
    result = {"benchmark": name, "quick": quick, "seconds": time.monotonic() - begun, "wrong": wrong,
              "machine": where, "measurements": [each.as_json() for each in measurements]}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    return measurements, wrong


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measure the agent: one table, and a JSON file for each benchmark.",
        epilog="\n".join(f"  {name:<10} {words}" for name, words in BENCHMARKS.items()))
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run (default: all)")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="DIR", dest="directory",
                        help="where the JSON files go (default: bench/results)")
    parser.add_argument("--quick", action="store_true", help="few repetitions: does it run, not how fast")
    options = parser.parse_args(argv)
    if unknown := sorted(set(options.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if os.geteuid() != 0:
        parser.error("root is needed: network namespaces and Open vSwitch are set up")
    rows: list[Measurement] = []
    wrong: dict[str, str] = {}
    without_vpp = vpp.missing()
    skipped = {name: without_vpp for name in options.names or BENCHMARKS if without_vpp and name in NEED_VPP}
    for name in options.names or BENCHMARKS:
        if name in skipped:
            continue
        measurements, problem = run(name, options.quick, options.directory)
        rows += measurements
        if problem:
            wrong[name] = problem
    print(table(rows))
    missed = sum(row.met is False for row in rows)
    print(f"\n{len(rows)} measurements, {missed} missed; JSON in {options.directory}")
    for name, reason in skipped.items():
        print(f"{name}: skipped, not measured: {reason}", file=sys.stderr)
    for name, problem in wrong.items():
        print(f"{name}: WRONG STATE: {problem}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
