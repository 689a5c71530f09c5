# SPDX-License-Identifier: Apache-2.0
"""How many connections a conntrack zone may have: read and set through ovs-vswitchd's control socket.

The zones are those of networks with security groups. Both datapaths know such limits, the kernel's since
Linux 4.18. The userspace datapath forgets them when ovs-vswitchd restarts.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from fip64agent.exceptions import NotReady
from fip64agent.plan.desired import ObjectKey
from fip64agent.plan.groups.objects import FilteredNetwork
from fip64agent.switch import appctl, pipeline, stages

LOG = logging.getLogger(__name__)

_LIMIT = re.compile(r"^zone=(\d+),limit=(\d+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class ZoneLimitItem:
    """A limit of connections in a conntrack zone."""

    zone: int
    limit: int
    owner: ObjectKey = dataclasses.field(default=(), compare=False)

    @property
    def key(self) -> Hashable:
        return pipeline.zone_key(self.zone)

    def __str__(self) -> str:
        return f"limit of {self.limit} connections in conntrack zone {self.zone}"


def wanted(obj: Any) -> Iterator[ZoneLimitItem]:
    """Yield the limit that an object of the plan wants."""
    if isinstance(obj, FilteredNetwork) and obj.limit:
        yield ZoneLimitItem(obj.number, obj.limit, obj.key)


def datapath(kind: str) -> str:
    """Return what ovs-vswitchd calls the one datapath of a type ("system", "netdev")."""
    return f"{kind}@ovs-{kind}"


def read(run_path: str, kind: str) -> dict[Hashable, ZoneLimitItem]:
    """Return the limits of our zones, by key; none if they cannot be read. Blocks: use hub.offload().

    `kind`: type of the bridge's datapath.
    """
    try:
        answer = appctl.call(run_path, "dpctl/ct-get-limits", datapath(kind))
    except (NotReady, appctl.AppctlError) as error:
        LOG.debug("limits of conntrack zones cannot be read: %s", error)
        return {}
    found = (ZoneLimitItem(int(zone), int(limit)) for zone, limit in _LIMIT.findall(answer))
    return {item.key: item for item in found if stages.FIRST_ZONE <= item.zone <= stages.LAST_ZONE}


def change(run_path: str, kind: str, apply: Sequence[ZoneLimitItem], prune: Sequence[ZoneLimitItem] = ()
           ) -> dict[Hashable, str]:
    """Set and remove limits; return the reason for each key that failed. Blocks: use hub.offload()."""
    failed: dict[Hashable, str] = {}
    commands = (("dpctl/ct-set-limits", apply, [f"zone={item.zone},limit={item.limit}" for item in apply]),
                ("dpctl/ct-del-limits", prune, [f"zone={','.join(str(item.zone) for item in prune)}"]))
    for command, items, arguments in commands:
        if not items:
            continue
        try:
            appctl.call(run_path, command, datapath(kind), *arguments)
        except (NotReady, appctl.AppctlError) as error:
            failed.update(dict.fromkeys((item.key for item in items), str(error)))
    return failed
