# SPDX-License-Identifier: Apache-2.0
"""``make demo``: an IPv6 client reaches two IPv4-only VMs through the real daemon and Open vSwitch.

The translator is VPP where VPP and the fip64 plugin are found, else tayga.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import signal
import sys
import time
from ipaddress import ip_address, ip_network
from pathlib import Path

from fip64agent.admin.tables import table
from lab import sweep, vpp
from lab.daemon import program
from lab.host import FIP_A, FIP_B, Lab
from lab.node import Node, Ping
from lab.screen import Screen, beside, box, tee
from lab.shell import run

RUN = Path("/run")
NAME = "fip64-demo"
"""Of the directory in RUN and of the bridge; prefix of the namespaces."""
POOL = ip_network("100.64.0.0/16")
PINGS = 50
TRANSFER = 16 << 20


class DemoFailed(Exception):
    """Something did not work as it should; the message says what."""


@dataclasses.dataclass(slots=True)
class Path64:
    """One way through the demo, and how the traffic on it fared."""

    tenant: str
    fip: str
    vm: Node
    ping: Ping | None = None
    http: str = "-"
    rate: str = "-"
    equal: str = "-"


def diagram(ovs: str, translator: str) -> list[str]:
    """Return the picture of the lab; the arguments are what to say about bridge and translator."""
    client = box(["IPv6 only", "2001:db8:c::100"], 26, "client")
    upstream = box(["IPv6 only", "2001:db8:100::1"], 26, "upstream router")
    host = box([
        "uplink        2001:db8:100::2",
        f"floating IPs  {FIP_A} → vm-a, {FIP_B} → vm-b",
        f"switch        {ovs}",
        f"translator    {translator}",
        "in charge     fip64-agent",
    ], 62, "this host")
    vms = [box([f"tenant {letter}, IPv4 only", "10.0.0.5"], 26, f"vm-{letter}") for letter in "ab"]
    top = beside(client, upstream, gap=6, join="──────")
    bottom = [f"  {line}" for line in beside(*vms, gap=6)]
    wire, left, right = 45, 14, 46
    for column, mark in ((25, "├"), (32, "┤")):
        top[2] = tee(top[2], column, mark)
    top[-1] = tee(top[-1], wire, "┬")
    host[0] = tee(host[0], wire, "┴")
    for column in (left, right):
        host[-1] = tee(host[-1], column, "┬")
        bottom[0] = tee(bottom[0], column, "┴")
    return [*top, " " * wire + "│", *host, " " * left + "│" + " " * (right - left - 1) + "│", *bottom]


# Being sure that it worked


def expect(condition: object, otherwise: str) -> None:
    """Raises: DemoFailed."""
    if not condition:
        raise DemoFailed(otherwise)


def pool_address(path: Path64, what: str, address: str) -> str:
    """Return the address the VM saw, if it is one that stands in for an IPv6 client."""
    expect(ip_address(address) in POOL,
           f"{path.vm.name} saw {what} from {address}, which is not in the NAT64 pool {POOL}")
    return address


def milliseconds(value: float | None) -> str:
    """Return a time for people; None: "-"."""
    return "-" if value is None else f"{value:.2f} ms"


def megabits(value: float) -> str:
    """Return bits a second in Mbit/s, for people."""
    return f"{value / 1e6:.0f} Mbit/s"


def show_ping(screen: Screen, lab: Lab, path: Path64) -> None:
    """Ping a floating IP, and show times and what the VM got. Raises: DemoFailed."""
    with screen.step(f"ping {path.fip}") as step:
        path.ping = lab.client.ping(path.fip, count=PINGS)
        step.result = str(path.ping)
        expect(path.ping.ok, f"{len(path.ping.lost)} of {PINGS} pings to {path.fip} got no answer")
        with contextlib.suppress(RuntimeError):
            path.vm.wait_received("ping")
        seen = path.vm.received("ping")
        expect(seen, f"pings to {path.fip} were answered, but {path.vm.name} saw none")
        step.notes.append(f"{path.vm.name} saw echo requests {pool_address(path, 'a ping', seen[-1]['peer'])}"
                          f" → {path.vm.address4}")


def show_http(screen: Screen, lab: Lab, path: Path64) -> None:
    """Fetch a page from a floating IP, and show who answered whom. Raises: DemoFailed."""
    with screen.step(f"GET http://[{path.fip}]/") as step:
        reply = lab.client.http_get(path.fip)
        answer = reply["answer"]
        path.http = step.result = f"{reply['status']}"
        expect(reply["status"] == 200, f"HTTP status {reply['status']} from {path.fip}")
        expect(answer["vm"] == path.vm.name, f"{path.fip} belongs to {path.vm.name}, {answer['vm']} answered")
        step.result += f", \"I am {answer['vm']}\""
        step.notes.append(f"{path.vm.name} saw GET / from "
                          f"{pool_address(path, 'a request', answer['you_are'])} to {answer['i_am']}")


def show_transfer(screen: Screen, lab: Lab, path: Path64) -> None:
    """Transfer data in both directions, and show the rates. Raises: DemoFailed."""
    with screen.step(f"TCP {TRANSFER >> 20} MiB there and back") as step:
        path.equal = "NO"
        there = lab.client.transfer(path.fip, TRANSFER, "put")
        back = lab.client.transfer(path.fip, TRANSFER, "get")
        path.rate = f"{megabits(there['bits_per_second'])}, {megabits(back['bits_per_second'])}"
        expect(there["equal"], f"{path.vm.name} received other bytes than the client sent")
        expect(back["equal"], f"the client received other bytes than {path.vm.name} sent")
        path.equal = "yes"
        step.result = path.rate
        pool_address(path, "a connection", there["seen_as"])
        for way, transfer in (("received", there), ("sent", back)):
            digest = transfer["peer_sha256"]
            step.notes.append(f"{path.vm.name} {way} SHA-256 {digest[:8]}…{digest[-8:]}, as the client")


def closing_table(client: Node, paths: list[Path64]) -> list[str]:
    """Return the lines of a table with the results of all paths."""
    head = (f"{client.address6}  →", "VM", "lost", "rtt", "HTTP", "TCP there, back", "SHA-256")
    rows = [(path.fip, f"{path.vm.name} {path.vm.address4}",
             f"{len(path.ping.lost)}/{path.ping.sent}" if path.ping else "-",
             milliseconds(path.ping.rtt_median if path.ping else None),
             path.http, path.rate, "equal" if path.equal == "yes" else path.equal) for path in paths]
    return list(table(head, rows, None))


# The demo


def ovs_version() -> str:
    """Return the version of Open vSwitch, "?" when it is unknown."""
    found = re.search(r"\d+(\.\d+)+", run("ovs-vswitchd", "--version").stdout)
    return found.group() if found else "?"


def build(screen: Screen, lab: Lab) -> None:
    """Build the lab, and show a picture of it."""
    with screen.step("build the lab") as step:
        lab.start()
        step.result = f"{len(lab.nodes) + (1 if lab.private else 0)} network namespaces"
        step.notes.append("Open vSwitch: one of its own in the host's namespace" if lab.private
                          else f"Open vSwitch: this machine's, bridge {lab.bridge}")
        if lab.translator == "tayga" and (reason := vpp.missing()):
            step.notes.append(f"translator: tayga ({reason})")
        for vm in ("vm-a", "vm-b"):
            lab[vm].serve(wait=False)
    screen.print()
    kind = "userspace" if lab.ovs.datapath_type == "netdev" else "kernel"
    translator = "tayga, one per tenant" if lab.translator == "tayga" else "VPP with the plugin fip64"
    screen.block(diagram(f"Open vSwitch {ovs_version()}, {kind} datapath", translator), "cyan", indent=4)
    screen.print()


def installed(lab: Lab, paths: list[Path64]) -> bool:
    """Whether the agent says that the floating IPs of all paths are active."""
    active = {fip["floating_ip_address"] for fip in lab.agent.get("/fips") if fip["state"] == "active"}
    return {path.fip for path in paths} <= active


def start_and_bind(screen: Screen, lab: Lab, paths: list[Path64]) -> None:
    """Start the agent, plug in uplink and VMs, and wait for answers. Raises: RuntimeError."""
    with screen.step("start fip64-agent") as step:
        lab.agent.start()
        step.result = f"ready, pid {lab.agent.pid}"
    with screen.step("plug in uplink, vm-a and vm-b") as step:
        start = time.monotonic()
        lab.bind("uplink", "vm-a", "vm-b")
        lab.wait_for(lambda: installed(lab, paths), 15, "both floating IPs installed")
        step.result = f"all installed after {time.monotonic() - start:.1f} s"
    with screen.step("wait for the first answers") as step:
        lab.wait_reachable(*(path.fip for path in paths))
        for path in paths:
            path.vm.wait_serving()
        step.result = "both VMs answer"


def run_all_parts(screen: Screen, lab: Lab) -> None:
    """Raises: DemoFailed, RuntimeError when anything is not as it should be."""
    screen.heading("fip64agent: IPv6 clients reach VMs that have only IPv4")
    screen.print("Two tenants, each with a VM. Both VMs have the same address, 10.0.0.5.", "dim")
    screen.print()
    build(screen, lab)
    paths = [Path64("a", FIP_A, lab["vm-a"]), Path64("b", FIP_B, lab["vm-b"])]
    start_and_bind(screen, lab, paths)
    for path in paths:
        screen.heading(f"tenant {path.tenant}:  client {lab.client.address6}  →  {path.fip}  →  "
                       f"{path.vm.name} {path.vm.address4}")
        show_ping(screen, lab, path)
        show_http(screen, lab, path)
        show_transfer(screen, lab, path)
    screen.print()
    screen.block(closing_table(lab.client, paths))


def agent_report(lab: Lab) -> list[str]:
    """Return what the agent has to say when the demo failed: warnings and errors, else its last lines."""
    if not hasattr(lab, "agent"):
        return []
    log = lab.agent.log().splitlines()
    striking = [line for line in log if re.search(r"WARNING|ERROR|CRITICAL|Traceback|Error:", line)]
    lines = (striking or log)[-15:]
    if lab.agent.process is not None and not lab.agent.running:
        lines.append(f"(the agent ended, exit status {lab.agent.process.returncode})")
    elif lab.agent.running:
        with contextlib.suppress(RuntimeError, OSError):
            lines += ["", "fip64ctl status:", *lab.ctl("status", check=False).stdout.splitlines()[:15]]
    return lines


def show_failure(screen: Screen, lab: Lab, error: Exception) -> None:
    """Show why the demo failed, with the agent's log."""
    screen.print()
    # What a longer message has beyond its first line is the agent's log, shown below.
    screen.print(f"The demo failed: {str(error).splitlines()[0].rstrip(':')}", "red", "bold")
    lines = agent_report(lab)
    if lines:
        screen.print()
        screen.print("What the agent says:", "bold")
        screen.block(lines)
    if hasattr(lab, "ovs") and not lab.private:
        screen.print()
        screen.print("This used the machine's own Open vSwitch; make demo OVS=private uses one of its own.")


def inspection_commands(identity: sweep.LabIdentity) -> list[str]:
    """Return the commands with which a lab that was kept can be examined, a line each."""
    directory = identity.directory
    path = min(program("fip64ctl"), os.path.relpath(program("fip64ctl")), key=len)
    ctl = f"{path} --socket {directory}/admin.sock"
    enter = f"nsenter --net=/run/netns/{identity.prefix}"
    return [
        f"{ctl} status",
        f"{ctl} fip list",
        f"{ctl} flow list",
        f"{ctl} trace {FIP_A}",
        "",
        f"{enter}client python3 -c \"import urllib.request as u; "
        f"print(u.urlopen('http://[{FIP_A}]').read())\"",
        f"{enter}client bash          # a shell in the client; vm-a, vm-b, upstream likewise",
        "",
        f"edit {directory}/topology.yaml   # the daemon follows",
        f"less {directory}/agent.log",
    ]


def show_inspection_commands(screen: Screen, identity: sweep.LabIdentity) -> None:
    """Show how a lab that was kept can be examined and removed."""
    screen.block(inspection_commands(identity))
    name = identity.directory.name
    remove = "make demo-clean" if name == NAME else f"{sys.executable} -m lab.demo --name {name} --clean"
    screen.print()
    screen.print(f"Remove it with: {remove}", "bold")


def is_kept(directory: Path) -> bool:
    """Whether the lab in `directory` was kept on purpose."""
    return (directory / "kept").exists()


def running_demo(directory: Path) -> sweep.LabIdentity | None:
    """Return the demo that is there already, if one is. A demo that was killed is removed."""
    try:
        identity = sweep.LabIdentity.load(directory)
    except (OSError, ValueError, TypeError):
        return None
    if identity.builder_lives or is_kept(directory):
        return identity
    sweep.remove(identity)
    return None


def show_running_demo(screen: Screen, identity: sweep.LabIdentity) -> None:
    """Say that there is a demo already, and how to examine it."""
    if not is_kept(identity.directory):
        screen.print(f"Another make demo is running, pid {identity.pid}.", "yellow")
        return
    screen.print("A demo that was kept is standing already. Look around in it:", "yellow")
    show_inspection_commands(screen, identity)


def clean(screen: Screen, directory: Path) -> int:
    """Remove a demo that was kept. Returns the exit status."""
    try:
        identity = sweep.LabIdentity.load(directory)
    except (OSError, ValueError, TypeError):
        screen.print("No demo is standing; nothing to remove.")
        return 0
    sweep.remove(identity)
    left = sweep.leftovers(identity)
    screen.block([f"not removed: {item}" for item in left], "red")
    if not left:
        screen.print("The demo was removed; nothing is left of it.")
    return 1 if left else 0


def finish(screen: Screen, lab: Lab) -> bool:
    """Remove the lab; say so, and whether anything is left."""
    with screen.step("clean up") as step:
        lab.stop()
        left = lab.leftovers()
        step.result = "nothing left behind" if not left else "left behind:"
        step.notes = left
    return not left


def demo(screen: Screen, lab: Lab, keep: bool) -> int:
    """Run the demo, and remove its lab unless `keep` is set. Returns the exit status."""
    start = time.monotonic()
    status = 1
    try:
        run_all_parts(screen, lab)
        status = 0
    except (DemoFailed, RuntimeError, OSError) as error:
        show_failure(screen, lab, error)
    except KeyboardInterrupt:
        screen.print("\n  interrupted", "yellow")
        status = 130
    keep = keep and status != 130 and hasattr(lab, "agent")
    if not keep and hasattr(lab, "directory"):
        screen.print()
        if not finish(screen, lab):
            status = status or 1
    if not status:
        screen.print()
        screen.print(f"All of it worked, in {time.monotonic() - start:.1f} s.", "green", "bold")
    if keep:
        (lab.directory / "kept").touch()
        screen.heading("It is kept. Look around:")
        show_inspection_commands(screen, lab.identity)
    return status


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the lab standing")
    parser.add_argument("--clean", action="store_true", help="remove a lab that was left standing")
    parser.add_argument("--ovs", choices=("auto", "private", "system"), default="auto",
                        help="the machine's Open vSwitch, one of its own, or whichever there is")
    parser.add_argument("--translator", choices=("auto", "vpp", "tayga"), default="auto",
                        help="auto: vpp where VPP and the fip64 plugin are found, else tayga")
    parser.add_argument("--name", default=NAME,
                        help="%(default)s; another one for a second demo beside the first")
    options = parser.parse_args()
    screen = Screen()
    if os.geteuid():
        print("The demo makes network namespaces and Open vSwitch bridges: run it as root (sudo make demo).",
              file=sys.stderr)
        return 1
    directory = RUN / options.name
    if options.clean:
        return clean(screen, directory)
    if identity := running_demo(directory):
        show_running_demo(screen, identity)
        return 1
    # SIGINT too: a shell that starts us in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    without_vpp = vpp.missing()
    if options.translator == "vpp" and without_vpp:
        parser.error(f"--translator vpp: {without_vpp}")
    translator = options.translator
    if translator == "auto":
        translator = "tayga" if without_vpp else "vpp"
    lab = Lab(bind=False, ovs=options.ovs, bridge=options.name, prefix=f"{options.name}-",
              directory=directory, translator=translator)
    return demo(screen, lab, options.keep)


if __name__ == "__main__":
    sys.exit(main())
