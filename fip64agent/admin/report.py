# SPDX-License-Identifier: Apache-2.0
"""The answers of the admin API, as plain data for JSON. Reads the agent, changes nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from typing import Any

import fip64agent
from fip64agent import hub
from fip64agent.admin.answers import json_value, timestamp
from fip64agent.admin.listing import Listing
from fip64agent.admin.problems import WARNING, count_and_explain
from fip64agent.admin.state import State, States
from fip64agent.plan.desired import ACTIVE

_COMPONENTS = ("os-ken", "eventlet", "pyroute2", "ovsdbapp")


# -- status ---------------------------------------------------------------------------------


def status(agent) -> dict[str, Any]:
    """Return what is wrong, counts, versions, times."""
    states = States(agent)
    counts, problems = count_and_explain(agent, states)
    worst = next((problem["severity"] for problem in problems if problem["severity"] != WARNING), ACTIVE)
    loop, error = agent.loop, agent.topology_error
    return {
        "state": worst,
        "problems": problems,
        "objects": counts,
        "installed": loop.counts(),
        "settled": loop.settled,
        "passes": loop.passes,
        "last_pass_seconds": round(loop.last_pass_seconds, 4),
        "applied": loop.applied,
        "pruned": loop.pruned,
        "failures": len(states.failures),
        "blocked": states.blocked,
        "topology": {"path": agent.topology_path, "loaded_at": timestamp(agent.topology_loaded_at),
                     "errors": [str(problem) for problem in error.problems] if error else []},
        "metrics": metrics_url(agent),
        "host": agent.conf.host,
        "translator": agent.rooms["translator"].kind,
        "translator_details": _translator(agent),
        "bridge": agent.conf.ovs.bridge,
        "datapath": json_value(agent.inputs.datapath) if agent.inputs else None,
        "pid": os.getpid(),
        "started_at": timestamp(agent.started_at),
        "uptime_seconds": round(time.time() - agent.started_at, 1),
        "versions": versions(),
    }


def _translator(agent) -> dict[str, Any]:
    """Why this translator, and the program behind it; None: there is no such thing."""
    about = agent.rooms["translator"].about()
    return {"chosen": agent.choice.reason, "launch": about.launch, "version": about.version, "pid": about.pid,
            "uptime_seconds": round(about.uptime, 1) if about.uptime is not None else None,
            "restarts": about.restarts, "probe_seconds": about.probe,
            "next_start_seconds": round(about.next_start, 1) if about.next_start is not None else None,
            "down": agent.rooms["translator"].ready()}


def versions() -> dict[str, str]:
    """Return the versions of the agent and of the libraries that it depends on most, by name."""
    result = {"fip64agent": fip64agent.__version__, "python": platform.python_version()}
    for name in _COMPONENTS:
        try:
            result[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return result


def metrics_url(agent) -> str | None:
    """Return where metrics are served; None when they are not."""
    return agent.metrics.url if agent.metrics is not None else None


# -- objects --------------------------------------------------------------------------------


def objects(agent, listing: Listing) -> list[dict[str, Any]]:
    """Return a row for each object of a kind."""
    states = States(agent)
    return [_row(states, listing, name, state) | {"alike": state.common}
            for name, state in hub.yielding(states.all(listing.kind))]


def details(agent, listing: Listing, name: str) -> dict[str, Any]:
    """Return all there is to know about one object; its listing has details."""
    states = States(agent)
    return (_row(states, listing, name, states.state(listing.kind, name))
            | listing.details.fields(states, name))


def _row(states: States, listing: Listing, name: str, state: State) -> dict[str, Any]:
    return {**listing.row(states, name), "state": state.state, "reason": state.reason,
            "cause": _cause(state, (listing.kind, name))}


def _cause(state: State, key: tuple[str, str]) -> str | None:
    """Return what is at fault: ``uplink <id>``, ``tenant <id>``, ``host``, ``room <name>``; None: itself."""
    return " ".join(state.cause) if state.cause not in (None, key) else None


# -- what should be, and what would change --------------------------------------------------


def plan(agent) -> dict[str, Any]:
    """Return the plan in force: what should be installed on this host, and why the rest is not."""
    desired = agent.loop.desired
    return {
        "objects": [{"kind": obj.kind, "id": " ".join(obj.key[1:]), "attributes": json_value(obj)}
                    for obj in desired.objects()],
        "problems": [{"kind": kind, "id": name, "state": problem.state, "reason": problem.reason}
                     for (kind, name), problem in sorted(desired.problems.items())],
        "allocations": json_value(desired.allocations.numbers),
    }


def diff(agent) -> dict[str, Any]:
    """Return what the next pass would change. Raises: NotReady when a room cannot be asked."""
    return {"changes": [{"room": change.room, "action": change.action, "object": " ".join(change.owner),
                         "what": change.what} for change in agent.loop.preview()]}
