# SPDX-License-Identifier: Apache-2.0
"""Watches whether the gateways of the uplinks answer Neighbor Solicitations.

The kernel asks them from the uplink's Neighbor Discovery link, which has the uplink's MAC and addresses: so
it works alike with each translator and each datapath. The result is only reported; nothing is changed because
of it.
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
from fip64agent.links.reachability import GatewayState
from fip64agent.plan.desired import Uplink

LOG = logging.getLogger(__name__)

_SHORTEST_INTERVAL = 0.1
"""Seconds between two checks, at least."""
_MOST_QUESTIONS = 4
"""Gateways that one check asks, at most, in each namespace. The answers go to VPP too, which hung when a
hundred interfaces had one at the same time."""
_BUSY_INTERVAL = 1.0
"""Seconds until the next check when something is being installed."""
_ERROR_INTERVAL = 5.0
"""Seconds until the next check of a namespace that could not be read."""
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
    """Checks the gateways of all uplinks that are installed, in a greenthread.

    `uplinks`: returns the uplinks of the plan, each with whether it is installed.
    `interval`: seconds between two questions to a gateway; 0: nothing is watched.
    `busy`: returns whether something is being installed. No gateway is asked then: to ask takes the kernel's
    lock RTNL, which a VPP that makes its interfaces needs as well, and the answers go to VPP too.
    """

    def __init__(self, uplinks: Callable[[], Iterable[tuple[Uplink, bool]]], interval: float,
                 busy: Callable[[], bool] = lambda: False) -> None:
        self._uplinks = uplinks
        self._interval = interval
        self._busy = busy
        self._gateways: dict[_Key, GatewayState] = {}
        self._reachability: dict[_Key, Reachability] = {}
        self._due = hub.Event()
        self._thread = None

    def start(self) -> None:
        """Begin to watch, unless the interval is 0."""
        if self._interval:
            self._thread = hub.spawn(self._run)

    def stop(self) -> None:
        """Watch no more."""
        if self._thread is not None:
            self._thread.kill()
            self._thread = None

    def check_soon(self) -> None:
        """Check now: uplinks may have been added, changed or removed."""
        self._due.set()

    def reachability(self, uplink: Uplink, address: IPv6Address) -> Reachability | None:
        """Return whether a gateway of an uplink answers; None when nothing is watched."""
        if not self._interval:
            return None
        return self._reachability.get(_key(uplink, address), Reachability(None))

    # -- the work ---------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            wait: float | None = _ERROR_INTERVAL
            try:
                wait = self._check_all()
            except Exception:
                LOG.exception("gateways: a check failed")
            hub.sleep(_SHORTEST_INTERVAL)
            self._due.wait(wait)
            self._due.clear()

    def _check_all(self) -> float | None:
        """Check all gateways and ask those that are due; return the seconds until the next check."""
        if self._busy():
            return _BUSY_INTERVAL
        owners = self._owners()
        by_netns: dict[str, list[_Key]] = defaultdict(list)
        for key in owners:
            by_netns[key[0]].append(key)
        waits = [self._check_netns(netns, keys, owners) for netns, keys in by_netns.items()]
        return max(0.0, min(waits) - _SHORTEST_INTERVAL) if waits else None

    def _owners(self) -> dict[_Key, Uplink]:
        """Return the uplink of each gateway to check; those of uplinks that are gone are not kept."""
        owners: dict[_Key, Uplink] = {}
        known: set[_Key] = set()
        for uplink, installed in self._uplinks():
            for address in uplink.next_hops:
                key = _key(uplink, address)
                known.add(key)
                if installed and key not in self._gateways:
                    self._gateways[key] = GatewayState(self._interval)
                if key in self._gateways:
                    owners[key] = uplink
        for key in self._gateways.keys() - known:
            del self._gateways[key]
            self._reachability.pop(key, None)
        return owners

    def _check_netns(self, netns: str, keys: list[_Key], owners: dict[_Key, Uplink]) -> float:
        """Check the gateways of one network namespace; return the seconds until the next check."""
        try:
            links, states = hub.offload(neighbors.states, netns, {link for _, link, _ in keys})
            questions = []
            now = time.monotonic()
            for key in keys:
                if len(questions) >= _MOST_QUESTIONS:  # the next check asks the others
                    break
                _, link, address = key
                gateway = self._gateways[key]
                if link not in links:
                    gateway.cannot_ask(now)
                    continue
                if (how := gateway.update(states.get((link, address), 0), now)) is not None:
                    questions.append(((link, address), how))
                self._take_result(key, gateway, owners[key])
            if questions:
                hub.offload(neighbors.ask, netns, questions)
        except OSError as error:
            LOG.debug("gateways: network namespace %s cannot be asked: %s", netns, error)
            now = time.monotonic()
            for key in keys:
                self._gateways[key].cannot_ask(now)
            return _ERROR_INTERVAL
        now = time.monotonic()
        return min(self._gateways[key].wait(now) for key in keys)

    def _take_result(self, key: _Key, gateway: GatewayState, uplink: Uplink) -> None:
        """Keep whether a gateway answers, and log it when that has changed."""
        before = self._reachability.get(key, Reachability(None)).alive
        if gateway.alive == before:
            return
        since = time.time() - (time.monotonic() - gateway.since)
        self._reachability[key] = Reachability(gateway.alive, since)
        address = key[2]
        if not gateway.alive:
            LOG.warning("gateway %s of uplink %s does not answer Neighbor Solicitations", address,
                        uplink.port_id)
        elif before is False:
            LOG.info("gateway %s of uplink %s answers Neighbor Solicitations again", address, uplink.port_id)


def _key(uplink: Uplink, address: IPv6Address) -> _Key:
    return uplink.nd_netns, uplink.nd_peer, address
