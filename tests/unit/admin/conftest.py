# SPDX-License-Identifier: Apache-2.0
"""A real admin API on a real unix socket, with a scripted agent behind it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys

import pytest

from fip64agent import hub
from fip64agent.admin.api import AdminServer
from fip64agent.admin.client import Client
from tests.fakes.scripted_agent import ScriptedAgent


@dataclasses.dataclass
class Running:
    """The API is served by the hub, in this thread; who asks does so from another one."""

    agent: ScriptedAgent
    server: AdminServer

    @property
    def socket(self) -> str:
        return self.server.path

    def get(self, *parts, **query):
        return hub.offload(Client(self.socket, timeout=10).get, *parts, **query)

    def ctl(self, *argv: str, **options) -> subprocess.CompletedProcess:
        """Run fip64ctl as an operator would."""
        return hub.offload(ctl, "--socket", self.socket, *argv, **options)


def ctl(*argv: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "fip64agent.cmd.ctl", *argv], capture_output=True, text=True,
                          timeout=30, stdin=subprocess.DEVNULL,
                          env={**os.environ, "LC_ALL": "C.UTF-8", "COLUMNS": "200", **environment})


@pytest.fixture
def agent(short_tmp) -> ScriptedAgent:
    return ScriptedAgent(str(short_tmp / "admin.sock")).settle()


@pytest.fixture
def running(agent) -> Running:
    with serving(agent) as server:
        yield Running(agent, server)


@contextlib.contextmanager
def serving(agent):
    server = AdminServer(agent, agent.conf.admin.socket)
    server.start()
    try:
        yield server
    finally:
        server.stop()
