# SPDX-License-Identifier: Apache-2.0
"""Children of ours: what is known of them, how they are watched and ended, when they are started again."""

import dataclasses
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from fip64agent import hub
from fip64agent.process import BackOff, Child, disown, find, outcome, program_path, start, status


def child(*command: str) -> Child:
    """Start a program as the agent does."""
    with open(os.devnull, "wb") as output:
        made = start(command, output)
    disown(made)
    return Child(made.pid, status(made.pid)[1])


@pytest.fixture
def started():
    made = child("sleep", "600")
    yield made
    made.stop((signal.SIGKILL,))
    outcome(made.pid)


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_it_has_a_session_of_its_own_and_an_age(started):
    assert os.getsid(started.pid) == started.pid, "so it outlives the agent"
    assert started.exists and 0 <= started.age < 60


def test_it_is_found_by_its_command_line(started):
    def recognized(words):
        return words[1] if words[0] == "sleep" and words[1:2] == ["600"] else None

    # For a moment after execve(2) has begun, a process has no command line.
    assert until(lambda: started.pid in [pid for pid, *_ in find(recognized)])
    found = {pid: rest for pid, *rest in find(recognized)}
    assert found[started.pid] == [started.started, "S", "600"]


def test_stop_spares_a_process_that_only_has_the_pid():
    other = subprocess.Popen(["sleep", "60"])
    try:
        Child(other.pid, "1").stop(seconds=0.1)
        assert other.poll() is None and not Child(other.pid, "1").exists
    finally:
        other.kill()
        other.wait()


def test_stop_of_a_stopped_one_does_not_wait_for_it(started):
    os.kill(started.pid, signal.SIGSTOP)
    assert until(lambda: status(started.pid)[0] == "T")
    begun = time.monotonic()
    started.stop(seconds=30)
    assert time.monotonic() - begun < 25
    assert outcome(started.pid) == "was killed by signal 9 (SIGKILL)"


def test_stop_works_when_the_agent_has_many_files_open(started):
    """Its systemd unit lets it have 65536."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], min(4096, limits[1])), limits[1]))
    near, far = os.pipe()
    taken = [near, far]
    try:
        while taken[-1] < 1100:
            taken.append(os.dup(near))
        started.stop()
        assert outcome(started.pid) == "was killed by signal 15 (SIGTERM)"
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_one_that_survives_the_signals_is_told():
    made = child("sh", "-c", "trap '' TERM; while true; do sleep 1; done")
    try:
        assert until(lambda: ignores_sigterm(made.pid))
        with pytest.raises(TimeoutError, match=rf"the process \(pid {made.pid}\) does not end"):
            made.stop((signal.SIGTERM,), seconds=0.2)
        assert made.exists
        made.stop((signal.SIGTERM, signal.SIGKILL), seconds=0.2)
        assert outcome(made.pid) == "was killed by signal 9 (SIGKILL)"
    finally:
        made.stop((signal.SIGKILL,))


def ignores_sigterm(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    ignored = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:"))
    return bool(ignored >> (signal.SIGTERM - 1) & 1)


def test_ending_is_one_that_has_ended_and_one_that_only_has_its_pid(started):
    assert not started.ending
    assert dataclasses.replace(started, started="1").ending
    os.kill(started.pid, signal.SIGKILL)
    assert until(lambda: started.ending)
    # It counts as ending from its exit on, which is an instant before it can be waited for.
    assert until(lambda: outcome(started.pid) and not started.exists)
    assert started.ending


def test_outcome_of_what_ended_by_itself():
    made = child("sh", "-c", "exit 3")
    assert until(lambda: status(made.pid)[0] == "Z")
    assert outcome(made.pid) == "ended with status 3"
    assert outcome(made.pid) == "ended", "it was told once"


def test_wait_returns_when_it_has_ended_and_at_once_for_one_that_only_has_its_pid(started):
    Child(started.pid, "1").wait()
    ended = []
    waiting = hub.spawn(lambda: ended.append(started.wait()))
    hub.sleep(0.2)
    assert not ended
    os.kill(started.pid, signal.SIGKILL)
    waiting.wait()
    assert ended == [None]
    outcome(started.pid)
    started.wait()


@pytest.mark.parametrize("ends", range(12))
def test_each_end_in_a_row_doubles_the_wait_up_to_a_minute(ends):
    back_off = BackOff(steady=60)
    for _ in range(ends + 1):
        back_off.ended(1000.0)
    assert back_off.wait(1000.0) == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60][ends]
    assert back_off.wait(1100.0) == 0
    back_off.runs(1000.0)
    back_off.ended(1061.0)
    assert (back_off.ends, back_off.wait(1061.0)) == (1, 0), "one that ran for a minute begins anew"


def test_it_counts_from_when_it_ran_first():
    back_off = BackOff(steady=60)
    for _ in range(5):
        back_off.ended(1000.0)
    back_off.runs(1000.0)
    back_off.runs(1045.0)  # seen once more
    back_off.ended(1090.0)
    assert back_off.ends == 1
    back_off.runs(2000.0)
    back_off.forget()
    back_off.ended(3000.0)
    assert back_off.ends == 2, "how long it ran is not known"


def test_outcome_of_what_a_real_time_signal_ended():
    """Most of these signals have no name of their own."""
    made = child("sleep", "600")
    os.kill(made.pid, 40)
    assert until(lambda: status(made.pid)[0] == "Z")
    assert outcome(made.pid) == "was killed by signal 40"


def test_a_program_is_found_by_its_path_in_PATH_and_where_the_systems_are(tmp_path, monkeypatch):
    script = tmp_path / "f64-program"
    script.write_text("#!/bin/sh\n")
    assert program_path(str(script)) is None, "it cannot be executed"
    script.chmod(0o755)
    assert program_path(str(script)) == str(script)
    assert program_path("f64-program") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program_path("f64-program") == str(script)
    monkeypatch.setattr("fip64agent.process._SBIN", (str(tmp_path),))
    monkeypatch.setenv("PATH", "/nowhere")
    assert program_path("f64-program") == str(script)
