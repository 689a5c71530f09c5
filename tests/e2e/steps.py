# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests do and look at again and again."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime

from lab import vpp
from lab.daemon import wait_for
from lab.host import Lab
from lab.shell import run

REPAIRED = 5.0
"""Seconds within which damage must be repaired."""
EFFECTIVE = 1.0
"""Seconds within which a changed floating IP must be effective."""


def fip(lab: Lab, address: str) -> dict:
    """The row of fip64ctl for one floating address; {} when it has none."""
    for row in lab.agent.get("/fips"):
        if row["floating_ip_address"] == address:
            return row
    return {}


def wait_state(lab: Lab, address: str, state: str, seconds: float = 10) -> dict:
    """Wait until a floating IP is in `state`; returns its row."""
    def there():
        row = fip(lab, address)
        return row if row.get("state") == state else None
    try:
        return wait_for(there, seconds, f"{address} {state}")
    except RuntimeError as error:
        raise RuntimeError(f"{error}; it is {fip(lab, address)}") from error


def wait_settled(lab: Lab, seconds: float = 15) -> None:
    """Wait until the agent has read the topology, carried out its plan, and a read-back agrees."""
    def settled():
        written = lab.topology.path.stat().st_mtime
        status = lab.agent.get("/status")
        # Told in whole seconds, and not at all for a file that changes nothing: after two seconds all
        # that was written has been read.
        loaded = status["topology"]["loaded_at"]
        known = ((loaded and datetime.fromisoformat(loaded).timestamp() >= written)
                 or time.time() - written > 2)
        return known and status["settled"] and not lab.agent.get("/diff")["changes"]

    wait_for(settled, seconds, "the agent settles")


def namespaces(lab: Lab) -> list[str]:
    """Names of the translator's network namespaces."""
    prefix = lab.agent.config["tayga"]["netns_prefix"]
    listed = json.loads(run("ip", "-j", "netns", "list").stdout or "[]")
    return sorted(entry["name"] for entry in listed if entry["name"].startswith(prefix))


def links(lab: Lab) -> list[str]:
    """Names of the agent's links in the host's namespace."""
    listed = json.loads(run("ip", "-j", "link", "show", netns=lab.host).stdout)
    return sorted(link["ifname"] for link in listed if link["ifname"].startswith(("ovs-", "vpp-"))
                  and link["ifname"] not in ("ovs-netdev", "ovs-system"))


def owned_flows(lab: Lab) -> list[str]:
    """The flows with the agent's cookie, without counters, sorted."""
    return sorted(line.strip() for line in lab.flows().splitlines() if "cookie=0xf164" in line)


def flow_install_times(lab: Lab) -> dict[str, tuple[float, float]]:
    """When each of the agent's flows was installed: the earliest and the latest time, in s."""
    asked = time.monotonic()
    shown = lab.ovs.ofctl("dump-flows", lab.bridge).stdout
    answered = time.monotonic()
    found = {}
    for line in shown.splitlines():
        if "cookie=0xf164" in line:
            fields = dict(re.findall(r"(cookie|duration|table)=(\w+\.?\d*)", line))
            age = float(fields["duration"])
            name = f"{fields['table']} {fields['cookie']} {line.partition(' priority=')[2]}"
            found[name] = asked - age, answered - age
    return found


def reinstalled_flows(before: dict, after: dict) -> list[str]:
    """The flows that were installed between two flow_install_times(): owned_flows() shows the same then."""
    return [name for name, (earliest, _) in after.items()
            if name not in before or earliest > before[name][1] + 0.01]


def dump(lab: Lab) -> dict:
    """All that is installed, with what would change if anything were made anew (ifindex, pids)."""
    kernel = {}
    for netns in [lab.host, *namespaces(lab)]:
        for what in ("link", "address", "-4 route", "-6 route", "-4 rule", "-6 rule", "neigh"):
            words = what.split()
            extra = ["table", "all"] if words[-1] == "route" else []
            shown = run("ip", "-j", *words, "show", *extra, netns=netns, check=False).stdout
            rows = json.loads(shown or "[]")
            if words[-1] == "neigh":
                rows = [row for row in rows if "PERMANENT" in row.get("state", ())]
            for row in rows:
                row.pop("stats64", None)
                row.pop("operstate", None)  # linkwatch sets it up to a second after a change
            kernel[f"{netns} {what}"] = sorted(json.dumps(row, sort_keys=True) for row in rows)
    ports = lab.ovs.vsctl("-f", "json", "--columns=name,ofport,external_ids,_uuid", "list",
                          "Interface").stdout
    return {"kernel": kernel, "flows": owned_flows(lab), "ports": sorted(map(str, json.loads(ports)["data"])),
            "translators": translators(lab), "vpp": vpp_state(lab) if lab.translator == "vpp" else {}}


def translators(lab: Lab) -> dict[int, str]:
    """tayga and VPP processes of this lab: pid -> command line."""
    run_path = str(lab.agent.config["DEFAULT"]["run_path"])
    found = {}
    for line in run("ps", "-eo", "pid=,stat=,args=").stdout.splitlines():
        pid, status, command = line.split(None, 2)
        if (command.split()[0].rpartition("/")[2] in ("tayga", "vpp") and run_path in command
                and not status.startswith("Z")):
            found[int(pid)] = command
    return found


def vppctl(lab: Lab, command: str) -> str:
    """What the lab's VPP prints; "" when it does not run."""
    socket = f"{lab.agent.config['DEFAULT']['run_path']}/vpp/cli.sock"
    return run(str(vpp.find().vppctl), "-s", socket, command, check=False).stdout


def tenants(lab: Lab) -> set[str]:
    """Router ids of the tenants that the translator itself knows."""
    if lab.translator == "vpp":
        return set(re.findall(r"tag fip64:tenant:(\S+)", vppctl(lab, "show fip64 tenants")))
    prefix = lab.agent.config["tayga"]["netns_prefix"]
    return {name.removeprefix(prefix) for name in namespaces(lab)} - {"core", "nd"}


def vpp_state(lab: Lab) -> dict[str, str]:
    """What VPP has, without counters."""
    shown = {command: vppctl(lab, command) for command in (
        "show interface addr", "show fip64 tenants", "show fip64 mappings", "show version")}
    shown["show fip64 tenants"] = re.sub(r"bindings \d+ of", "bindings of", shown["show fip64 tenants"])
    shown["show fip64 mappings"] = "\n".join(sorted(
        " ".join(line.split()[:4]) for line in shown["show fip64 mappings"].splitlines()))
    return shown


def within(seconds: float, condition, what: str) -> float:
    """Wait for the condition; return how long it took, in seconds. Raises: RuntimeError."""
    begun = time.monotonic()
    wait_for(condition, seconds, what, interval=0.02)
    return time.monotonic() - begun
