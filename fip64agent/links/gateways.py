# SPDX-License-Identifier: Apache-2.0
"""Watches whether the gateways of the uplinks answer Neighbor Solicitations.

The kernel asks them from the uplink's Neighbor Discovery link, which has the uplink's MAC and addresses: so
the same way serves each translator and each datapath. It is only told; nothing is changed because of it.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address

from fip64agent import hub
from fip64agent.links import neighbors
from fip64agent.links.reachability import Judge
from fip64agent.plan.desired import Uplink

LOG = logging.getLogger(__name__)

_PAUSE = 0.1
"""Seconds between two looks at least."""
_AT_ONCE = 4
"""Questions of one look. VPP gets the answers too, and hung when a hundred interfaces had one at a time."""
_WHILE_BUSY = 1.0
"""Seconds until it is seen whether there is time to ask."""
_AFTER_ERROR = 5.0
"""Seconds until a namespace that could not be asked is asked again."""
_Key = tuple[str, str, IPv6Address]
"""(network namespace, link, address)"""


@dataclasses.dataclass(frozen=True, slots=True)
class Reachability:
    """Whether a gateway answers."""

    alive: bool | None
    """None: not known yet."""
    since: float | None = None
    """Seconds since the epoch; None: not known yet."""


class Gateways:
    """`uplinks` returns those of the plan, each with whether it is installed: then its gateways are asked.

    `interval`: seconds between two questions to a gateway; 0: nothing is watched.
    `busy`: something is being installed. Then nobody is asked: that takes the kernel's lock (RTNL) that a VPP
    which makes its interfaces needs as well, and the answers go to it too.
    """

    def __init__(self, uplinks: Callable[[], Iterable[tuple[Uplink, bool]]], interval: float,
                 busy: Callable[[], bool] = lambda: False) -> None:
        self._uplinks = uplinks
        self._interval = interval
        self._busy = busy
        self._judges: dict[_Key, Judge] = {}
        self._reachability: dict[_Key, Reachability] = {}
        self._due = hub.Event()
        self._thread = None

    def start(self) -> None:
        if self._interval:
            self._thread = hub.spawn(self._run)

    def stop(self) -> None:
        if self._thread is not None:
            self._thread.kill()
            self._thread = None

    def look_soon(self) -> None:
        """Uplinks may have come, changed or gone."""
        self._due.set()

    def reachability(self, uplink: Uplink, address: IPv6Address) -> Reachability | None:
        """Whether a gateway of an uplink answers; None: nobody watches."""
        if not self._interval:
            return None
        return self._reachability.get(_key(uplink, address), Reachability(None))

    # -- the work ---------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            wait: float | None = _AFTER_ERROR
            try:
                wait = self._look()
            except Exception:
                LOG.exception("gateways: a look failed")
            hub.sleep(_PAUSE)
            self._due.wait(wait)
            self._due.clear()

    def _look(self) -> float | None:
        """Look at all gateways and ask those that are due; return the seconds until the next look."""
        if self._busy():
            return _WHILE_BUSY
        owners = self._wanted()
        by_netns: dict[str, list[_Key]] = defaultdict(list)
        for key in owners:
            by_netns[key[0]].append(key)
        waits = [self._look_into(netns, keys, owners) for netns, keys in by_netns.items()]
        return max(0.0, min(waits) - _PAUSE) if waits else None

    def _wanted(self) -> dict[_Key, Uplink]:
        owners: dict[_Key, Uplink] = {}
        known: set[_Key] = set()
        for uplink, installed in self._uplinks():
            for address in uplink.next_hops:
                key = _key(uplink, address)
                known.add(key)
                if installed and key not in self._judges:
                    self._judges[key] = Judge(self._interval)
                if key in self._judges:
                    owners[key] = uplink
        for key in self._judges.keys() - known:
            del self._judges[key]
            self._reachability.pop(key, None)
        return owners

    def _look_into(self, netns: str, keys: list[_Key], owners: dict[_Key, Uplink]) -> float:
        try:
            links, states = hub.offload(neighbors.states, netns, {link for _, link, _ in keys})
            questions = []
            now = time.monotonic()
            for key in keys:
                if len(questions) >= _AT_ONCE:  # the others' turn comes with the next look
                    break
                _, link, address = key
                judge = self._judges[key]
                if link not in links:
                    judge.cannot_ask(now)
                    continue
                if (how := judge.look(states.get((link, address), 0), now)) is not None:
                    questions.append(((link, address), how))
                self._note(key, judge, owners[key])
            if questions:
                hub.offload(neighbors.ask, netns, questions)
        except OSError as error:
            LOG.debug("gateways: network namespace %s cannot be asked: %s", netns, error)
            now = time.monotonic()
            for key in keys:
                self._judges[key].cannot_ask(now)
            return _AFTER_ERROR
        now = time.monotonic()
        return min(self._judges[key].wait(now) for key in keys)

    def _note(self, key: _Key, judge: Judge, uplink: Uplink) -> None:
        """Take over what a judge found, and log when it is another thing than before."""
        before = self._reachability.get(key, Reachability(None)).alive
        if judge.alive == before:
            return
        self._reachability[key] = Reachability(judge.alive, time.time() - (time.monotonic() - judge.since))
        address = key[2]
        if not judge.alive:
            LOG.warning("gateway %s of uplink %s does not answer Neighbor Solicitations", address,
                        uplink.port_id)
        elif before is False:
            LOG.info("gateway %s of uplink %s answers Neighbor Solicitations again", address, uplink.port_id)


def _key(uplink: Uplink, address: IPv6Address) -> _Key:
    return uplink.nd_netns, uplink.nd_peer, address
