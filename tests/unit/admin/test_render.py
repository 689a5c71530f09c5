# SPDX-License-Identifier: Apache-2.0
"""Texts for the terminal."""

import pytest

from fip64agent.admin import render, report


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0 s"), (0.9, "0 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (3600, "1 h"),
    (3660, "1 h 1 min"), (3601, "1 h"), (90061, "1 d 1 h"), (86400, "1 d"), (86460, "1 d")])
def test_duration(seconds, text):
    assert render.duration(seconds) == text


NOT_LIVE = {"live_seconds": None, "live_problem": None, "seen": None}


def step(name, result, looked_at="", detail=""):
    return {"name": name, "title": f"title of {name}", "result": result, "looked_at": looked_at,
            "detail": detail}


def test_a_trace_that_stops():
    text = render.trace({"client": "2001:db8::1", "floating_ip_address": "2001:db8:f::10",
                         "fixed_ip_address": "10.0.0.5", "steps": [
                             step("a", "ok", "the plan", "all there"), step("b", "stop", "flows", "dropped"),
                             step("c", "not reached")], **NOT_LIVE})
    assert text.splitlines() == [
        "From client 2001:db8::1 to 2001:db8:f::10 (10.0.0.5) and back", "",
        "  1  ok    title of a", "            the plan", "            all there",
        "  2  STOP  title of b", "            flows", "            dropped",
        "  3  -     title of c", "",
        "Verdict: stops at step 2 (title of b): dropped"]


def test_a_trace_that_arrives():
    text = render.trace({"client": None, "floating_ip_address": "2001:db8:f::10", "fixed_ip_address": None,
                         "steps": [step("a", "note")], **NOT_LIVE})
    assert text.splitlines()[-1] == "Verdict: a packet reaches the VM, and the answer finds its way back."


@pytest.mark.parametrize(("seen", "lines"), [
    ([], ["No packet of this floating IP came to the translator within 5 s."]),
    ([{"seconds": 0.25, "lines": ["af-packet-input > ip6-fip64", "ip6-fip64:", "  translated"]}],
     ["Packets of this floating IP that the translator handled just now:", "",
      "  0.250000 s  af-packet-input > ip6-fip64", "      ip6-fip64:", "        translated"])])
def test_live_packets(seen, lines):
    text = render.trace({"client": None, "floating_ip_address": "2001:db8:f::10", "fixed_ip_address": None,
                         "steps": [step("a", "ok")], "live_seconds": 5, "live_problem": None, "seen": seen})
    assert text.splitlines()[6:] == lines


def test_diff_counts_by_action():
    changes = [{"room": "links", "action": action, "object": "", "what": "x"}
               for action in ("create", "create", "remove")]
    assert render.diff(changes).splitlines()[-1] == "3 changes: 2 to create, 0 to update, 1 to remove"
    assert render.diff([]) == "nothing to change\n"


def test_a_plan_with_failures_is_not_called_carried_out(agent):
    answer = report.status(agent)
    assert "carried out; installed" in render.status(answer)
    answer["failures"] = 2
    assert "carried out but for 2 items that fail; installed" in render.status(answer)


def test_a_status_with_very_many_problems_stays_readable(agent):
    answer = report.status(agent)
    answer["problems"] = [{"severity": "error", "text": f"problem {number}", "details": [], "suffering": []}
                          for number in range(500)]
    lines = render.status(answer).splitlines()
    assert lines[0] == "fip64-agent on node-1: 500 things are wrong"
    assert len(lines) < 40 and "  - and 480 more: " in lines[23]
