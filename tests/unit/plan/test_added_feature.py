# SPDX-License-Identifier: Apache-2.0
"""A feature of somebody else's package, found by its entry point: planned, replanned, ordered, diffed."""

import dataclasses
import importlib
import sys
from types import MappingProxyType

import pytest

from fip64agent import extensions
from fip64agent.exceptions import ConfigError
from fip64agent.plan import kinds, planner
from fip64agent.plan.changes import describe_changes
from fip64agent.plan.desired import NOTHING
from fip64agent.plan.inputs import Inputs
from fip64agent.plan.planner import plan, replan
from fip64agent.plan.problems import PENDING, Problem
from fip64agent.topology.model import Topology
from tests.fakes.topologies import edited, mac, two_tenant_site

MODULE = '''
import dataclasses
from typing import ClassVar

from fip64agent.plan.base.bindings import BINDINGS, open_ofport
from fip64agent.plan.inputs import PORTS
from fip64agent.plan.kinds import Feature, Kind
from fip64agent.plan.nodes import Collected, Objects
from fip64agent.plan.numbers import number_space
from fip64agent.plan.problems import PENDING, Problem

asked = []


@dataclasses.dataclass(frozen=True, slots=True)
class Lamp:
    kind: ClassVar[str] = "lamp"
    port_id: str
    mac: str
    ofport: int
    number: int

    @property
    def key(self):
        return (self.kind, self.port_id)


_BOUND = Collected("bound ports with a lamp", {BINDINGS: lambda port_id, bindings: (("", port_id),)})
NUMBERS = number_space("lamps", _BOUND, lambda ask: (1, 100))


def _lamp(ask, port_id, port):
    asked.append(port_id)
    if port.is_router_port:
        return None, None
    bindings = ask(BINDINGS, port_id)
    if not bindings:
        return None, Problem(PENDING, f"port {port_id} is dark")
    return Lamp(port_id, port.mac_address, open_ofport(bindings[0]), ask(NUMBERS.number, port_id)), None


FEATURE = Feature(
    "lamps",
    kinds=(Kind("lamp", "lamp", "lamps", after=("uplink",), resource="ports",
                describe=lambda lamp: f"number {lamp.number} of port {lamp.port_id}"),),
    planners=(Objects("lamp", _lamp, each=PORTS, reads=(BINDINGS, NUMBERS.number)),),
    numbers=(NUMBERS,))
'''


def forget_features() -> None:
    for cached in (kinds.features, kinds.kinds, planner._planners, planner._nodes):
        cached.cache_clear()


@pytest.fixture
def lamps(tmp_path, monkeypatch):
    """The module of a package that is installed beside ours."""
    (tmp_path / "lamps_for_fip64.py").write_text(MODULE)
    metadata = tmp_path / "lamps_for_fip64-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lamps-for-fip64\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{kinds.GROUP}]\nlamps = lamps_for_fip64:FEATURE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_features()
    import lamps_for_fip64
    yield lamps_for_fip64
    forget_features()
    del sys.modules["lamps_for_fip64"]


def test_it_is_planned_beside_the_others(lamps):
    desired = plan(two_tenant_site().inputs)
    found = desired.of("lamp")
    assert found.keys() == {"vm-red", "vm-blue"}
    assert desired.find(("lamp", "vm-red")) == found["vm-red"] == lamps.Lamp(
        "vm-red", two_tenant_site().ports["vm-red"].mac_address,
        two_tenant_site().interfaces["tap-vm-red"].ofport, desired.allocations.of("lamps")["vm-red"])
    assert len({lamp.number for lamp in found.values()}) == 2
    assert desired.mappings and desired.problems == {}


def test_it_is_in_order_after_what_it_builds_on(lamps):
    order = list(kinds.kinds())
    assert order.index("uplink") < order.index("lamp")
    planned = [obj.kind for obj in plan(two_tenant_site().inputs).objects()]
    assert planned.index("uplink") < planned.index("lamp")
    assert planned == sorted(planned, key=order.index)


def test_one_change_costs_one_lamp(lamps):
    before = two_tenant_site().inputs
    previous = plan(before)
    lamps.asked.clear()
    port = dataclasses.replace(before.topology.ports["vm-red"], mac_address=mac(0x77))
    after = edited(before, previous, ("ports", port))
    desired = replan(previous, before, after)
    assert lamps.asked == ["vm-red"]
    was, now = previous.of("lamp"), desired.of("lamp")
    assert now["vm-red"].mac == mac(0x77) and now["vm-blue"] is was["vm-blue"]
    assert (was["vm-red"], now["vm-red"]) in desired.changes(previous)
    assert desired == plan(after)
    assert any(line.startswith("lamp changed: number ") for line in describe_changes(previous, desired))


def test_it_goes_and_waits_and_comes_again(lamps):
    before = two_tenant_site().inputs
    first = plan(before)
    unbound = edited(before, first, ("interfaces", "tap-vm-red"))
    second = replan(first, before, unbound)
    assert second == plan(unbound)
    assert second.problems["lamp", "vm-red"] == Problem(PENDING, "port vm-red is dark")
    lines = describe_changes(first, second)
    assert "lamp pending: vm-red: port vm-red is dark" in lines
    third = replan(second, unbound, dataclasses.replace(before, allocations=second.allocations))
    assert third.of("lamp").keys() == first.of("lamp").keys()
    assert third.of("lamp")["vm-blue"].number == first.of("lamp")["vm-blue"].number


def test_numbers_in_force_are_kept(lamps):
    before = two_tenant_site().inputs
    desired = plan(before)
    numbers = MappingProxyType({**desired.allocations.numbers, "lamps": {"vm-red": 42}})
    after = dataclasses.replace(before, allocations=dataclasses.replace(desired.allocations, numbers=numbers))
    assert replan(desired, before, after).of("lamp")["vm-red"].number == 42


CLASHES = [
    ("kinds=(*FEATURE.kinds, Kind('fip', 'f', 'fs'))", "feature lamps: there is another kind fip"),
    ("kinds=(*FEATURE.kinds, Kind('dark', 'd', 'ds'))", "feature lamps: kind dark has no planner"),
    ("planners=(*FEATURE.planners, dataclasses.replace(FEATURE.planners[0], kind='uplink'))",
     "feature lamps: kind uplink has another planner"),
    ("planners=(*FEATURE.planners, dataclasses.replace(FEATURE.planners[0], kind='dark'))",
     "feature lamps: it plans dark, which is no kind"),
    ("numbers=(NUMBERS, number_space('vlans', _BOUND, lambda ask: (1, 2)))",
     "feature lamps: there are other numbers vlans"),
    ("name='x'); FEATURE = dict(kinds=()", "feature lamps is a dict, not a plan.kinds.Feature"),
]


@pytest.mark.parametrize(("change", "reason"), CLASHES)
def test_a_feature_that_others_have_no_room_for(lamps, change, reason):
    exec(f"FEATURE = dataclasses.replace(FEATURE, {change})", vars(lamps))
    with pytest.raises(ValueError, match=f"^{reason}$"):
        planner.check_features()


def test_the_agent_does_not_start_with_features_that_clash(lamps):
    exec(f"FEATURE = dataclasses.replace(FEATURE, {CLASHES[1][0]})", vars(lamps))
    with pytest.raises(ConfigError, match=r"cannot be used: feature lamps: kind dark has no planner$"):
        extensions.check()


@pytest.mark.parametrize("line", ["import nowhere_at_all", "1 / 0", "def", "del FEATURE"])
def test_the_agent_does_not_start_with_a_package_that_is_broken(lamps, tmp_path, line):
    with open(tmp_path / "lamps_for_fip64.py", "a") as module:
        module.write(f"{line}\n")
    del sys.modules["lamps_for_fip64"]
    importlib.invalidate_caches()
    try:
        with pytest.raises(ConfigError, match=(
                r"cannot be used: package lamps-for-fip64 1\.0: entry point lamps = lamps_for_fip64:FEATURE "
                r"of the group fip64agent\.features cannot be loaded: \w+Error: ")):
            extensions.check()
    finally:
        sys.modules["lamps_for_fip64"] = lamps


def test_without_its_package_there_is_nothing_of_it():
    forget_features()
    assert "lamp" not in kinds.kinds()
    assert plan(Inputs(Topology(), {})) == NOTHING
