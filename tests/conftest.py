# SPDX-License-Identifier: Apache-2.0
"""What all tests share: labs, and honest skips.

Without root, or without a component, tests that need it are skipped with the reason. FIP64_NO_SKIP=1
(set by ``make test`` as root, which has just installed everything) makes such a skip a failure; but not
for VPP, which no package registry has.

End-to-end tests, and those of fip64ctl with the daemon, run once for each translator. With
FIP64_LAB_OVS=system their labs are on a bridge br-lab of the machine's own Open vSwitch, so on its kernel
datapath: tests/host does so, in a machine that is there for nothing else.

Hypothesis tries the same examples in every run. To look for others: FIP64_HYPOTHESIS=random.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from lab import host, vpp
from lab.host import Lab

_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
TRANSLATORS = ("tayga", "vpp")
# A machine that is slow or busy fails no test.
settings.register_profile("same", deadline=None, derandomize=True,
                          suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("random", settings.get_profile("same"), derandomize=False)
_LAB_PROGRAMS = ("ip", "nsenter", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovsdb-tool")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep-lab", action="store_true",
                     help="leave the lab of a failed test standing (remove it: python -m lab.sweep)")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile(os.environ.get("FIP64_HYPOTHESIS", "same"))
    config.addinivalue_line("markers", "root: needs root")
    config.addinivalue_line("markers", "needs(program, ...): needs these programs")
    config.addinivalue_line("markers", "only(translator): a test of what only this translator has")
    # Debian keeps daemons in sbin, which the PATH may lack.
    os.environ["PATH"] = os.pathsep.join(dict.fromkeys([*os.environ["PATH"].split(os.pathsep), *_SBIN]))


# Honest skips


def _missing(reason: str) -> None:
    if os.environ.get("FIP64_NO_SKIP") == "1":
        pytest.fail(f"must not be skipped here, yet: {reason}", pytrace=False)
    pytest.skip(reason)


def require_root() -> None:
    if os.geteuid():
        _missing("needs root")


def require_programs(*programs: str) -> None:
    absent = [program for program in programs if not shutil.which(program)]
    if absent:
        _missing(f"not installed: {', '.join(absent)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root"):
        require_root()
    for marker in item.iter_markers("needs"):
        require_programs(*marker.args)


def require_vpp() -> None:
    """Needs VPP and the fip64 plugin; a machine without them is none where anything is wrong."""
    if reason := vpp.missing():
        pytest.skip(reason)


# Labs


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "translator" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("only")
        everywhere = {"e2e", "admin", "host"} & set(metafunc.definition.path.parts)
        names = only.args if only else TRANSLATORS if everywhere else TRANSLATORS[:1]
        metafunc.parametrize("translator", names, scope="session", indirect=True)


@pytest.fixture(scope="session")
def translator(request: pytest.FixtureRequest) -> str:
    """Name of the translator that the test's labs use."""
    if request.param == "vpp":
        require_vpp()
    return request.param


def _labs(request: pytest.FixtureRequest, translator: str) -> Iterator[Callable[..., Lab]]:
    require_root()
    require_programs(*_LAB_PROGRAMS)
    made: list[Lab] = []

    def make(**options: Any) -> Lab:
        options.setdefault("translator", translator)
        if os.environ.get("FIP64_LAB_OVS") == "system":
            options = {"ovs": "system", "bridge": "br-lab"} | options
        if options.get("agent") and options["translator"] == "tayga":
            require_programs("tayga")
        lab = Lab(**options)
        lab.start()
        made.append(lab)
        return lab

    failed_before = request.session.testsfailed
    yield make
    if request.config.getoption("--keep-lab") and request.session.testsfailed > failed_before:
        for lab in made:
            host.LIVE.remove(lab)
            print(f"kept: {lab.directory}, network namespaces {lab.prefix}*")
        return
    for lab in reversed(made):
        lab.stop()


@pytest.fixture
def make_lab(request: pytest.FixtureRequest, translator: str) -> Iterator[Callable[..., Lab]]:
    """Build labs: ``make_lab(**options of lab.host.Lab)``; they are removed after the test."""
    yield from _labs(request, translator)


@pytest.fixture(scope="module")
def make_module_lab(request: pytest.FixtureRequest, translator: str) -> Iterator[Callable[..., Lab]]:
    """As make_lab, for labs that stand for all tests of a module."""
    yield from _labs(request, translator)


@pytest.fixture
def bare_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The standard lab without the daemon."""
    for make in _labs(request, TRANSLATORS[0]):
        yield make()


@pytest.fixture
def lab(make_lab) -> Lab:
    """The standard lab with the daemon, both floating IPs reachable."""
    return _running(make_lab)


@pytest.fixture(scope="module")
def module_lab(make_module_lab) -> Lab:
    """As `lab`, one for the module: leave it as you found it."""
    return _running(make_module_lab)


def _running(make: Callable[..., Lab]) -> Lab:
    lab = make(agent=True)
    for vm in ("vm-a", "vm-b"):
        lab[vm].serve()
    lab.wait_reachable(host.FIP_A, host.FIP_B)
    return lab


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A directory with a path short enough for unix sockets."""
    with tempfile.TemporaryDirectory(prefix="f64t-") as directory:
        yield Path(directory)


# What a failed test should tell


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    if report.failed and call.when in ("setup", "call"):
        for lab in host.LIVE:
            report.sections.extend(_lab_sections(lab))
    return report


def _lab_sections(lab: Lab) -> Iterator[tuple[str, str]]:
    name = lab.directory.name
    if hasattr(lab, "agent") and lab.agent.process is not None:
        state = "running" if lab.agent.running else f"ended, exit status {lab.agent.process.returncode}"
        yield f"{name}: the agent ({state})", lab.agent.log_tail(80)
    for title, look in (("flows", lab.flows), ("bridge", lambda: lab.ovs.vsctl("show").stdout)):
        try:
            yield f"{name}: {title}", look()
        except Exception as error:  # the test's own failure is what matters
            yield f"{name}: {title}", f"cannot be read: {error}"
