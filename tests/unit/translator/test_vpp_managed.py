# SPDX-License-Identifier: Apache-2.0
"""The VPP that the agent starts, with a program that stands for it; a real one is in tests/functional."""

import contextlib
import dataclasses
import errno
import os
import signal
import time
from pathlib import Path

import pytest

from fip64agent import hub
from fip64agent.exceptions import EnvironmentMissing
from fip64agent.process import outcome
from fip64agent.translator.vpp import process
from fip64agent.translator.vpp.api import compatibility
from fip64agent.translator.vpp.api.errors import VppUnavailable
from fip64agent.translator.vpp.managed import ManagedVpp
from fip64agent.translator.vpp.startup import StartupOptions
from fip64agent.translator.vpp.supervisor import Supervisor
from tests.fakes.vppapi import FakeVpp


@pytest.fixture
def options(short_tmp):
    made = StartupOptions(str(short_tmp / "run"))
    yield made
    for found in process.running(made.run_path):
        found.stop((signal.SIGKILL,))
        outcome(found.pid)


@pytest.fixture
def binary(tmp_path):
    """An installed VPP with the plugin, as far as files tell. It does nothing until it is killed."""
    path = tmp_path / "bin" / "vpp"
    path.parent.mkdir()
    path.write_text('#!/bin/sh\necho started\nread nothing < "$0.fifo"\n')
    path.chmod(0o755)
    os.mkfifo(f"{path}.fifo")
    plugins = tmp_path / "lib" / "vpp_plugins"
    plugins.mkdir(parents=True)
    (plugins / "fip64_plugin.so").touch()
    return str(path)


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        hub.sleep(0.01)
    return condition()


def running(options) -> list[int]:
    return [found.pid for found in process.running(options.run_path)]


def managed(options, binary, ends=None) -> ManagedVpp:
    return ManagedVpp(options, binary, "", lambda: ends is not None and ends.append(1))


def test_it_is_started_and_found_again_and_its_end_is_noticed(options, binary):
    ends = []
    first = managed(options, binary, ends)
    complete = first.complete_options()
    assert complete.plugin_directories and not first.find(complete)
    first.start(complete)
    found = first.process
    assert until(lambda: running(options) == [found.pid])
    first.stop_watching()
    assert first.process is None
    second = managed(options, binary, ends)
    assert second.find(second.complete_options()) and second.process == found
    second.compare(complete)
    assert second.outdated is None
    os.kill(found.pid, signal.SIGKILL)
    assert until(lambda: ends) == [1]
    assert second.process is None
    assert second.end == f"VPP (pid {found.pid}) was killed by signal 9 (SIGKILL)"
    assert second.wait_if_ending(hub.Event()) == second.end and second.last_output() == "started"


def test_the_end_of_one_that_cannot_be_watched_is_noticed(options, binary, monkeypatch):
    """With too many files open, the kernel gives no descriptor to wait with."""
    def refused(pid):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    ends = []
    made = managed(options, binary, ends)
    monkeypatch.setattr(os, "pidfd_open", refused)
    made.start(made.complete_options())
    found = made.process
    assert until(lambda: running(options) == [found.pid]) and not ends
    os.kill(found.pid, signal.SIGKILL)
    assert until(lambda: ends) == [1]
    assert made.end == f"VPP (pid {found.pid}) was killed by signal 9 (SIGKILL)"
    monkeypatch.undo()


def test_one_with_older_options_is_reported_and_newer_files_are_a_reason_to_restart(options, binary):
    first = managed(options, binary)
    first.start(first.complete_options())
    assert until(lambda: running(options))
    first.stop_watching()
    second = managed(dataclasses.replace(options, buffers_per_numa=2048), binary)
    complete = second.complete_options()
    assert second.find(complete)
    second.compare(complete)
    assert f"VPP (pid {second.process.pid}) runs with older startup options" in second.outdated
    assert second.reason_to_restart() == "it was started with other options than the present ones"
    plugin = Path(binary).parents[1] / "lib" / "vpp_plugins" / "fip64_plugin.so"
    plugin.unlink()
    plugin.write_text("another one")
    assert second.reason_to_restart() == f"{plugin} was installed after it was started"
    second.stop_watching()


def test_an_older_one_beside_it_is_killed(options, binary):
    first, second = managed(options, binary), managed(options, binary)
    for each in (first, second):
        each.start(each.complete_options())
        hub.sleep(0.05)  # their start times, in clock ticks, differ
    old, young = first.process, second.process
    assert until(lambda: len(running(options)) == 2)
    third = managed(options, binary)
    assert third.find(third.complete_options()) and third.process == young
    assert until(lambda: first.end is not None) and str(old.pid) in first.end and second.end is None
    for each in (second, third):
        each.stop_watching()


def test_a_start_that_fails_counts_as_an_end(options, binary):
    vpp = managed(options, "/nonexistent/vpp")
    with pytest.raises(EnvironmentMissing):
        vpp.complete_options()
    assert vpp.back_off.ends == 1
    good = managed(options, binary)
    complete = good.complete_options()
    Path(binary).write_text("no program")
    with pytest.raises(VppUnavailable, match="VPP cannot be started"):
        good.start(complete)
    assert good.back_off.ends == 1 and good.process is None


# With the supervisor

@contextlib.contextmanager
def answering(options, pid: int):
    """Something that answers at its API socket in its stead."""
    with FakeVpp(Path(options.run_path), control_ping=lambda fake, request: fake.send(
            "control_ping_reply", context=request.context, vpe_pid=pid)) as fake:
        yield fake


def test_the_supervisor_starts_it_again_when_it_dies_and_the_next_one_adopts_it(options, binary, monkeypatch):
    monkeypatch.setattr(compatibility, "faults", lambda definitions, table: [])
    ups, downs = [], []
    arguments = {"binary": binary, "probe_interval": 0.1, "on_up": lambda client: ups.append(client.pid),
                 "on_down": downs.append}
    one = Supervisor(options, **arguments)
    one.start()
    try:
        assert until(lambda: one.process is not None) and "is starting" in one.ready()
        first = one.process.pid
        with answering(options, first):
            assert until(lambda: ups == [first]) and one.ready() is None and one.next_start is None
            os.kill(first, signal.SIGKILL)
            assert until(lambda: downs)
            assert downs[0] == f"VPP (pid {first}) was killed by signal 9 (SIGKILL): started"
        assert until(lambda: one.process is not None and one.process.pid != first)
        second = one.process.pid
        with answering(options, second):
            assert until(lambda: ups == [first, second]) and one.restarts == 1
            one.close()
            assert running(options) == [second], "it outlives the agent"
    finally:
        one.close()
    other = Supervisor(options, **arguments)
    os.unlink(options.api_socket)
    try:
        with answering(options, second):
            other.start()
            assert until(lambda: len(ups) == 3) and ups[2] == second and other.problem is None
    finally:
        other.close()
