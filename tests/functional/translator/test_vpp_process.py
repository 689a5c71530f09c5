# SPDX-License-Identifier: Apache-2.0
"""The managed VPP lives through everything; the external one is left alone. With a real VPP.

These are about processes: which messages VPP knows does not count, so the fip64 plugin need not be built.
"""

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fip64agent import hub
from fip64agent.process import outcome, status
from fip64agent.translator.vpp import process
from fip64agent.translator.vpp.api import compatibility
from fip64agent.translator.vpp.api.errors import VppGone
from fip64agent.translator.vpp.startup import StartupOptions
from fip64agent.translator.vpp.supervisor import Supervisor
from lab import vpp as lab_vpp
from lab.vpp import Vpp
from tests.fakes.vpp import require_vpp

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def lenient(monkeypatch):
    require_vpp(plugin=False)
    real = compatibility.faults
    monkeypatch.setattr(compatibility, "faults", lambda definitions, table: [])
    return lambda: monkeypatch.setattr(compatibility, "faults", real)


@pytest.fixture
def options(short_tmp):
    return StartupOptions(str(short_tmp / "vpp"), main_heap_size="256M", stats_size="16M",
                          buffers_per_numa=2048, poll_sleep=100)


class Told:
    """What the supervisor reports to its user."""

    def __init__(self):
        self.ups, self.downs = [], []


@pytest.fixture
def supervise(options):
    """Make supervisors of VPPs; whatever they started is ended."""
    made = []

    def make(options=options, **arguments):
        told = Told()
        arguments.setdefault("binary", str(lab_vpp.find().binary))
        arguments.setdefault("probe_interval", 0.2)
        one = Supervisor(options, on_up=lambda client: told.ups.append(client.pid),
                         on_down=told.downs.append, **arguments)
        made.append(one)
        one.start()
        return one, told

    yield make
    for one in made:
        one.close()
    end_all(options, signal.SIGKILL)


def end_all(options, number=signal.SIGTERM):
    """End the VPPs of ours, as the room does when nothing needs one any more."""
    for found in process.running(options.run_path):
        found.stop((number,))
        outcome(found.pid)
    process.clean(options)


def until(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        hub.sleep(0.01)
    return condition()


def up(one, but=None):
    assert until(lambda: one.client is not None and one.client.pid != but), one.ready()
    return one.client.pid


# -- start, and what it looks like ----------------------------------------------------------------


def test_it_starts_in_its_own_session_with_all_its_files_in_one_directory(supervise, options):
    one, told = supervise()
    assert one.ready() is not None
    pid = up(one)
    assert one.ready() is None and told.ups == [pid] and one.problem is None
    assert os.getsid(pid) == pid
    for path in (options.api_socket, options.stats_socket, options.cli_socket, options.log_file):
        assert os.path.exists(path)
    assert os.stat(options.run_path).st_mode & 0o007 == 0, "VPP lets its whole group use its sockets"
    plugins = one.client.call("cli_inband", cmd="show plugins").reply
    assert "af_packet_plugin.so" in plugins and "ping_plugin.so" in plugins and "nat_plugin.so" not in plugins
    assert until(lambda: one.probe.seconds is not None) and one.probe.seconds < 1


def test_it_does_not_eat_a_core(supervise, options):
    one, _ = supervise(dataclasses.replace(options, poll_sleep=0))
    pid = up(one)
    hub.sleep(0.5)

    def ticks():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    hub.sleep(2)
    assert (ticks() - before) / os.sysconf("SC_CLK_TCK") < 0.5, "seconds of CPU in two"


def test_its_end_leaves_nothing_in_memory(supervise, options):
    one, _ = supervise()
    pid = up(one)
    one.close()
    end_all(options)
    assert not os.path.exists(f"/proc/{pid}") and not os.path.exists(options.api_socket)
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(options.segment_prefix)]


# -- death, hang ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "words"), [
    (signal.SIGKILL, "was killed by signal 9 (SIGKILL)"),
    (signal.SIGSEGV, "received signal SIGSEGV"),
    (signal.SIGTERM, "received SIGTERM"),
])
def test_a_dead_vpp_is_back_at_once_and_the_reason_is_reported(supervise, number, words):
    one, told = supervise()
    pid = up(one)
    begun = time.monotonic()
    os.kill(pid, number)
    second = up(one, but=pid)
    assert time.monotonic() - begun < 5
    assert told.ups == [pid, second] and len(told.downs) == 1 and one.restarts == 1
    assert words in told.downs[0] and f"pid {pid}" in told.downs[0]


def test_a_hung_vpp_is_found_within_five_seconds_killed_and_back(supervise):
    one, told = supervise(probe_interval=1.0)  # as by default
    pid = up(one)
    os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    assert until(lambda: told.downs, 6), "not found"
    assert time.monotonic() - begun < 5
    assert f"VPP (pid {pid}) hung: no answer for 3 s" in told.downs[0]
    assert up(one, but=pid) and not os.path.exists(f"/proc/{pid}")


def test_a_vpp_that_hangs_while_it_is_programmed_is_found_too(supervise):
    """The socket is full of requests: the probe does not get through, and that is enough."""
    one, told = supervise(probe_interval=1.0)
    pid, client = up(one), one.client
    os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    working = hub.spawn(client.pipeline, [("cli_inband", {"cmd": "x" * 2000})] * 1000, timeout=30)
    assert until(lambda: told.downs, 6), "not found"
    assert time.monotonic() - begun < 5 and "hung" in told.downs[0]
    assert all(isinstance(result, VppGone) for result in working.wait())
    assert up(one, but=pid)


def test_deaths_in_a_row_slow_it_down_and_never_end_it(supervise, options, short_tmp):
    dying = short_tmp / "dying"
    dying.write_text("#!/bin/sh\necho the last words of a dying VPP\nexit 7\n")
    dying.chmod(0o755)
    one, told = supervise(binary=str(dying))
    begun = time.monotonic()
    starts = lambda: Path(options.log_file).read_text().count("starts VPP") if os.path.exists(  # noqa: E731
        options.log_file) else 0
    assert until(lambda: starts() == 2, 2), "the first restart is at once"
    assert until(lambda: starts() == 4, 6) and time.monotonic() - begun > 2.5
    assert until(lambda: 2 < (one.next_start or 0) <= 4, 2)
    assert "ended with status 7 while it started: the last words of a dying VPP" in one.ready()
    assert told.ups == told.downs == []


@pytest.mark.parametrize(("binary", "words"), [
    ("/nonexistent/vpp", "the program '/nonexistent/vpp' is not found"),
    ("not-executable", "the program"),
    ("not-a-program", "VPP cannot be started"),
])
def test_a_binary_that_cannot_run_is_named(supervise, short_tmp, binary, words):
    if not binary.startswith("/"):
        path = short_tmp / binary
        path.write_bytes(b"\x7fELF but not really")
        path.chmod(0o755 if binary == "not-a-program" else 0o644)
        binary = str(path)
    one, _ = supervise(binary=binary)
    assert until(lambda: words in (one.ready() or ""), 5), one.ready()


def test_a_stanza_that_vpp_refuses_is_named(supervise, options):
    one, _ = supervise(dataclasses.replace(options, extra=("unix { no-such-word }",)))
    assert until(lambda: "no-such-word" in (one.ready() or ""), 5), one.ready()


def test_options_that_cannot_work_together_are_named(supervise, options):
    one, _ = supervise(dataclasses.replace(options, workers=1, corelist_workers="1"))
    assert until(lambda: "[vpp] workers and corelist_workers" in (one.ready() or ""), 5)


# -- agents come and go ---------------------------------------------------------------------------


def test_vpp_outlives_the_agent_and_is_adopted(supervise):
    first, _ = supervise()
    pid = up(first)
    first.close()
    assert os.path.exists(f"/proc/{pid}")
    second, told = supervise()
    assert up(second) == pid and told.ups == [pid] and second.problem is None


def test_vpp_outlives_an_agent_that_is_killed(supervise, options):
    """The agent's process is killed, with its whole process group, right after VPP came up."""
    script = ("import sys; from fip64agent import hub;"
              "from fip64agent.translator.vpp.api import compatibility;"
              "compatibility.faults = lambda *args: [];"
              "from fip64agent.translator.vpp.supervisor import Supervisor;"
              "from fip64agent.translator.vpp.startup import StartupOptions;"
              f"one = Supervisor({options!r}, binary={str(lab_vpp.find().binary)!r},"
              "on_up=lambda client: print(client.pid, flush=True)); one.start(); hub.sleep(60)")
    agent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT,
                             start_new_session=True)
    pid = int(agent.stdout.readline())
    os.killpg(agent.pid, signal.SIGKILL)
    agent.wait()
    agent.stdout.close()
    one, _ = supervise()
    assert up(one) == pid


def test_an_outdated_vpp_is_adopted_and_reported_and_renewed_when_it_dies(supervise, options):
    first, _ = supervise()
    pid = up(first)
    first.close()
    newer = dataclasses.replace(options, buffers_per_numa=4096)
    second, _ = supervise(newer)
    assert up(second) == pid
    for words in (f"VPP (pid {pid}) runs with older startup options until it is restarted",
                  second.process.startup_file):
        assert words in second.problem
    old = second.process.startup_file
    os.kill(pid, signal.SIGKILL)
    assert up(second, but=pid) and second.problem is None
    assert second.process.startup_file != old


def test_its_socket_removed_is_reported_and_a_new_agent_restarts_it(supervise, options):
    first, told = supervise()
    pid = up(first)
    os.unlink(options.api_socket)
    assert until(lambda: first.problem is not None, 3)
    assert f"VPP's API socket {options.api_socket} was removed" in first.problem
    assert first.ready() is None and first.client.call("control_ping").vpe_pid == pid
    first.close()
    second, _ = supervise(start_timeout=2.0)
    assert up(second, but=pid), "what cannot be reached is restarted"
    assert not os.path.exists(f"/proc/{pid}") and second.problem is None and told.downs == []


def test_a_second_vpp_of_ours_is_ended(supervise, options):
    first, _ = supervise()
    pid = up(first)
    first.close()
    other = process.start(str(lab_vpp.find().binary), options)  # takes the sockets of the first
    second, _ = supervise()
    assert up(second) == other.pid
    assert until(lambda: not os.path.exists(f"/proc/{pid}") or status(pid)[0] == "Z")
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def test_another_vpp_on_the_host_is_left_alone(supervise, options, short_tmp):
    with Vpp(short_tmp / "other", plugins=("ping_plugin.so",)) as other:
        one, _ = supervise()
        pid = up(one)
        os.kill(pid, signal.SIGKILL)
        up(one, but=pid)
        one.close()
        end_all(options)
        assert other.running and "ping_plugin" in other.cli("show plugins")


# -- external -------------------------------------------------------------------------------------


def test_an_external_vpp_is_used_and_never_killed(supervise, options, short_tmp):
    directory = short_tmp / "ext"
    with Vpp(directory, plugins=("ping_plugin.so",)) as other:
        one, told = supervise(launch="external", api_socket=str(other.api_socket), probe_timeout=0.5)
        assert up(one) == other.pid and one.process is None
        os.kill(other.pid, signal.SIGSTOP)
        assert until(lambda: told.downs, 5)
        assert "does not answer for 0.5 s; it is external" in told.downs[0]
        hub.sleep(1)
        assert other.running
        os.kill(other.pid, signal.SIGCONT)
        assert up(one) == other.pid
        gone = other.pid
    assert until(lambda: len(told.downs) == 2, 5) and "connection was lost" in told.downs[1]
    assert until(lambda: str(other.api_socket) in (one.ready() or ""), 5)
    with Vpp(directory, plugins=("ping_plugin.so",)) as other:
        assert up(one, but=gone) == other.pid
        one.close()
        end_all(options)
        assert other.running, "only what the agent started is ended"
    assert not os.path.exists(options.log_file)


# -- users that fail, plugins that do not load ----------------------------------------------------


def test_a_user_that_fails_does_not_end_the_supervision(options, supervise, caplog):
    one, told = supervise()
    one._on_up = lambda client: told.ups.append(client.pid) or 1 / 0
    pid = up(one)
    os.kill(pid, signal.SIGKILL)
    assert up(one, but=pid)
    assert until(lambda: len(told.ups) == 2)
    assert "VPP's user failed" in caplog.text


def test_callers_that_wait_are_woken_by_its_death(supervise):
    one, _ = supervise()
    pid = up(one)
    client = one.client
    os.kill(pid, signal.SIGSTOP)
    caught = []

    def caller():
        try:
            client.call("control_ping", _timeout=30)
        except VppGone as error:
            caught.append(error)

    hub.spawn(caller)
    hub.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: caught, 2)


def incomplete(content):
    return content.replace(b"\0vlib_global_main\0", b"\0vlib_global_maix\0")


def of_another_vpp(content):
    """The plugin names the VPP that it was built for."""
    said = subprocess.run([lab_vpp.find().binary, "--version"], capture_output=True).stdout
    version = re.search(rb"vpp v(\S+)", said)[1]
    assert version in content
    return content.replace(version, b"1" + version[1:])


@pytest.mark.parametrize("seconds", [0, 1.5])
@pytest.mark.parametrize(("alter", "words"), [
    (incomplete, "undefined symbol: vlib_global_maix"),
    (of_another_vpp, "Plugin fip64_plugin.so version mismatch: "),
])
def test_a_plugin_that_vpp_cannot_load_is_named_and_the_right_one_heals(supervise, short_tmp, lenient, alter,
                                                                        words, seconds):
    require_vpp()
    lenient()  # no longer: what VPP says counts
    good = lab_vpp.find().plugin
    content = good.read_bytes()
    bad = short_tmp / "plugins" / good.name
    bad.parent.mkdir()
    bad.write_bytes(alter(content))
    one, told = supervise(plugin_path=str(bad.parent))
    for said in ("runs without the fip64 plugin", str(bad.parent), words):
        assert until(lambda said=said: said in (one.ready() or ""), 10), one.ready()
    pid = one.process.pid
    hub.sleep(seconds)
    assert one.process.pid == pid, "it is not restarted without need"
    shutil.copyfile(good, bad.with_suffix(".new"))
    os.rename(bad.with_suffix(".new"), bad)
    assert up(one) != pid and told.downs == []


def test_one_that_was_started_with_a_wrong_plugin_path_is_ended_when_that_is_corrected(
        supervise, short_tmp, lenient):
    require_vpp()
    lenient()
    good = lab_vpp.find().plugin
    wrong = short_tmp / "plugins" / good.name
    wrong.parent.mkdir()
    wrong.write_bytes(incomplete(good.read_bytes()))
    first, _ = supervise(plugin_path=str(wrong.parent))
    assert until(lambda: "runs without the fip64 plugin" in (first.ready() or ""), 10), first.ready()
    pid = first.process.pid
    first.close()
    again, _ = supervise(plugin_path=str(wrong.parent))
    assert until(lambda: "runs without the fip64 plugin" in (again.ready() or ""), 10), again.ready()
    hub.sleep(1.5)
    assert again.process.pid == pid, "it is not restarted without need"
    again.close()
    second, _ = supervise(plugin_path=str(good.parent))
    assert up(second, but=pid) and second.problem is None
