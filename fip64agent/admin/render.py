# SPDX-License-Identifier: Apache-2.0
"""The agent's answers as text for a terminal. Pure: used by fip64ctl, so it imports little."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fip64agent.admin.listing import listing_of
from fip64agent.admin.tables import folded, wrapped

_HEADINGS = (("error", "Wrong:"), ("warning", "Look at:"), ("pending", "Pending:"))
_SHOWN = 20
"""The most problems of one severity, and details of one problem, that are shown."""
_MARKS = {"ok": "ok", "note": "note", "stop": "STOP", "not reached": "-"}


def duration(seconds: float) -> str:
    """Return ``3 d 4 h``, ``4 h 5 min``, ``5 min 6 s`` or ``6 s``."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    left, parts = int(seconds), []
    for unit, size in units:
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)


def status(answer: dict[str, Any], width: int | None = None) -> str:
    """Return what is wrong, then counts, then the agent itself. `width`: see tables."""
    lines = [_summary(answer), "", *_problems(answer["problems"], reversed(answer["objects"])),
             *_counts(answer["objects"]), "", *_agent(answer)]
    return folded("\n".join(lines) + "\n", width)


def _summary(answer: dict[str, Any]) -> str:
    counts = {severity: sum(problem["severity"] == severity for problem in answer["problems"])
              for severity, _heading in _HEADINGS}
    if counts["error"]:
        text = f"{_number(counts['error'], 'thing is', 'things are')} wrong"
        if counts["pending"]:
            text += f", {_number(counts['pending'], 'thing is', 'things are')} pending"
    elif counts["pending"]:
        text = f"nothing is wrong, {_number(counts['pending'], 'thing is', 'things are')} pending"
    else:
        text = f"all is well, {' and '.join(_active(answer['objects']))}"
    return f"fip64-agent on {answer['host']}: {text}"


def _active(objects: dict[str, dict[str, int]]) -> Iterator[str]:
    for listing in map(listing_of, objects):
        if listing.headline:
            yield _number(objects[listing.kind]["active"], f"{listing.title} is active",
                          f"{listing.titles} are active")


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _problems(problems: list[dict[str, Any]], kinds: Iterable[str]) -> Iterator[str]:
    for severity, heading in _HEADINGS:
        found = [problem for problem in problems if problem["severity"] == severity]
        if found:
            yield heading
            for problem in found[:_SHOWN]:
                yield f"  - {problem['text']}" + (":" if problem["details"] else "")
                yield from _shortened(problem["details"], "      ", "fip64ctl status -f yaml")
                yield from (f"      {sentence}" for sentence in problem["suffering"])
            if len(found) > _SHOWN:
                lists = ", ".join(f"{kind} list" for kind in kinds if listing_of(kind).path)
                yield f"  - and {len(found) - _SHOWN} more: fip64ctl {lists}, status -f yaml"
            yield ""


def _shortened(lines: list[str], indent: str, elsewhere: str) -> Iterator[str]:
    yield from (indent + line for line in lines[:_SHOWN])
    if len(lines) > _SHOWN:
        yield f"{indent}and {len(lines) - _SHOWN} more: {elsewhere}"


def _counts(objects: dict[str, dict[str, int]]) -> Iterator[str]:
    states = list(next(iter(objects.values())))
    yield f"{'':14}" + "".join(f"{state:>9}" for state in states)
    for kind, counts in objects.items():
        yield f"{listing_of(kind).titles:14}" + "".join(f"{counts[state]:>9}" for state in states)


def _agent(answer: dict[str, Any]) -> Iterator[str]:
    installed = ", ".join(f"{room} {count}" for room, count in answer["installed"].items())
    topology = answer["topology"]
    settled = "carried out" if answer["settled"] else "not carried out yet"
    if answer["settled"] and answer["failures"]:
        settled += f" but for {_number(answer['failures'], 'item that fails', 'items that fail')}"
    yield f"{'plan':14}{settled}; installed items: {installed}"
    yield (f"{'last pass':14}{answer['last_pass_seconds'] * 1000:.1f} ms; since the start {answer['passes']} "
           f"passes, {answer['applied']} items applied, {answer['pruned']} pruned, "
           f"{answer['failures']} failing now")
    yield f"{'topology':14}{topology['path']}, loaded {topology['loaded_at'] or 'never'}"
    yield f"{'bridge':14}{answer['bridge']}"
    yield f"{'datapath':14}{_datapath(answer['datapath'])}"
    yield f"{'translator':14}{_translator(answer['translator'], answer['translator_details'])}"
    yield f"{'metrics':14}{answer['metrics'] or 'not served'}"
    versions = ", ".join(f"{name} {version}" for name, version in answer["versions"].items())
    yield f"{'agent':14}process {answer['pid']}, up {duration(answer['uptime_seconds'])}, {versions}"


def _datapath(able: dict[str, Any] | None) -> str:
    """Return which datapath the bridge has, and what flows can do with it."""
    if able is None:
        return "not known yet"
    kind = {"system": "kernel (system)", "netdev": "userspace (netdev)"}.get(able["kind"], able["kind"])
    words = {"nd_flags": "sets ND flags", "packet_size": "checks packet size", "conntrack": "conntrack",
             "meters": "meters"}
    return ", ".join([kind, *(f"{word}: {'yes' if able[name] else 'no'}" for name, word in words.items())])


def _translator(kind: str, details: dict[str, Any]) -> str:
    parts = [f"{kind} ({details['chosen']})"]
    if details["version"]:
        parts.append(details["version"])
    if details["launch"] == "external":
        parts.append("run by others")
    if details["pid"]:
        parts.append(f"process {details['pid']}")
    if details["uptime_seconds"] is not None:
        parts.append(f"up {duration(details['uptime_seconds'])}")
    if details["restarts"]:
        parts.append(f"lost {_number(details['restarts'], 'time', 'times')} since the agent started")
    if details["down"]:
        parts.append(f"DOWN: {details['down']}")
        if details["next_start_seconds"]:
            parts.append(f"started again in {details['next_start_seconds']:.0f} s")
    return ", ".join(parts)


# -- lists ----------------------------------------------------------------------------------


def reasons(rows: Sequence[dict[str, Any]], nouns: tuple[str, str], width: int | None) -> list[str]:
    """Return what is said below a list: how many there are, and each reason once.

    Adds the number of its reason to the state of each of `rows`, which have state, reason, alike and cause.
    nouns: of one object and of many. width: see tables.
    """
    states: dict[str, int] = {}
    groups: dict[tuple[str, str, str | None], list[dict[str, Any]]] = {}
    for row in rows:
        states[row["state"]] = states.get(row["state"], 0) + 1
        if row["reason"]:
            groups.setdefault((row["state"], row["alike"] or row["reason"], row["cause"]), []).append(row)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    lines = [f"{_number(len(rows), *nouns)}{counts and ': '}{counts}"]
    for number, ((state, reason, cause), those) in enumerate(groups.items(), 1):
        if len({row["reason"] for row in those}) == 1:
            reason = those[0]["reason"]
        for row in those:
            row["state"] = f"{state} ({number})"
        because = f", {cause.removeprefix('room ')} is at fault" if cause else ""
        lines += ["", f"({number}) {state}, {_number(len(those), *nouns)}{because}:"]
        lines += [f"    {line}" for line in wrapped(reason, None if width is None else width - 4)]
    return folded("\n".join(lines), width).split("\n")


def diff(changes: list[dict[str, Any]], width: int | None = None) -> str:
    """Return a line for each change, and their numbers. width: see tables."""
    if not changes:
        return "nothing to change\n"
    lines = [f"{change['room']:10} {change['action']:6} {change['what']}  [{change['object'] or 'no owner'}]"
             for change in changes]
    counts = ", ".join(_number(sum(change["action"] == action for change in changes), f"to {action}",
                               f"to {action}") for action in ("create", "update", "remove"))
    return folded("\n".join([*lines, "", f"{_number(len(changes), 'change', 'changes')}: {counts}"]) + "\n",
                  width)


def trace(answer: dict[str, Any], width: int | None = None) -> str:
    """Return the steps of a trace, each with what was looked at, and the verdict. width: see tables."""
    steps = answer["steps"]
    lines = [f"From client {answer['client'] or '?'} to {answer['floating_ip_address']} "
             f"({answer['fixed_ip_address'] or 'no fixed IP'}) and back", ""]
    for number, step in enumerate(steps, 1):
        lines.append(f"{number:3}  {_MARKS[step['result']]:5} {step['title']}")
        lines += [f"            {text}" for text in (step["looked_at"], step["detail"]) if text]
    stop = next(((number, step) for number, step in enumerate(steps, 1) if step["result"] == "stop"), None)
    lines.append("")
    if stop is None:
        lines.append("Verdict: a packet reaches the VM, and the answer finds its way back.")
    else:
        number, step = stop
        lines.append(f"Verdict: stops at step {number} ({step['title']}): {step['detail']}")
    return folded("\n".join([*lines, *_live_packets(answer)]) + "\n", width)


def _live_packets(answer: dict[str, Any]) -> Iterator[str]:
    if answer["live_problem"]:
        yield from ("", f"Real packets cannot be shown: {answer['live_problem']}")
    if answer["seen"] is None:
        return
    yield ""
    if not answer["seen"]:
        yield f"No packet of this floating IP came to the translator within {answer['live_seconds']} s."
        return
    yield "Packets of this floating IP that the translator handled just now:"
    for packet in answer["seen"]:
        nodes, *details = packet["lines"]
        yield ""
        yield f"  {packet['seconds']:.6f} s  {nodes}"
        yield from (f"      {line}" for line in details)
