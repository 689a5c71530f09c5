# SPDX-License-Identifier: Apache-2.0
"""Prints doc/source/reference/pipeline.rst: ``python -m fip64agent.switch.document > ...``.

Everything on the page comes from the code; a test fails when the page is stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fip64agent.switch import features, pipeline, text
from fip64agent.switch.connection import codec
from fip64agent.switch.features import Example, FlowFeature


def _table(header: Sequence[str], rows: Iterable[Sequence[object]], widths: str) -> Iterator[str]:
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield f"   :widths: {widths}"
    yield ""
    for row in (header, *rows):
        for number, cell in enumerate(row):
            yield f"   {'* -' if number == 0 else '  -'} {cell}"
    yield ""


def _title(title: str, mark: str) -> Iterator[str]:
    yield from (title, mark * len(title), "")


def _code(content: str) -> str:
    return f"``{content.replace(',', ', ')}``"


def _flows(feature: FlowFeature, example: Example) -> Iterator[str]:
    rows = []
    for obj in example.objects:
        for flow in feature.flows[obj.kind](obj):
            item = codec.encode(flow)
            rows.append((features.table_name(flow.table), flow.priority,
                         _code(text.match_text(item.match)) if item.match else "any packet",
                         _code(text.instructions_text(item.instructions))))
    yield from _table(("Table", "Priority", "Match", "Actions"), rows, "14 8 39 39")


def _declared() -> Iterator[str]:
    """Yield the sections about tables, registers and conntrack zones."""
    yield from _title("Tables", "-")
    yield from _table(("Number", "Name", "Stage", "Purpose", "Matches", "Leads to"),
                      [(table.number, table.name, table.stage, table.purpose, table.matches, table.leads_to)
                       for table in features.tables().values()], "8 12 10 25 25 20")
    every = features.features().values()
    for title, head, rows in (
            ("Registers", ("Register", "Meaning"),
             sorted((register.name, register.meaning) for feature in every
                    for register in feature.registers)),
            ("Conntrack zones", ("Zones", "Meaning"),
             [(f"{zone.first}-{zone.last}", zone.meaning)
              for zone in sorted((zone for feature in every for zone in feature.zones),
                                 key=lambda zone: zone.first)])):
        yield from _title(title, "-")
        yield from _table(head, rows, "20 80") if rows else ("None is used.", "")


def lines() -> Iterator[str]:
    """Yield the page."""
    yield ".. Made by python -m fip64agent.switch.document; do not edit."
    yield ""
    yield from _title("OpenFlow pipeline", "=")
    yield from ("The flows that fip64-agent keeps in the bridge. ``fip64ctl flow list`` shows them,",
                "with these names. Flows of other systems are neither changed nor removed: where one of",
                "them has the table, priority and match of a flow of ours, ours is not installed and is",
                "reported.", "")
    yield from _declared()
    yield from _title("Priorities in the classifier", "-")
    yield from _table(("Priority", "Flows"), pipeline.PRIORITIES.items(), "20 80")
    yield from _title("Cookie", "-")
    yield from ("The cookie says that a flow is ours, what it is for and whom it serves. All flows of ours:",
                f"``ovs-ofctl dump-flows BRIDGE cookie=0x{pipeline.COOKIE_VALUE:x}"
                f"/0x{pipeline.COOKIE_MASK:x}``.", "")
    yield from _table(("Bits", "Field", "Value"), pipeline.COOKIE_LAYOUT, "12 22 66")
    yield from _title("Meters", "-")
    yield from ("How often a port's packets go to the agent is limited for each port and feature by a meter.",
                f"Its number is 0x{pipeline.METER_PREFIX:02x}, the feature's number (8 bits) and the port's "
                "OpenFlow number (16 bits).", "")
    yield from _title("Features", "-")
    every = sorted(features.features().values(), key=lambda feature: feature.number)
    yield from _table(("Number", "Feature", "What it does"),
                      [(feature.number, feature.name, feature.purpose) for feature in every], "10 20 70")
    for feature in every:
        yield from _title(f"Flows: {feature.name}", "-")
        for example in feature.examples:
            yield from _title(example.title, "~")
            yield from (example.introduction, "")
            yield from _flows(feature, example)


def page() -> str:
    """Return the page."""
    return "\n".join(line.rstrip() for line in lines()).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")
