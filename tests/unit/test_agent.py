# SPDX-License-Identifier: Apache-2.0
"""The agent's own loop, without what it drives."""

import pytest

from fip64agent import hub
from fip64agent.agent import Agent
from fip64agent.cmd.common import load_config
from fip64agent.plan.inputs import Allocations, Settings
from fip64agent.reconcile import planning as module
from fip64agent.topology.model import Topology


@pytest.fixture
def agent(tmp_path):
    path = tmp_path / "agent.conf"
    path.write_text(f"[DEFAULT]\nrun_path = {tmp_path}\nstate_path = {tmp_path}\n[metrics]\nport = 0\n"
                    "[fip64]\ntranslator = tayga\n")
    made = Agent(load_config(["--config-file", str(path)], ""))
    yield made
    for room in made.rooms.values():
        room.close()


def test_a_plan_that_could_not_be_made_is_tried_again(agent, monkeypatch):
    """The numbers in force are read once, at the start: that may fail when nothing else would ever happen."""
    monkeypatch.setattr(module, "FIRST_RETRY", 0.01)
    failures = [OSError("no buffer space"), OSError("no buffer space")]

    def allocations_in_force(rooms):
        if failures:
            raise failures.pop()
        return Allocations()

    monkeypatch.setattr(module, "allocations_in_force", allocations_in_force)
    submitted = hub.Event()
    monkeypatch.setattr(agent.loop, "submit", lambda desired: submitted.set())
    planning = hub.spawn(agent.planning.run)
    try:
        agent.planning.take_topology(Topology())
        agent.planning.take_interfaces({})
        assert submitted.wait(5) and not failures
    finally:
        planning.kill()


def test_a_plan_that_a_part_of_the_agent_cannot_take_is_not_made_again(agent, monkeypatch, caplog):
    """It would come out the same, and without changes: what has not taken it would not get it again."""
    monkeypatch.setattr(module, "FIRST_RETRY", 0.01)
    told = []

    def on_plan(before, after):
        told.append(after)
        raise RuntimeError("a fault")

    planning = module.Planning(agent.loop, [], Settings(), on_plan)
    running = hub.spawn(planning.run)
    try:
        planning.take_topology(Topology())
        planning.take_interfaces({})
        hub.sleep(0.2)
        assert told == [agent.loop.desired]
        planning.take_settings(Settings())
        hub.sleep(0.1)
        assert len(told) == 2
    finally:
        running.kill()
    assert "not all parts of the agent have taken the new plan" in caplog.text
    assert "no plan could be made" not in caplog.text
