# SPDX-License-Identifier: Apache-2.0
"""``.. topology-attributes:: SECTION``: the attributes of a kind of resource, out of the code.

SECTION is a key of fip64agent.topology.attributes.SECTIONS, or ``Route`` or ``FixedIP``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from fip64agent.topology.attributes import FIXED_IP, ROUTE, SECTIONS, Resource

RESOURCES: dict[str, Resource] = {**SECTIONS, FIXED_IP.name: FIXED_IP, ROUTE.name: ROUTE}


def lines(resource: Resource) -> Iterator[str]:
    """Yield the reStructuredText of a resource's attributes."""
    yield from (resource.meaning, "", ".. list-table::", "   :header-rows: 1", "   :widths: 24 20 34 22", "")
    rows = [("Attribute", "Value", "Meaning", "Without it")]
    rows += [(f"``{attribute.name}``", attribute.kind.label, attribute.meaning,
              "refused" if attribute.required else attribute.default) for attribute in resource.attributes]
    for row in rows:
        yield f"   * - {row[0]}"
        yield from (f"     - {cell}" for cell in row[1:])
    if resource.ignored:
        names = ", ".join(f"``{name}``" for name in sorted(resource.ignored))
        yield from ("", f"Accepted, as Neutron has them, and not used: {names}.")


class TopologyAttributes(Directive):
    required_arguments = 1
    option_spec: ClassVar[dict] = {}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in RESOURCES:
            raise self.error(f"no resource {name!r}; there is {', '.join(RESOURCES)}")
        node = nodes.container()
        self.state.nested_parse(StringList(list(lines(RESOURCES[name])), source=name), 0, node)
        return node.children


def setup(app) -> dict:
    app.add_directive("topology-attributes", TopologyAttributes)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
