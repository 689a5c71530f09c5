# SPDX-License-Identifier: Apache-2.0
"""``make demo`` as a stranger sees it: what it prints, its exit status, and that nothing stays behind."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import unicodedata

import pytest

from lab import demo, netns, sweep
from lab.host import FIP_A, FIP_B

pytestmark = [pytest.mark.root, pytest.mark.needs("ovs-vswitchd", "ovsdb-server", "ip", "nsenter", "tayga")]


class Demo:
    """Runs the demo under a name of its own."""

    def __init__(self) -> None:
        self.name = f"f64d{secrets.token_hex(4)}"
        self.directory = demo.RUN / self.name

    def start(self, *argv: str, path: str = "") -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "lab.demo", "--name", self.name, "--ovs", "private", *argv],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PATH": f"{path}{os.pathsep if path else ''}{os.environ['PATH']}"})

    def run(self, *argv: str, path: str = "") -> tuple[int, str]:
        process = self.start(*argv, path=path)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def identity(self) -> sweep.LabIdentity:
        return sweep.LabIdentity(self.directory, f"{self.name}-", "", "", "", 0, "")

    def leftovers(self) -> list[str]:
        return sweep.leftovers(self.identity())


@pytest.fixture
def a_demo():
    a_demo = Demo()
    yield a_demo
    sweep.remove(a_demo.identity())


def test_it_works_and_leaves_nothing(a_demo):
    status, output = a_demo.run()
    assert status == 0, output
    assert "All of it worked" in output and "✗" not in output
    assert "\033" not in output  # no colour in a file
    for fip, vm in ((FIP_A, "vm-a"), (FIP_B, "vm-b")):
        row = next(line for line in output.splitlines() if line.strip().startswith(f"{fip} "))
        assert f"{vm} 10.0.0.5" in row and f"0/{demo.PINGS}" in row and "200" in row and "equal" in row
        assert f"{vm} saw GET / from 100.64." in output
    assert a_demo.leftovers() == []


def test_keep_look_around_and_remove(a_demo):
    status, output = a_demo.run("--keep")
    assert status == 0, output
    commands = [line.strip() for line in output.splitlines() if "fip64ctl --socket" in line]
    assert len(commands) >= 4
    for command in commands:  # what is printed can be typed
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    enter = next(line.strip() for line in output.splitlines() if "urllib" in line)
    answer = subprocess.run(enter, shell=True, capture_output=True, text=True, timeout=60)
    assert '"vm": "vm-a"' in answer.stdout, answer.stderr

    again, text = a_demo.run()
    assert again == 1 and "standing already" in text and "--clean" in text

    status, output = a_demo.run("--clean")
    assert status == 0 and "nothing is left" in output
    assert a_demo.leftovers() == []
    status, output = a_demo.run("--clean")
    assert status == 0 and "nothing to remove" in output


def test_a_translator_that_does_not_work_makes_it_fail_with_the_reason(a_demo, tmp_path):
    broken = tmp_path / "tayga"
    broken.write_text("#!/bin/sh\necho 'tayga: no luck today' >&2\nexit 1\n")
    broken.chmod(0o755)
    status, output = a_demo.run("--translator", "tayga", path=str(tmp_path))
    assert status == 1, output
    assert "The demo failed" in output and "What the agent says" in output
    assert "tayga" in output.partition("What the agent says")[2]
    assert "All of it worked" not in output
    assert a_demo.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_half_way_it_cleans_up(a_demo, number):
    process = a_demo.start()
    deadline = time.monotonic() + 30
    while not (a_demo.directory / "admin.sock").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "nothing left behind" in output
    assert a_demo.leftovers() == []


def test_a_killed_demo_is_removed_by_the_next(a_demo):
    process = a_demo.start()
    deadline = time.monotonic() + 30
    while not (a_demo.directory / "admin.sock").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert json.loads((a_demo.directory / "lab.json").read_text())["pid"] == process.pid
    assert [name for name in netns.names() if name.startswith(a_demo.name)]
    status, output = a_demo.run()
    assert status == 0, output
    assert a_demo.leftovers() == []


@pytest.mark.parametrize("words", ["tayga, one per tenant", "VPP with the plugin fip64"])
def test_the_picture_is_straight(words):
    lines = demo.diagram("Open vSwitch 3.10.11, userspace datapath", words)
    assert not any(unicodedata.east_asian_width(char) in "WF" for line in lines for char in line)
    up, down = set("│┌┐├┤┬┼"), set("│└┘├┤┴┼")  # characters with an arm downwards, upwards
    for above, below in itertools.pairwise(lines):
        for column in range(max(len(above), len(below))):
            arm_down = above[column:column + 1] in up
            arm_up = below[column:column + 1] in down
            assert arm_down == arm_up, f"column {column}:\n{above}\n{below}"
    assert max(map(len, lines)) <= 80


def test_not_root_is_told_clearly():
    script = "import os; from lab import demo; os.setuid(65534); raise SystemExit(demo.main())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "run it as root" in done.stderr and "Traceback" not in done.stderr
