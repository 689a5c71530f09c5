# SPDX-License-Identifier: Apache-2.0
"""Packets through the lab: to a VM by way of tayga, beside plain IPv6 over the same uplink and bridge."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from bench.figures import Figure, WrongState, median, percentile
from lab.daemon import wait_for
from lab.host import FIP_A, Lab
from lab.node import REPOSITORY, Node
from lab.shell import inside

PLAIN = "2001:db8:200::5"
"""A machine on the bridge, IPv6 all the way: client, upstream router, OVS, machine."""


def _start(node: Node, *argv: object) -> subprocess.Popen:
    return subprocess.Popen(inside(node.netns, [sys.executable, "-m", "bench.stream", *map(str, argv)]),
                            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def _run(node: Node, *argv: object) -> dict:
    process = _start(node, *argv)
    output, _ = process.communicate(timeout=120)
    if process.returncode:
        raise WrongState(f"{' '.join(map(str, argv))} in {node.name} failed")
    return json.loads(output)


def measure(quick: bool) -> Iterator[Figure]:
    count, rounds, seconds = (200, 2, 1) if quick else (2000, 7, 3)
    servers: list[subprocess.Popen] = []
    # Only what is for floating IPs goes to the translator; so the rest of IPv6 can be the peer.
    with Lab(agent=True, config={"ovs": {"redirect": "external-networks"}}) as lab:
        try:
            peer = lab.add_bridge_host("plain", f"{PLAIN}/64")
            peer.ip("route add default via 2001:db8:200::1")
            lab.upstream.ip("addr add 2001:db8:200::1/64 dev uplink nodad")
            for node, bind in ((lab["vm-a"], "0.0.0.0"), (peer, "::")):
                servers.append(_start(node, "serve", bind))
                servers[-1].stdout.readline()
            lab.wait_reachable(FIP_A)
            wait_for(lambda: lab.client.reaches(PLAIN), 10, f"an answer from {PLAIN}")
            rtts: dict[str, list[float]] = {FIP_A: [], PLAIN: []}
            rates: dict[str, list[float]] = {FIP_A: [], PLAIN: []}
            for _ in range(rounds):
                for address in (FIP_A, PLAIN):
                    result = _run(lab.client, "ping", address, count // rounds, 0.005)
                    sent, answered = result["sent"], len(result["rtts"])
                    if answered != sent:
                        raise WrongState(f"{answered} of {sent} pings of {address} answered")
                    rtts[address] += result["rtts"]
                    result = _run(lab.client, "send", address, seconds)
                    rates[address].append(8 * result["bytes"] / result["seconds"] / 1e6)
        finally:
            for server in servers:
                server.kill()
                server.communicate()
    for share in (0.5, 0.99):
        plain = percentile(rtts[PLAIN], share)
        yield Figure(f"ping through tayga, p{share * 100:g}", percentile(rtts[FIP_A], share), "ms",
                     peer=f"plain IPv6 over the same bridge: {plain:.2f} ms", samples=rtts[FIP_A])
    yield Figure("TCP through tayga", median(rates[FIP_A]), "Mbit/s", samples=rates[FIP_A],
                 peer=f"plain IPv6 over the same bridge: {median(rates[PLAIN]):.0f} Mbit/s")
