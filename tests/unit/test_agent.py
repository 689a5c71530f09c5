# SPDX-License-Identifier: Apache-2.0
"""The agent's own loop, without what it drives."""

import subprocess
import sys

import pytest

from fip64agent import hub
from fip64agent.agent import Agent
from fip64agent.cmd.common import load_config
from fip64agent.plan.inputs import Allocations, Datapath, Settings
from fip64agent.reconcile import planning as module
from fip64agent.topology.model import Topology


@pytest.fixture
def agent(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "DATAPATH_WAIT", 0.01)
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


def test_what_the_datapath_can_do_is_planned_with(agent, monkeypatch):
    """It need not be known. What it is told again, after each connection, makes no plan."""
    monkeypatch.setattr(module, "allocations_in_force", lambda rooms: Allocations())
    planning = hub.spawn(agent.planning.run)

    def planned(datapath):
        return agent.inputs is not None and agent.inputs.datapath == datapath and not agent.planning.due

    try:
        agent.planning.take_topology(Topology())
        agent.planning.take_interfaces({})
        wait_for(lambda: planned(None))
        for datapath in (Datapath("system"), Datapath("netdev", nd_flags=True)):
            agent.planning.take_datapath(datapath)
            wait_for(lambda: planned(datapath))  # noqa: B023
        agent.planning.take_datapath(Datapath("netdev", nd_flags=True))
        assert not agent.planning.due
    finally:
        planning.kill()


def test_the_first_plan_waits_until_the_datapath_is_known(agent, monkeypatch):
    """Else an agent that was restarted would remove what needs it, and install it again."""
    monkeypatch.setattr(module, "DATAPATH_WAIT", 30)
    monkeypatch.setattr(module, "allocations_in_force", lambda rooms: Allocations())
    planning = hub.spawn(agent.planning.run)
    try:
        agent.planning.take_topology(Topology())
        agent.planning.take_interfaces({})
        hub.sleep(0.1)
        assert agent.inputs is None
        agent.planning.take_datapath(Datapath("netdev"))
        wait_for(lambda: agent.inputs is not None)
        assert agent.inputs.datapath == Datapath("netdev") and not agent.planning.due
    finally:
        planning.kill()


def wait_for(condition):
    for _ in range(500):
        if condition():
            return
        hub.sleep(0.01)
    raise AssertionError("not within 5 s")


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


def test_answers_of_packet_classes_are_forgotten():
    """They are 4 MiB."""
    ask = ("import _abc; from fip64agent.switch.connection.app import forget_class_checks as forget; "
           "from os_ken.lib.packet import ipv4, packet_base, udp; "
           "known = lambda: len(_abc._get_dump(ipv4.ipv4)[2]); before = known(); forget(); "
           "print(before > 100, known(), issubclass(udp.udp, packet_base.PacketBase), "
           "issubclass(udp.udp, ipv4.ipv4))")
    assert subprocess.check_output([sys.executable, "-c", ask], text=True) == "True 0 True False\n"
