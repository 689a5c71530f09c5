# SPDX-License-Identifier: Apache-2.0
"""Prints the reference of the topology document: ``python -m fip64agent.topology.reference``."""

from __future__ import annotations

from collections.abc import Iterator

from fip64agent.topology.attributes import SECTIONS, Resource


def rows(resource: Resource) -> list[tuple[str, str, str, str, str]]:
    """Return (name, type, "yes" or "no" for required, default, meaning) of each attribute used."""
    return [(attribute.name, attribute.kind.label, "yes" if attribute.required else "no",
             "" if attribute.required else attribute.default, attribute.meaning)
            for attribute in resource.attributes]


def rst() -> str:
    """Return the reference as reStructuredText: one list-table per resource."""
    lines: list[str] = []
    for section, resource in SECTIONS.items():
        lines += _resource(section, resource)
    inner = {attribute.kind.inner.name: attribute.kind.inner for resource in SECTIONS.values()
             for attribute in resource.attributes if attribute.kind.inner is not None}
    for name, resource in inner.items():
        lines += _resource(name, resource)
    return "\n".join(lines)


def _resource(title: str, resource: Resource) -> Iterator[str]:
    yield from (title, "-" * len(title), "", resource.meaning, "",
                ".. list-table::", "   :header-rows: 1", "   :widths: 20 15 8 20 37", "")
    header = ("Attribute", "Type", "Required", "Default", "Meaning")
    code = [(f"``{name}``", *others) for name, *others in rows(resource)]
    for row in (header, *code):
        for number, cell in enumerate(row):
            yield f"   {'* -' if number == 0 else '  -'} {cell}".rstrip()
    yield ""
    if resource.ignored:
        names = ", ".join(f"``{name}``" for name in sorted(resource.ignored))
        yield from (f"Accepted, checked for their type and not used: {names}.", "")


if __name__ == "__main__":
    print(rst())
