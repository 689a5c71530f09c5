# SPDX-License-Identifier: Apache-2.0
"""A guest for each translator: a whole machine in qemu, with the agent installed as README.rst says."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.guest import image, install_disk, readme
from lab.guest.channel import GuestError
from lab.guest.machine import Machine
from lab.guest.remote import Remote
from lab.screen import Screen
from tests.host.guest import CHECKOUT, UNIT, Guest

_HERE = Path(__file__).parent
_LIMIT = 3600
"""Seconds for one test: a guest in software emulation, on a busy machine, is slow."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(_LIMIT))


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """The steps say what passed: no dots between them."""
    if report.when == "call" and report.passed and report.nodeid.startswith("tests/host/"):
        return "passed", "", "PASSED"
    return None


@pytest.fixture(scope="session")
def screen() -> Screen:
    return Screen()


@pytest.fixture(autouse=True)
def heading(request: pytest.FixtureRequest, screen: Screen) -> None:
    """Say what is tried: the first line of the test's documentation, else its name."""
    test = request.node
    said = (test.function.__doc__ or test.originalname.replace("_", " ")).strip().splitlines()[0]
    call = getattr(test, "callspec", None)
    with_ = f"  [{call.id}]" if call else ""
    screen.heading(said.removesuffix(".") + with_)


@pytest.fixture(scope="session")
def step(screen: Screen) -> Callable:
    """``with step("what is done") as now: ...; now.result = "what came of it"``."""
    return screen.step


@pytest.fixture(scope="session")
def guest(translator: str, screen: Screen) -> Iterator[Guest]:
    """A machine that runs, with Open vSwitch and without the agent."""
    if reason := image.missing() or install_disk.missing(translator):
        pytest.skip(reason)
    screen.heading(f"A machine of its own, for the translator {translator}")
    with tempfile.TemporaryDirectory(prefix="f64q-") as directory, contextlib.ExitStack() as stack:
        try:
            system = image.ensure(screen)
            disk = Path(directory) / "install.img"
            install_disk.make(disk, system.python, translator, screen)
        except image.Unavailable as error:
            pytest.skip(str(error))
        machine = Machine(system, disk, Path(directory))
        guest = Guest(machine, translator)
        stack.callback(machine.stop)
        LIVE.append(guest)
        stack.callback(LIVE.remove, guest)
        with screen.step("boot") as step:
            machine.start()
            machine.wait_up()
            guest.allow_time()
            what = "source /etc/os-release && echo $PRETTY_NAME, Linux $(uname -r)"
            step.result = f"{machine.run('bash', '-c', what).stdout.strip()}, {machine.accelerator}"
        yield guest


@pytest.fixture(scope="session")
def installed(guest: Guest, screen: Screen) -> Guest:
    """The guest with the agent installed by README's commands, and the lab around it, all of it settled."""
    screen.heading("Install it, by the commands of README.rst")
    guest.run("ovs-vsctl", "add-br", "br-int")
    for command in readme.commands():
        with screen.step(" ".join(shlex.split(command, comments=True))):
            guest.run("bash", "-euc", command, cwd=CHECKOUT, timeout=1800)
    if guest.translator == "vpp":
        with screen.step("VPP for the agent") as step:
            step.result = guest.configure_vpp()
    with screen.step("client, router and VMs around it"):
        guest.build_lab()
    return guest


@pytest.fixture
def lab(installed: Guest, step: Callable) -> Iterator[Remote]:
    """The lab in the guest; whatever a test breaks, its floating IPs answer again after it."""
    yield installed.lab
    with step("all is well again"):
        if installed.run("systemctl", "is-failed", "-q", UNIT, check=False).returncode == 0:
            installed.run("systemctl", "reset-failed", UNIT)
            installed.lab.agent.start()
        installed.lab.agent.wait_running()
        installed.lab.wait_answers(*installed.ROUTED)
        installed.lab.wait_settled()


@pytest.fixture
def away(installed: Guest, lab: Remote) -> Iterator[None]:
    """The installed agent is stopped and cleaned up: two at once would want the same links."""
    installed.run("systemctl", "stop", UNIT)
    installed.run("/opt/fip64agent/bin/fip64-cleanup")
    yield
    installed.run("systemctl", "start", UNIT)
    lab.wait_answers(*installed.ROUTED)


# What a failed test should tell

LIVE: list[Guest] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    if report.failed and call.when in ("setup", "call", "teardown"):
        for guest in LIVE:
            report.sections.extend(_sections(guest))
    return report


def _sections(guest: Guest) -> Iterator[tuple[str, str]]:
    yield "guest: console", guest.machine.console_tail(20)
    for title, command in (
            ("guest: fip64ctl status", "/opt/fip64agent/bin/fip64ctl status"),
            ("guest: the agent", "systemctl status fip64-agent --no-pager -l -n 0;"
                                 " journalctl -q -b -u fip64-agent -o short-precise --no-pager -n 60"),
            ("guest: bridge", "ovs-vsctl show; ovs-ofctl -O OpenFlow13 dump-flows br-int --no-stats"),
            ("guest: kernel", "dmesg | tail -n 15")):
        try:
            done = guest.run("bash", "-c", command, check=False, timeout=60)
            yield title, done.stdout + done.stderr
        except GuestError as error:
            yield title, str(error).splitlines()[0]
            return
