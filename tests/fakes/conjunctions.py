# SPDX-License-Identifier: Apache-2.0
"""Looks packets up among flows as Open vSwitch does, conjunctive matches too (ovs-fields(7))."""

from fip64agent.switch.flows.flow import Conjunction


def _matches(match, fields):
    return all(name in fields and _is(fields[name], value) for name, value in match)


def _is(found, value):
    if isinstance(value, tuple):
        return found & value[1] == value[0]
    return found in value if hasattr(value, "prefixlen") else found == value


def looked_up(flows, fields):
    """Return the actions of the flow that a packet matches: of the highest priority that has one."""
    for priority in sorted({flow.priority for flow in flows}, reverse=True):
        level = [flow for flow in flows if flow.priority == priority]
        clauses: dict = {}
        found = []
        for flow in level:
            if "conj_id" in dict(flow.match) or not _matches(flow.match, fields):
                continue
            parts = [action for action in flow.actions if isinstance(action, Conjunction)]
            for part in parts:
                clauses.setdefault((part.number, part.clauses), set()).add(part.clause)
            if not parts:
                found.append(flow)
        complete = {number for (number, count), got in clauses.items() if len(got) == count}
        found += [flow for flow in level if dict(flow.match).get("conj_id") in complete]
        if found:
            assert len({flow.actions for flow in found}) == 1
            return found[0].actions
    return None
