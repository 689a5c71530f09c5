# SPDX-License-Identifier: Apache-2.0
"""The errors the agent raises on purpose. Each message names the object and the reason."""


class Fip64Error(Exception):
    """Base of all errors an operator may read; `exit_status` is what a program ends with."""

    exit_status = 1


class ConfigError(Fip64Error):
    """The configuration cannot be used."""

    exit_status = 2


class PermissionDenied(Fip64Error):
    """The process lacks the rights it needs."""

    exit_status = 3


class EnvironmentMissing(Fip64Error):
    """Something that is needed is missing: OVS or the bridge (fip64-cleanup), a VPP that works (agent)."""

    exit_status = 4


class AlreadyRunning(Fip64Error):
    """Another agent holds the admin socket."""

    exit_status = 5


class TopologyError(Fip64Error):
    """What is wrong with a topology. `problems` has all of its faults, not only the first.

    refused: the source as a whole cannot be used. Else only the resources that are named, and what needs
    them, are left out, or stay in their last good form.
    """

    def __init__(self, problems, refused=True):
        self.problems = tuple(problems)
        self.refused = refused
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NotReady(Fip64Error):
    """A room cannot work now, as its component is down. The work is done when the room can."""
