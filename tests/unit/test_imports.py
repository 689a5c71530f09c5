# SPDX-License-Identifier: Apache-2.0
"""Imports between the rooms go one way: doc/source/contributor/design.rst."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "fip64agent"

BELOW = {"exceptions", "hub", "process"}
"""What anybody may import, but the pure rooms."""
SHAPE = {"reconcile.room", "reconcile.explain"}
"""What links, translator and switch have in common."""
LINK_ITEMS = {"links.model"}
"""In which a translator's driver states the links that it wants: dataclasses, no work."""

MAY_IMPORT = {
    "discovery": set(),
    "extensions": {"admin.listing", "exceptions", "plan", "services", "switch.features"},
    "exceptions": set(),
    "hub": set(),
    "net": set(),
    "process": {"hub"},
    "systemd": {"hub"},
    "topology": BELOW | {"net"},
    "plan": {"discovery", "topology", "net"},
    "conf": {"exceptions", "plan"},
    "services": {"discovery", "net", "plan"},
    "links": BELOW | SHAPE | {"discovery", "plan", "net"},
    "translator": BELOW | SHAPE | LINK_ITEMS | {"plan"},
    "switch": BELOW | SHAPE | {"discovery", "plan", "net", "services.base"},
    "reconcile": BELOW | {"plan", "topology.model"},
    "admin": BELOW | {"discovery", "plan", "net", "topology", "reconcile", "switch.pipeline",
                      "switch.features", "switch.appctl", "translator.base"},
    "agent": BELOW | {"admin", "conf", "extensions", "links", "plan", "reconcile", "switch", "systemd",
                      "topology", "translator"},
    "cmd": {"admin", "agent", "conf", "exceptions", "hub", "reconcile.removal"},
}
"""Room -> rooms, or single modules of rooms, that it may import beside itself."""

ONLY_IN = {
    "eventlet": ("hub",),
    "os_ken": ("switch", "admin.packets"),
    "ovs": ("switch",),
    "ovsdbapp": ("switch",),
    "pyroute2": ("links", "translator"),
    "pydantic": ("topology",),
    "yaml": ("topology",),
    "cliff": ("cmd",),
    "prometheus_client": ("admin",),
    "stevedore": ("topology.sources",),
    "vpp_papi": ("translator.vpp.api", "translator.vpp.stats"),
}
"""Library -> rooms or modules that may know it."""

STANDALONE = {
    "translator.vpp.api": {"exceptions", "hub"},
}
"""Packages within a room -> all that they may import beside themselves."""

NOT_IN_PLAN = {"asyncio", "datetime", "logging", "os", "pathlib", "random", "secrets", "socket", "subprocess",
               "threading", "time", "uuid"}
"""plan() is pure: no I/O, no clock, no randomness."""


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a module imports, anywhere in it; of "from a import b" a.b, as b may be one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path: Path) -> str:
    """Return a module's name within the package: "switch.flows.arp", "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def within(name: str, places) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def test_every_room_has_its_rule():
    rooms = {name_of(path).split(".")[0] for path in modules()} - {""}
    assert rooms == set(MAY_IMPORT)


def test_the_rules_go_one_way():
    above: dict[str, set[str]] = {}

    def reach(room: str, trail: tuple[str, ...]) -> set[str]:
        assert room not in trail, f"{' -> '.join((*trail, room))}"
        if room not in above:
            # A single module of another room counts as that room, but for those that rooms have in common.
            nexts = {name.split(".")[0] for name in MAY_IMPORT[room] - SHAPE - LINK_ITEMS}
            above[room] = nexts.union(*(reach(name, (*trail, room)) for name in nexts))
        return above[room]

    for room in MAY_IMPORT:
        reach(room, ())
    for room in ("links", "switch", "translator"):
        assert not above[room] & {"links", "switch", "translator", "admin", "agent", "cmd"}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_of_a_module(path):
    name = name_of(path)
    room = name.split(".")[0]
    for target in imports(path):
        if target.split(".")[0] != "fip64agent":
            for library, places in ONLY_IN.items():
                if within(target, (library,)):
                    assert within(name, places), f"{name} imports {target}; only {', '.join(places)} may"
            continue
        inner = target.removeprefix("fip64agent").lstrip(".")
        if inner.split(".")[0] not in MAY_IMPORT:  # __version__
            continue
        assert within(inner, {room, *MAY_IMPORT.get(room, ())}), f"{name} imports {inner}"


@pytest.mark.parametrize("package", STANDALONE)
def test_packages_that_know_nothing_of_their_room(package):
    paths = [path for path in modules() if within(name_of(path), (package,))]
    assert paths
    for path in paths:
        for target in imports(path):
            if within(target, ("fip64agent",)):
                inner = target.removeprefix("fip64agent.")
                assert within(inner, {package, *STANDALONE[package]}), f"{name_of(path)} imports {inner}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "plan").rglob("*.py")), ids=name_of)
def test_plan_is_pure(path):
    used = {target.split(".")[0] for target in imports(path)}
    assert not used & NOT_IN_PLAN
