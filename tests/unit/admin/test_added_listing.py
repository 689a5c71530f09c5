# SPDX-License-Identifier: Apache-2.0
"""A feature of another package, found by its entry points: it is listed, counted, shown and measured."""

import dataclasses
import json
import os
import sys
import urllib.request
from typing import ClassVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fip64agent import hub
from fip64agent.admin import listing
from fip64agent.admin.metrics import MetricsServer
from fip64agent.plan import kinds
from fip64agent.plan.desired import ERROR, Problem
from tests.unit.admin.conftest import Running, serving
from tests.unit.admin.test_metrics import free_port

FEATURE = '''
from fip64agent.plan.kinds import Feature, Kind

FEATURE = Feature("leases", (
    Kind("lease", "lease", "leases", after=("uplink",),
         stands_on=lambda lease: (("uplink", lease.uplink_id),),
         waits=lambda lease: (lease.interface,) if lease.interface else ()),
    Kind("sign", "road sign", "road signs", after=("lease",)),
))
'''
LISTING = '''
from fip64agent.admin.listing import STATE_COLUMNS, Details, Gauge, Listing

LISTING = Listing(
    "lease", "lease", "leases", "List the leases.", "leases", columns=("id", "mac", *STATE_COLUMNS),
    short=("mac", "state"), table=("mac", "state"), by_state=True, headline=True,
    row=lambda states, name: {"id": name, "mac": getattr(states.object("lease", name), "mac", None)},
    label=lambda states, name: f"lease number {name}",
    details=Details("Show one lease.", "LEASE", ("id",),
                    lambda states, what: what if what in states.names("lease") else None,
                    lambda states, name: {"color": "green"}),
    gauges=lambda states: [Gauge("fip64_lease_age", "Age.", ("lease",), {("one",): 7})],
)
'''


@dataclasses.dataclass(frozen=True)
class Lease:
    kind: ClassVar[str] = "lease"
    name: str
    mac: str
    interface: str = ""
    uplink_id: str = "uplink"

    @property
    def key(self):
        return self.kind, self.name


@dataclasses.dataclass(frozen=True)
class Sign:
    kind: ClassVar[str] = "sign"
    name: str

    @property
    def key(self):
        return self.kind, self.name


class Desired:
    """The plan, and more objects in it."""

    def __init__(self, desired, *objects, problems=None) -> None:
        self._desired, self._more = desired, {obj.key: obj for obj in objects}
        self.problems = {**desired.problems, **(problems or {})}

    def __getattr__(self, name):
        return getattr(self._desired, name)

    def of(self, kind):
        if kind in ("lease", "sign"):
            return {key[1]: obj for key, obj in self._more.items() if key[0] == kind}
        return self._desired.of(kind)

    def find(self, key):
        return self._more.get(key) or self._desired.find(key)

    def objects(self):
        return [*self._desired.objects(), *self._more.values()]

    def changes(self, old):
        ours = isinstance(old, Desired)
        before = old._more if ours else {}
        return [*self._desired.changes(old._desired if ours else old),
                *((before.get(key), self._more.get(key)) for key in before | self._more
                  if before.get(key) != self._more.get(key))]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package that brings the feature, for this process and for those that it starts."""
    (tmp_path / "made_up_feature.py").write_text(FEATURE)
    (tmp_path / "made_up_listing.py").write_text(LISTING)
    info = tmp_path / "made_up-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fip64agent.features]\nleases = made_up_feature:FEATURE\n\n"
                                           "[fip64agent.listings]\nleases = made_up_listing:LISTING\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    caches = (kinds.kinds, kinds.features, listing.added, listing.listed)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()
    for name in ("made_up_feature", "made_up_listing"):
        sys.modules.pop(name, None)


@pytest.fixture
def running(package, agent):
    """An agent that has all of it installed but the lease "late", whose interface is not there."""
    plan = Desired(agent.loop.desired, Lease("one", "fa:16:3e:00:00:01"),
                   Lease("late", "fa:16:3e:00:00:02", "tap-late"), Sign("stop"),
                   problems={("lease", "bad"): Problem(ERROR, "it has no MAC")})
    agent.loop.submit(plan)
    agent.loop.step()
    with serving(agent) as server:
        yield Running(agent, server)


def shown(running, *command: str) -> str:
    done = running.ctl(*command)
    assert done.stderr == ""
    return done.stdout


def test_it_is_listed(running):
    assert [(row["id"], row["mac"], row["state"]) for row in running.get("leases")] == [
        ("bad", None, "error"), ("late", "fa:16:3e:00:00:02", "pending"),
        ("one", "fa:16:3e:00:00:01", "active")]
    assert [line.split() for line in shown(running, "lease", "list").splitlines()[:5]] == [
        ["mac", "state"], ["-----------------", "-----------"], ["error", "(1)"],
        ["fa:16:3e:00:00:02", "pending", "(2)"], ["fa:16:3e:00:00:01", "active"]]
    assert "3 leases: 1 error, 1 pending, 1 active\n" in shown(running, "lease", "list")
    assert "    waits for Open vSwitch to open interface tap-late\n" in shown(running, "lease", "list")
    (row,) = json.loads(shown(running, "lease", "list", "--state", "error", "-f", "json"))
    assert row == {"id": "bad", "mac": None, "state": "error", "reason": "it has no MAC", "cause": None}


def test_a_kind_without_a_listing_of_its_own_has_the_general_one(running):
    assert json.loads(shown(running, "sign", "list", "-f", "json")) == [
        {"id": "stop", "state": "active", "reason": "", "cause": None}]
    assert "\n1 road sign: 1 active\n" in shown(running, "sign", "list")


def test_one_is_shown(running):
    assert json.loads(shown(running, "lease", "show", "one", "-f", "json")) == {
        "id": "one", "mac": "fa:16:3e:00:00:01", "state": "active", "reason": "", "cause": None,
        "color": "green"}
    done = running.ctl("lease", "show", "two")
    assert (done.returncode, done.stderr) == (
        1, "fip64ctl: no lease has the id two; fip64ctl lease list shows all\n")


def test_it_is_counted_and_its_problems_are_reported(running):
    out = running.ctl("status").stdout
    assert "  - lease in error: lease number bad: it has no MAC\n" in out
    assert "  - lease pending: lease number late: waits for Open vSwitch to open interface tap-late\n" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["leases", "1", "1", "1", "0"] in rows and ["road", "signs", "1", "0", "0", "0"] in rows


def test_what_it_stands_on_is_at_fault(running):
    running.agent.rooms["links"].refuses["links of uplink uplink"] = "no such device"
    running.agent.rooms["links"].installed.pop("links of uplink uplink")
    running.agent.loop.invalidate("links")
    running.agent.loop.step()
    out = running.ctl("status").stdout
    assert "      2 leases suffer from it: lease number late, lease number one\n" in out
    assert {row["id"]: row["cause"] for row in running.get("leases")} == {
        "bad": None, "late": "uplink uplink", "one": "uplink uplink"}


def test_the_first_line_of_status_counts_it(running):
    loop = running.agent.loop
    loop.submit(Desired(loop.desired._desired, Lease("one", "fa:16:3e:00:00:01")))
    loop.step()
    assert shown(running, "status").splitlines()[0] == (
        "fip64-agent on node-1: all is well, 2 floating IPs are active and 1 lease is active")


def test_it_is_in_the_plan(running):
    rows = json.loads(shown(running, "plan", "show", "-f", "json"))
    found = [row for row in rows if row["kind"] == "lease"]
    assert [row["id"] for row in found] == ["one", "late"]
    assert found[0]["attributes"]["mac"] == "fa:16:3e:00:00:01"


def test_it_is_measured(running):
    server = MetricsServer(running.agent, "127.0.0.1", free_port())
    server.start()
    try:
        text = hub.offload(lambda: urllib.request.urlopen(server.url, timeout=10).read().decode())
    finally:
        server.stop()
    found = {(sample.name, *sample.labels.values()): sample.value
             for family in text_string_to_metric_families(text) for sample in family.samples}
    assert found["fip64_objects", "lease", "active"] == found["fip64_objects", "lease", "error"] == 1
    assert found["fip64_objects", "sign", "active"] == 1
    assert found["fip64_lease_age", "one"] == 7
    assert ("# HELP fip64_objects Uplinks, tenants, floating IPs, ports, leases and road signs by state.\n"
            in text)


def test_help_and_completion_have_its_commands(running):
    helped = shown(running, "--help")
    assert "  lease list     List the leases\n" in helped and "  lease show     Show one lease\n" in helped
    assert "  sign list      List the road signs, with their state on this host and why\n" in helped
    script = shown(running, "complete")
    assert '["fip64ctl lease list"]=' in script
    assert '["fip64ctl lease show"]="lease list -f value -c id"' in script


def test_a_fip64ctl_that_does_not_know_the_kind_tells_of_it(running, monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    rows = [line.split() for line in running.ctl("status").stdout.splitlines()]
    assert ["lease", "1", "1", "1", "0"] in rows
    assert running.ctl("lease", "list").returncode == 2


@pytest.mark.parametrize("kind", [kind for kind in kinds.kinds().values() if kind.name in listing.built_in()],
                         ids=lambda kind: kind.name)
def test_listings_call_a_kind_as_the_plan_does(kind):
    known = listing.built_in()[kind.name]
    assert (known.title, known.titles) == (kind.title, kind.titles)


def test_every_listing_is_of_a_kind_that_is_listed():
    assert listing.built_in().keys() == {kind.name for kind in kinds.kinds().values() if kind.listed}
