# SPDX-License-Identifier: Apache-2.0
"""Measurements say met or missed rightly; the benchmarks' host is what they say it is."""

from __future__ import annotations

import json

import pytest

from bench import __main__ as program
from bench import scale
from bench.measurement import Measurement, WrongState, median, percentile, shown, table
from bench.page import SECTIONS, page
from bench.planning import inputs
from fip64agent.plan.inputs import Inputs, Interface, Settings
from fip64agent.plan.planner import plan
from fip64agent.topology.file.loader import parse
from tests.fakes.flows import flows_of
from tests.fakes.translators import CAPABILITIES


def interfaces():
    rows = [Interface(scale.UPLINK, 1, scale.uuid(5, 0xFFFE))]
    rows += [Interface(scale.interface(vm), 1000 + vm, scale.port_id(vm)) for vm in range(scale.VM_PORTS)]
    return {row.name: row for row in rows}


@pytest.fixture(scope="module", params=["tayga", "vpp"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def desired(kind):
    return plan(inputs(2000, Settings(capabilities=CAPABILITIES[kind])))


def test_every_floating_ip_of_the_document_is_planned(desired):
    assert not desired.problems
    assert len(desired.mappings) == 2000
    assert len(desired.tenants) == scale.TENANTS
    assert len(desired.uplinks) == 1


def test_the_flows_that_are_counted_by_hand_are_those_of_the_plan(desired, kind):
    flows = {(flow.table, flow.priority, flow.match) for obj in desired.objects() for flow in flows_of(obj)}
    flows.discard((0, 0, ()))  # NORMAL: a new bridge has it
    assert len(flows) == scale.flow_count(2000, kind)


def test_what_is_added_goes_to_an_address_without_a_floating_ip(desired):
    document = scale.document(2000)
    document["floatingips"] += [scale.addition(2000, number) for number in range(scale.VM_PORTS)]
    topology = parse(json.dumps(document), "a document")
    more = plan(Inputs(topology, interfaces()))
    assert not more.problems
    assert len(more.mappings) == 2000 + scale.VM_PORTS


def test_a_number_that_the_site_cannot_have():
    with pytest.raises(ValueError, match="1500 is no multiple of 1000"):
        scale.document(1500)


@pytest.mark.parametrize(("value", "at_most", "met"), [(9, True, True), (10, True, True), (11, True, False),
                                                      (9, False, False), (10, False, True)])
def test_met_and_missed(value, at_most, met):
    assert Measurement("a", value, "s", 10, at_most=at_most).met is met


def test_nothing_promised_is_neither_met_nor_missed():
    assert Measurement("a", 1, "s").met is None


@pytest.mark.parametrize(("value", "text"), [
    (0, "0"), (0.0123456, "0.0123"), (1.5, "1.5"), (12.3456, "12.3"), (150.2, "150"), (21107, "21,107"),
    (100, "100"), (0.999, "0.999")])
def test_numbers_for_people(value, text):
    assert shown(value) == text


def test_percentiles_are_values_that_were_seen():
    values = list(range(100, 0, -1))
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1) == 100
    assert median(values) == 50
    assert percentile([7], 0.99) == 7


def test_the_table_says_what_was_missed():
    text = table([Measurement("quick", 1, "ms", 5, peer="other: 2 ms"),
                  Measurement("slow", 6, "ms", 5)]).splitlines()
    assert [line.split() for line in text[2:]] == [
        ["quick", "1", "ms", "<=", "5", "met", "other:", "2", "ms"], ["slow", "6", "ms", "<=", "5", "MISSED"]]


def _benchmark(monkeypatch, measure):
    module = type("Module", (), {"measure": staticmethod(measure)})
    monkeypatch.setattr(program.importlib, "import_module", lambda name: module)


def test_a_wrong_state_keeps_the_measurements_before_it(monkeypatch, tmp_path):
    def measure(quick):
        yield Measurement("a", 1, "s", samples=[1])
        raise WrongState("7 flows are missing")

    _benchmark(monkeypatch, measure)
    measurements, wrong = program.run("planning", True, tmp_path)
    assert [each.name for each in measurements] == ["a"]
    assert wrong == "7 flows are missing"
    result = json.loads((tmp_path / "planning.json").read_text())
    assert result["wrong"] == "7 flows are missing"
    assert result["measurements"][0]["samples"] == [1]


@pytest.mark.parametrize(("value", "status"), [(11, 0), (None, 1)])
def test_a_slow_machine_is_no_failure_and_a_wrong_state_is(monkeypatch, tmp_path, capsys, value, status):
    def measure(quick):
        if value is None:
            raise WrongState("7 flows are missing")
        yield Measurement("a", value, "s", 10)

    _benchmark(monkeypatch, measure)
    monkeypatch.setattr(program.os, "geteuid", lambda: 0)
    assert program.main(["planning", "--json", str(tmp_path)]) == status
    captured = capsys.readouterr()
    assert ("MISSED" in captured.out) == (status == 0)
    assert ("7 flows are missing" in captured.err) == (status == 1)


def test_an_unknown_name(capsys):
    with pytest.raises(SystemExit) as end:
        program.main(["nonsense"])
    assert end.value.code == 2
    assert "no benchmark nonsense; there are planning, coldstart" in capsys.readouterr().err


def _result(measurements, **values):
    return {"quick": False, "wrong": None, "measurements": [each.as_json() for each in measurements],
            "machine": program.machine(), **values}


def test_the_page_shows_each_measurement_and_what_was_missed():
    measurements = [Measurement("ping", 0.2345, "ms", peer="plain: 0.1 ms"), Measurement("x", 6, "s", 5)]
    text = page({"path": _result(measurements)})
    assert "   * - ping\n     - 0.234 ms\n     -\n     -\n     - plain: 0.1 ms\n" in text
    assert "   * - x\n     - 6 s\n     - ≤ 5\n     - **missed**\n     -\n" in text


def test_each_section_says_which_run_it_is_from():
    old, new = program.machine(), program.machine()
    old |= {"time": "2026-01-02T03:04:05+00:00", "load_before": 0.5, "ovs": "the old one",
            "processor": "Old Processor"}
    new |= {"time": "2026-02-03T04:05:06+00:00", "load_before": 1.5, "ovs": "the new one",
            "processor": "New Processor", "vpp": "vpp v9"}
    text = page({"planning": _result([], machine=old), "push": _result([], machine=new)})
    assert "the new one, VPP 9." in text
    assert "the old one" not in text
    assert text.index("Run of 2026-01-02 03:04 UTC, Old Processor, load average 0.5.") < text.index(
        "Run of 2026-02-03 04:05 UTC, New Processor, load average 1.5.")


def test_benchmarks_that_need_vpp_are_skipped_without_it(monkeypatch, tmp_path, capsys):
    def measure(quick):
        yield Measurement("a", 1, "s")

    _benchmark(monkeypatch, measure)
    monkeypatch.setattr(program.os, "geteuid", lambda: 0)
    monkeypatch.setattr(program.vpp, "missing", lambda: "no VPP in PATH")
    assert program.main(["push", "planning", "--json", str(tmp_path)]) == 0
    assert "push: skipped, not measured: no VPP in PATH" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["planning.json"]


def test_every_benchmark_has_its_section_on_the_page():
    assert SECTIONS.keys() == program.BENCHMARKS.keys() > program.NEED_VPP


@pytest.mark.parametrize("values", [{"quick": True}, {"wrong": "7 flows are missing"}])
def test_no_page_of_what_means_nothing(values):
    with pytest.raises(ValueError, match="path: "):
        page({"path": _result([], **values)})
