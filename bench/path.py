# SPDX-License-Identifier: Apache-2.0
"""Packets through the lab: to a VM by way of vpp and of tayga, beside plain IPv6 over the same bridge."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

from bench.measurement import Measurement, WrongState, median, percentile
from lab import vpp
from lab.daemon import wait_for
from lab.host import FIP_A, Lab
from lab.node import REPOSITORY, Node
from lab.shell import inside

PLAIN = "2001:db8:200::5"
"""A machine on the bridge, IPv6 all the path: client, upstream router, OVS, machine."""


def _start(node: Node, *argv: object) -> subprocess.Popen:
    return subprocess.Popen(inside(node.netns, [sys.executable, "-m", "bench.stream", *map(str, argv)]),
                            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def _run(node: Node, *argv: object) -> dict:
    process = _start(node, *argv)
    output, _ = process.communicate(timeout=120)
    if process.returncode:
        raise WrongState(f"{' '.join(map(str, argv))} in {node.name} failed")
    return json.loads(output)


class MeasuredPath:
    """From the client to one address, and what was measured of it."""

    def __init__(self, name: str, client: Node, address: str) -> None:
        self.name = name
        self._client = client
        self._address = address
        self.rtts: list[float] = []
        """Milliseconds."""
        self.rates: list[float] = []
        """Mbit/s."""

    def measure(self, pings: int, seconds: float) -> None:
        """Send so many pings, then TCP for so many seconds. Raises: WrongState when a ping has no answer."""
        result = _run(self._client, "ping", self._address, pings, 0.005)
        sent, answered = result["sent"], len(result["rtts"])
        if answered != sent:
            raise WrongState(f"{answered} of {sent} pings of {self._address} by way of {self.name} answered")
        self.rtts += result["rtts"]
        result = _run(self._client, "send", self._address, seconds)
        self.rates.append(8 * result["bytes"] / result["seconds"] / 1e6)


@contextlib.contextmanager
def _serving(lab: Lab) -> Iterator[None]:
    """A machine with IPv6 beside the VM, and servers on both."""
    servers: list[subprocess.Popen] = []
    try:
        peer = lab.add_bridge_host("plain", f"{PLAIN}/64")
        peer.ip("route add default via 2001:db8:200::1")
        lab.upstream.ip("addr add 2001:db8:200::1/64 dev uplink nodad")
        for node, bind in ((lab["vm-a"], "0.0.0.0"), (peer, "::")):
            servers.append(_start(node, "serve", bind))
            servers[-1].stdout.readline()
        lab.wait_reachable(FIP_A)
        wait_for(lambda: lab.client.reaches(PLAIN), 10, f"an answer from {PLAIN}")
        yield
    finally:
        for server in servers:
            server.kill()
            server.communicate()


def measure(quick: bool) -> Iterator[Measurement]:
    count, rounds, seconds = (200, 2, 1) if quick else (2000, 7, 3)
    paths: dict[str, MeasuredPath] = {}
    missing = vpp.missing()
    if missing:
        print(f"  path: nothing is sent through vpp: {missing}", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        for translator in ("tayga",) if missing else ("tayga", "vpp"):
            # Only what is for floating IPs goes to the translator; so the rest of IPv6 can be the peer.
            lab = stack.enter_context(Lab(agent=True, translator=translator,
                                          config={"ovs": {"redirect": "external-networks"}}))
            stack.enter_context(_serving(lab))
            paths[translator] = MeasuredPath(translator, lab.client, FIP_A)
            paths.setdefault("plain", MeasuredPath("plain IPv6", lab.client, PLAIN))
        for _ in range(rounds):
            for path in paths.values():
                path.measure(count // rounds, seconds)
    yield from _measurements(paths)


def _measurements(paths: dict[str, MeasuredPath]) -> Iterator[Measurement]:
    tayga, plain = paths.pop("tayga"), paths.pop("plain")
    for share in (0.5, 0.99):
        beside = f"plain IPv6 over the same bridge: {percentile(plain.rtts, share):.2f} ms"
        for path in (tayga, *paths.values()):
            yield Measurement(f"ping through {path.name}, p{share * 100:g}", percentile(path.rtts, share),
                              "ms", peer=beside, samples=path.rtts)
            beside = (f"tayga: {percentile(tayga.rtts, share):.2f} ms; "
                      f"plain IPv6: {percentile(plain.rtts, share):.2f} ms")
    beside = f"plain IPv6 over the same bridge: {median(plain.rates):.0f} Mbit/s"
    for path in (tayga, *paths.values()):
        yield Measurement(f"TCP through {path.name}", median(path.rates), "Mbit/s", peer=beside,
                          samples=path.rates)
        beside = f"tayga: {median(tayga.rates):.0f} Mbit/s; plain IPv6: {median(plain.rates):.0f} Mbit/s"
