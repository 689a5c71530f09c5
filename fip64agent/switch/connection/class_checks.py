# SPDX-License-Identifier: Apache-2.0
"""Memory that os_ken's packet library takes, which the agent does not use."""

from __future__ import annotations

import contextlib

from fip64agent import hub  # noqa: F401 (before os-ken: it picks os-ken's hub)

# isort: split
from os_ken.lib.packet.packet_base import PacketBase


def forget_class_checks() -> None:
    """Free 4 MiB that importing os_ken has left behind.

    It asks of each class whether it is a packet class, and all packet classes keep the answers, of which none
    is asked for again. The method that clears them is Python's own (abc.ABCMeta), though not
    documented: without it nothing but the memory is missed.
    """
    classes = [PacketBase]
    for cls in classes:
        classes += cls.__subclasses__()
        with contextlib.suppress(AttributeError):
            cls._abc_caches_clear()
