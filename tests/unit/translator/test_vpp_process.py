# SPDX-License-Identifier: Apache-2.0
"""The managed VPP's files, and processes that are or are not a VPP of ours (stand-ins for it)."""

import os
import time

import pytest

from fip64agent.exceptions import EnvironmentMissing
from fip64agent.process import outcome, status
from fip64agent.translator.vpp import installation, process, startup
from fip64agent.translator.vpp.startup import StartupOptions


@pytest.fixture
def options(tmp_path):
    return StartupOptions(str(tmp_path / "vpp"))


@pytest.fixture
def program(tmp_path):
    """A program that stays there when it is started as VPP is."""
    path = tmp_path / "vpp-stand-in"
    path.write_text('#!/bin/sh\necho started\nread nothing < "$0.fifo"\n')
    os.mkfifo(f"{path}.fifo")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def started(options, program):
    found = process.start(program, options)
    yield found
    found.stop()
    outcome(found.pid)


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_start_writes_its_file_and_removes_what_was_left(options, program):
    directory = os.path.dirname(options.api_socket)
    os.makedirs(directory)
    for stale in (options.api_socket, options.stats_socket, f"{directory}/startup-0123456789ab.conf"):
        open(stale, "w").close()
    found = process.start(program, options)
    try:
        assert not os.path.exists(options.api_socket) and not os.path.exists(options.stats_socket)
        assert [name for name in os.listdir(directory) if name.endswith(".conf")] == [found.startup_file]
        with open(startup.path(options)) as file:
            assert file.read() == startup.text(options)
        assert os.getsid(found.pid) == found.pid, "a session of its own: it outlives the agent"
        assert status(found.pid)[1] == found.started and found.age < 60
    finally:
        found.stop()
        outcome(found.pid)


def test_running_finds_ours_by_the_command_line_only(options, started):
    # For a moment after execve(2) has begun, a process has no command line.
    assert until(lambda: process.running(options.run_path) == [started])
    assert process.running(options.run_path + "2") == []


def test_a_program_that_cannot_be_started(options):
    with pytest.raises(OSError):
        process.start("/nonexistent/vpp", options)


SAID = """fip64-agent starts VPP: /usr/bin/vpp -c /run/a
an old complaint
fip64-agent starts VPP: /usr/bin/vpp -c /run/b
0: vnet_feature_arc_init:271: feature node 'ip4-punt-policer' not found (arc 'ip4-punt')
ip6/dad               [notice]: IPv6 DAD initialized (disabled by default)
vat-plug/load         [error ]: vat_plugin_register: tracedump plugin not loaded...
received signal SIGSEGV, PC 0x7f3b53e49503, faulting address 0x7373
Code:  f7 d8 c3 66 2e
#0  0x00007f3b53e49503 clock_nanosleep + 0x23
     from /lib/x86_64-linux-gnu/libc.so.6
#1  0x00007f3b53e4de53 nanosleep + 0x13
     from /lib/x86_64-linux-gnu/libc.so.6
#2  0x00007f3b54067c39
#3  0x00007f3b5407587c vlib_main + 0x78c
#4  0x00007f3b5407587c thread0 + 0x78c
"""


def test_last_output_is_that_of_the_last_vpp_without_noise(options):
    assert process.last_output(options) == ""
    os.makedirs(options.run_path)
    with open(options.log_file, "w") as log:
        log.write(SAID)
    assert process.last_output(options) == (
        "received signal SIGSEGV, PC 0x7f3b53e49503, faulting address 0x7373; "
        "in clock_nanosleep, called by nanosleep, called by ?, called by vlib_main")


def test_last_output_is_cut(options):
    os.makedirs(options.run_path)
    with open(options.log_file, "w") as log:
        log.write("word " * 1000 + "the end\n")
    words = process.last_output(options)
    assert len(words) < 420 and words.endswith("the end") and words.startswith("… ")


def test_the_log_is_bounded_while_vpp_writes_on(options):
    os.makedirs(options.run_path)
    with open(options.log_file, "ab", buffering=0) as vpp:
        vpp.write(b"x" * (5 << 20) + b"end\n")
        process.bound_log(options)
        vpp.write(b"after\n")
    with open(options.log_file, "rb") as log:
        assert log.read() == b"after\n"
    with open(options.log_file + ".1", "rb") as log:
        kept = log.read()
    assert kept.endswith(b"end\n") and len(kept) == 1 << 20
    process.bound_log(options)
    with open(options.log_file, "rb") as log:
        assert log.read() == b"after\n"


# -- where it is ----------------------------------------------------------------------------------


def test_no_program_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentMissing, match="'vpp-nowhere' is not found"):
        installation.find("vpp-nowhere")


def test_plugins_are_looked_for_in_the_given_order(tmp_path):
    binary = tmp_path / "bin" / "vpp"
    own, ours = tmp_path / "lib" / "x86_64-linux-gnu" / "vpp_plugins", tmp_path / "ours"
    for directory in (binary.parent, own, ours):
        directory.mkdir(parents=True)
    binary.write_text("")
    binary.chmod(0o755)
    there = installation.find(str(binary), str(ours))
    assert there.plugin_directories == (str(ours), str(own)) and there.plugin is None
    for word in (str(ours), str(own), "fip64_plugin.so", "[vpp] plugin_path"):
        assert word in there.missing
    (own / "fip64_plugin.so").write_text("")
    assert installation.find(str(binary), str(ours)).plugin == str(own / "fip64_plugin.so")
    (ours / "fip64_plugin.so").write_text("")
    there = installation.find(str(binary), str(ours))
    assert there.plugin == str(ours / "fip64_plugin.so") and there.missing is None
