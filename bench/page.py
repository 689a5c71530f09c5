# SPDX-License-Identifier: Apache-2.0
"""Writes doc/source/reference/measurements.rst from the JSON of runs: ``python -m bench.page [DIR ...]``.

A benchmark that several directories have is taken from the last of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.measurement import HEAD, Measurement

PAGE = Path(__file__).resolve().parent.parent / "doc/source/reference/measurements.rst"
INTRODUCTION = """\
.. SPDX-License-Identifier: Apache-2.0
.. Written by python -m bench.page from the results of make bench; change the words there.

============
Measurements
============

What the agent costs and how quick it is, measured by ``make bench`` on one small machine. ``make bench``
prints the same table for yours, and writes every single value to ``bench/results``. A measurement that is
missed fails nothing: times are of a machine and of what else runs on it. A state that is not what it should
be does: flows are counted after each step, in the switch and not by what the agent says.

{machine}

Where nothing is sent, the host has 100 tenants with the same IPv4 subnet, one uplink and 1,000 VM ports, 10
of each tenant. With 10,000 floating IPs each VM port has ten, on ten fixed IPs: Open vSwitch itself is slow
with more ports (with 10,000, to add one more takes it over 30 s). Open vSwitch is real, with the userspace
datapath; VM ports are its dummy devices. The daemon is a process of its own with its real topology file. In
"links and translator counted" two of its rooms only count what they are asked for: what is left is the cost
of plan, loop and switch. "All real" has all 102 network namespaces of the agent, their links and routes, and
100 tayga processes; or, where it says vpp, one VPP with the options that the daemon gives it by default.

"p50" and "p99" are values that were seen: 50 and 99 of 100 were not slower. Measurements without these are
medians of all rounds, or single values where it says how long was measured. In JSON, ``samples`` has all.
"""
SECTIONS = {
    "planning": ("The plan", """\
plan() from scratch, 50 times, and replan() with one change, up to 1,000 times for each kind of resource, in
the benchmark's own process. At the end the incremental plan is compared with a full one."""),
    "coldstart": ("Cold start", """\
From nothing to all flows in the switch, beside ``ovs-ofctl add-flows`` of the same flows, dumped before. Both
on the same bridge, in turns, 5 rounds. "Topology known" starts when the file has been read and checked,
"process started" before Python is. "Ports to be made" includes the 102 ports that the agent puts on the
bridge; ovs-ofctl makes none. What is wanted is at most twice the quickest round of ovs-ofctl there. It waits
for the switch after each flow, and 1,000 ports make the switch slow to answer, several times slower in one
round than in another: so it is also shown on an Open vSwitch without ports. Links and translator are
counted."""),
    "packetin": ("Packets that come in", """\
A package from outside answers the VMs' Neighbor Solicitations by packet-in, in a daemon that has nothing
else to do. A VM asks: 64 questions open at a time, as many as are answered; then 200 a second, one open at a
time. Then another VM sends 100,000 a second, with the default limits ([ovs] packet_in_rate), and the first
asks on. Answers are those that the VM receives. Beside it, without a switch: our codec and os-ken's packet
library."""),
    "onefip": ("One floating IP more", """\
One floating IP is added to 10,000, again and again, each for another VM. "Topology known" starts when the
source hands over the new topology, "file written" at the rename(2) of the whole new file; both end when the
switch has confirmed the flows and the pass is over. Most of the latter is reading and checking the file,
all of it, in a child process. "All real" includes the restart of the tenant's tayga, which cannot be told
of a mapping otherwise."""),
    "resident": ("At rest, and started again", """\
The daemon with 10,000 floating IPs: memory 5 s after all was installed, CPU time over 60 s with all its
probes, then over 90 s with one full audit in it (there is one in 300 s unless configured otherwise). Then it
is killed (SIGKILL) and started again: flows and their ages, links, routes and tayga processes are compared
from outside."""),
    "push": ("Mappings into VPP", """\
The daemon's vpp driver, in the agent's loop and nothing else in it, gets a plan with 10,000 floating IPs of
100 tenants. VPP is new, and has tenants and uplink, but no mapping yet. The time is that of the pass: what is
to be done is found out, checked, packed and sent, and VPP has confirmed all. Beside it, in turns, each with a
VPP of its own: a loop that has the same messages as Python values at hand, packs them with vpp_papi, sends
them over a blocking socket with as many of them ahead of the answers, and unpacks the answers. That the
bytes on the wire are the same is checked. And the same messages with vpp_papi's own client, which has a
thread and a queue between it and the socket. "Reconcile" is a pass in which all is read back from VPP and
compared. VPP's mappings are read back over another connection after each turn. VPP shares the two CPUs with
all of them."""),
    "vpp_agent": ("The daemon with VPP", """\
All real, VPP for tayga. One floating IP is added to 10,000 as above. Then VPP is killed (SIGKILL) under a
daemon with 1,000 floating IPs, again and again: until another one, which the daemon starts, has tenants,
uplink and all mappings. The mappings are counted from outside, over a connection of its own to VPP, every 20
ms. Idle means that nothing is sent; VPP's packet interfaces wake it, it does not poll them then."""),
    "vpp_memory": ("Memory of VPP", """\
What VPP has afterwards, less what it had before, for each. Resident memory here is VPP's own (RssAnon) and
its counters, without packet buffers and files. Most of a tenant is VPP's IPv4 table. A binding is made by the
first packet of a client with a random address: so few of them in a large pool touch a page each, and
what is measured is a pool in which they are as many as it says."""),
    "vpp_clocks": ("Clocks per packet", """\
VPP's packet generator sends UDP, frames of 64 bytes on the IPv4 side, through the plugin, and in turns
through nat64 and map-t of the same VPP, on one core. Flows come in random order, so that the processor's
caches help as little as with many users. Clocks are those that VPP counts for each packet in the nodes that
translate; "whole graph" is all from the generator to the interface that sends. The reassembly feature that
map-t and nat64 need, and the plugin does not, is shown beside, not counted. The least of all rounds is
shown."""),
    "path": ("Packets through the lab", """\
An IPv6 client behind an upstream router, the bridge, and a VM: through the translator to a floating IP,
beside plain IPv6 over the same router, uplink and bridge to a machine with IPv6. vpp and tayga have a lab
each; both stand at the same time. Pings of 56 bytes each 5 ms, and one TCP connection for 3 s at a time, in
turns. All of it shares the machine's CPUs: clients, router, Open vSwitch's userspace datapath, translator,
VM. VPP, as the daemon configures it, waits for packets, and polls only under load. Its slowest pings, tens
of milliseconds in one turn or two, came when its thread had to wait for a CPU."""),
}


def _machine(results: dict[str, dict[str, Any]]) -> str:
    where = max((result["machine"] for result in results.values()), key=lambda machine: machine["time"])
    vpp = f", {where['vpp'].replace('vpp v', 'VPP ')}" if where.get("vpp") else ""
    return (f"{where['processor']}, {where['cpus']} CPUs; Linux {where['kernel']}, Python\n"
            f"{where['python']}; {where['ovs']}{vpp}.\n"
            "Not all benchmarks are from the same run: each says when it was run, on which processor,\n"
            "and the machine's load average just before.")


def _run(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (f"Run of {machine['time'][:16].replace('T', ' ')} UTC, {machine['processor']}, load average "
            f"{machine['load_before']:.1f}.")


def _table(measurements: list[dict[str, Any]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 46 14 12 8 20", ""]
    rows = [Measurement.from_json(values).row("≤", "≥", "**missed**") for values in measurements]
    for first, *others in [HEAD, *rows]:
        lines += [f"   * - {first}", *(f"     - {cell}".rstrip() for cell in others)]
    return lines


def page(results: dict[str, dict[str, Any]]) -> str:
    """Return the page; `results` is what the JSON files have, by benchmark.

    Raises: ValueError when one of them is of a quick run, or of one that went wrong.
    """
    for name, result in results.items():
        if result["quick"] or result["wrong"]:
            raise ValueError(f"{name}: {'a quick run' if result['quick'] else result['wrong']}")
    lines = [INTRODUCTION.format(machine=_machine(results))]
    for name, (title, words) in SECTIONS.items():
        if name in results:
            lines += [title, "=" * len(title), "", words, "", _run(results[name]), "",
                      *_table(results[name]["measurements"]), ""]
    return "\n".join(lines)


def main() -> None:
    directories = [Path(argument) for argument in sys.argv[1:]] or [Path(__file__).with_name("results")]
    files = {name: file for name in SECTIONS for directory in directories
             if (file := directory / f"{name}.json").exists()}
    PAGE.write_text(page({name: json.loads(file.read_text()) for name, file in files.items()}))
    if missing := SECTIONS.keys() - files.keys():
        print(f"not on the page, they were not run: {', '.join(sorted(missing))}", file=sys.stderr)
    print(PAGE)


if __name__ == "__main__":
    main()
