# SPDX-License-Identifier: Apache-2.0
"""Packets that come in to the daemon: how many a second, how long an answer takes, what a flood does.

A package from outside answers the VMs' Neighbor Solicitations by packet-in (lab/answering.py), in a daemon
that has nothing else to do. The answers are those that the VM receives: through Open vSwitch, both ways.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.host import cpu_seconds
from bench.measurement import Measurement, WrongState, percentile
from lab import answering, solicit
from lab.daemon import wait_for
from lab.host import Lab
from lab.node import REPOSITORY, Node
from lab.shell import inside

NO_LIMIT = {"ovs": {"packet_in_rate": 1_000_000, "packet_in_burst": 1_000_000}}
WINDOW = 64
"""Questions that are open at a time when as many as possible are asked."""
FLOOD = 100_000
"""Packets a second."""


def measure(quick: bool) -> Iterator[Measurement]:
    yield from _codec(500 if quick else 5000)
    before = os.environ.get("PYTHONPATH")
    with tempfile.TemporaryDirectory(prefix="f64b-") as directory:
        answering.install(Path(directory))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(REPOSITORY), directory, before)))
        try:
            yield from _rate(2 if quick else 10)
            yield from _flood(2 if quick else 10)
        finally:
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before


def _start(node: Node, *argv: object) -> subprocess.Popen:
    return subprocess.Popen(inside(node.netns, [sys.executable, "-m", "lab.solicit", *map(str, argv)]),
                            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen) -> dict:
    output, _ = process.communicate(timeout=120)
    if process.returncode:
        raise WrongState(f"{' '.join(process.args)} failed")
    return json.loads(output)


def _ask(node: Node, *argv: object) -> dict:
    return _finish(_start(node, "ask", "eth0", *argv))


def _wait_answered(lab: Lab, *names: str) -> None:
    for name in names:
        wait_for(lambda name=name: _ask(lab[name], 0.5, 1, 100)["took"], 30, f"answers for {name}")


def _rate(seconds: float) -> Iterator[Measurement]:
    """One VM asks as much as is answered, then a little."""
    with Lab(agent=True, translator="tayga", config=NO_LIMIT) as lab:
        _wait_answered(lab, "vm-a")
        used = cpu_seconds(lab.agent.pid)
        found = _ask(lab["vm-a"], seconds, WINDOW)
        used = cpu_seconds(lab.agent.pid) - used
        answers = len(found["took"])
        yield Measurement(f"packet-ins answered, {WINDOW} open at a time", answers / found["seconds"],
                          "a second", 5000, at_most=False)
        yield Measurement("the same for each second of the daemon's CPU time", answers / max(used, 0.01),
                          "a second", 5000, at_most=False)
        yield Measurement("packet-ins without an answer then", found["lost"], "packets", 0)
        found = _ask(lab["vm-a"], seconds, 1, 200)
        yield from _latency("answer by packet-in, 200 a second", found)


def _latency(words: str, found: dict, limit: float | None = None, peer: str = "") -> Iterator[Measurement]:
    milliseconds = [1000 * value for value in found["took"]]
    if not milliseconds:
        raise WrongState(f"{words}: no answer at all")
    for share in (0.5, 0.99):
        yield Measurement(f"{words}, p{share * 100:g}", percentile(milliseconds, share), "ms",
                          limit if share > 0.5 else None, peer=peer, samples=milliseconds)


def _flood(seconds: float) -> Iterator[Measurement]:
    """One VM asks a little, while another floods; with the default limits."""
    with Lab(agent=True, translator="tayga") as lab:
        _wait_answered(lab, "vm-a", "vm-b")
        quiet = _ask(lab["vm-a"], seconds, 1, 100)
        flood = _start(lab["vm-b"], "flood", "eth0", seconds + 2, FLOOD)
        time.sleep(1)
        found = _ask(lab["vm-a"], seconds, 1, 100)
        sent = _finish(flood)
        beside = f"without the flood: {1000 * percentile(quiet['took'], 0.99):.2f} ms"
        yield Measurement("packets of the flood, sent by another VM", sent["sent"] / sent["seconds"],
                          "a second", 0.9 * FLOOD, at_most=False)
        yield from _latency("answer by packet-in, 100 a second, during the flood", found, 10, beside)
        yield Measurement("packet-ins without an answer during the flood", found["lost"], "packets", 0)


def _codec(count: int) -> Iterator[Measurement]:
    """A solicitation read and an advertisement built, by our codec and by os-ken's packet library."""
    frame = solicit.solicitation(5)
    ours, theirs = _microseconds(_ours(frame), count), _microseconds(_os_kens(frame), count // 10)
    yield Measurement("Neighbor Solicitation read and Advertisement built", ours, "us", 20,
                      peer=f"os-ken's packet library: {theirs:.0f} us")


def _microseconds(function: Callable[[], bytes], count: int) -> float:
    rounds = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(count):
            function()
        rounds.append((time.process_time() - begun) / count * 1e6)
    return min(rounds)


_VM = answering.Answered("vm", 1)


def _ours(frame: bytes) -> Callable[[], bytes]:
    from fip64agent.net.packet import parse

    return lambda: next(iter(answering.answer(parse(frame), _VM))).data


def _os_kens(frame: bytes) -> Callable[[], bytes]:
    from fip64agent import hub  # noqa: F401 (before os-ken: it picks os-ken's hub)

    # isort: split
    from os_ken.lib.packet import ethernet, icmpv6, ipv6, packet

    def answer() -> bytes:
        asked = packet.Packet(frame)
        target = asked.get_protocol(icmpv6.icmpv6).data.dst
        built = packet.Packet()
        built.add_protocol(ethernet.ethernet(asked.get_protocol(ethernet.ethernet).src, _VM.mac, 0x86DD))
        source = asked.get_protocol(ipv6.ipv6).src
        built.add_protocol(ipv6.ipv6(src=target, dst=source, nxt=58, hop_limit=255))
        built.add_protocol(icmpv6.icmpv6(icmpv6.ND_NEIGHBOR_ADVERT, 0, 0, icmpv6.nd_neighbor(
            res=3, dst=target, option=icmpv6.nd_option_tla(hw_src=_VM.mac))))
        built.serialize()
        return bytes(built.data)

    return answer
