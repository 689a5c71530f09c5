# SPDX-License-Identifier: Apache-2.0
"""Reads what ``ovs-appctl ofproto/trace`` says. Pure."""

from __future__ import annotations

import dataclasses
import re

from fip64agent.switch import features, pipeline

_RULE = re.compile(r"^\s*(?P<table>\d+)\. (?P<match>.*?)(?:, )?priority (?P<priority>\d+)"
                   r"(?:, cookie (?P<cookie>0x[0-9a-f]+))?$")
_NO_MATCH = re.compile(r"^\s*(?P<table>\d+)\. No match\.$")
_OUTPUT = re.compile(r"^\s+output:(?P<port>\d+)$")
_IN_PORT = re.compile(r"^\s+(?:IN_PORT|in_port)$")
_BUNDLE = re.compile(r"^\s+bundle\(.*(?:members|slaves):(?P<ports>[\d,]+)\)$")
_NORMAL = re.compile(r"^\s+NORMAL$")
_COMPLAINT = re.compile(r"^\s*>>+ (?P<text>.+?)(?: <<+)?$")
_LINE = re.compile(r"^(?P<name>Flow|Final flow|Datapath actions): (?P<value>.*?)\s*$")
_FIRST_PORT = re.compile(r"\bin_port=(\d+)")


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A flow that the packet matched."""

    table: int
    match: str
    priority: int
    cookie: int

    def __str__(self) -> str:
        ours = pipeline.decode_cookie(self.cookie)
        if ours is None:
            whose = f"foreign, cookie {self.cookie:#x}"
        else:
            whose = features.feature_name(ours[0]) or "of an unknown feature"
        table = features.table_name(self.table)
        return f"[{table} {self.priority} {whose}] {self.match or 'everything'}"


@dataclasses.dataclass(frozen=True, slots=True)
class FlowTrace:
    """The flows that a packet matched, and where it was sent. As text: the flows in their order."""

    rules: tuple[Rule, ...]
    outputs: tuple[int, ...]
    """OpenFlow ports that flows name as output; the port it came in by for IN_PORT; all members of a bundle,
    unless none of them is up."""
    normal: bool
    """The packet was handed to NORMAL, so it is switched by MAC address: by none of our flows."""
    unmatched_table: int | None
    """The table where no flow matched."""
    complaints: tuple[str, ...]
    """What Open vSwitch remarks: an output port that does not exist, an unknown input port."""
    flow: str
    """The packet's fields as it came in."""
    final_flow: str
    """Its fields as the last flow left them."""

    def __str__(self) -> str:
        if self.unmatched_table is not None and not self.outputs:
            return f"no flow matches in table {self.unmatched_table}"
        return ", then ".join(map(str, self.rules)) + "".join(f"; {text}" for text in self.complaints)


def parse(text: str) -> FlowTrace:
    """Parse the output of ofproto/trace."""
    rules: list[Rule] = []
    outputs: list[int] = []
    bundled: list[int] = []
    complaints: list[str] = []
    normal, unmatched = False, None
    lines: dict[str, str] = {}
    in_port = int(found[1]) if (found := _FIRST_PORT.search(text)) else 0
    for line in text.splitlines():
        if found := _RULE.match(line):
            rules.append(Rule(int(found["table"]), found["match"], int(found["priority"]),
                              int(found["cookie"] or "0", 16)))
        elif found := _NO_MATCH.match(line):
            unmatched = int(found["table"])
        elif found := _OUTPUT.match(line):
            outputs.append(int(found["port"]))
        elif _IN_PORT.match(line):
            outputs.append(in_port)
        elif found := _BUNDLE.match(line):
            bundled += map(int, found["ports"].split(","))
        elif _NORMAL.match(line):
            normal = True
        elif found := _COMPLAINT.match(line):
            complaints.append(found["text"])
        elif found := _LINE.match(line):
            lines[found["name"]] = found["value"]
    if bundled and lines.get("Datapath actions") == "drop":
        complaints.append("no member of the bond is up")
    else:
        outputs += bundled
    flow, final = lines.get("Flow", ""), lines.get("Final flow", "unchanged")
    return FlowTrace(tuple(rules), tuple(outputs), normal, unmatched, tuple(complaints),
                flow, flow if final == "unchanged" else final)
