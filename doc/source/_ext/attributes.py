# SPDX-License-Identifier: Apache-2.0
"""``.. topology-attributes::``: all attributes of a topology document, out of the code."""

from __future__ import annotations

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

from fip64agent.topology import reference


class TopologyAttributes(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        node = nodes.section()
        node.document = self.state.document
        text = StringList(reference.rst().splitlines(), source=reference.__name__)
        nested_parse_with_titles(self.state, text, node)
        return node.children


def setup(app) -> dict:
    app.add_directive("topology-attributes", TopologyAttributes)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
