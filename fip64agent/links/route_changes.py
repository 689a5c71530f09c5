# SPDX-License-Identifier: Apache-2.0
"""Makes and removes routes, many at once. Blocking."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence

from pyroute2.netlink.exceptions import NetlinkError

from fip64agent.links import routes
from fip64agent.links.access import Access, NotInstallable, reason
from fip64agent.links.model import Route


class RouteChanges:
    """Makes and removes routes of ours, in the namespaces that `access` opens."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def install(self, pairs: Sequence[tuple[Route | None, Route]]) -> dict[Hashable, str]:
        """Make routes, or change those that are installed (the first of each pair; None: it is not).

        Return the reason for each key that failed.
        """
        indexes = functools.cache(self._access.index_for_route)
        failed: dict[Hashable, str] = {}
        groups: dict[str, dict[Hashable, list[routes.Request]]] = {}
        for was, route in pairs:
            try:
                add = routes.addition(route, functools.partial(indexes, route.netns))
            except (NotInstallable, OSError, NetlinkError) as error:
                failed[route.key] = reason(error)
                continue
            # The kernel would add one of another kind, and keep the old one.
            replaced = was is not None and (was.kind, was.via is None) != (route.kind, route.via is None)
            groups.setdefault(route.netns, {})[route.key] = [routes.removal(was), add] if replaced else [add]
        return failed | self._change(groups)

    def remove(self, items: Sequence[Route]) -> dict[Hashable, str]:
        """Remove routes; return the reason for each key that failed.

        That a route does not exist any more is success.
        """
        groups: dict[str, dict[Hashable, list[routes.Request]]] = {}
        for route in items:
            groups.setdefault(route.netns, {})[route.key] = [routes.removal(route)]
        return self._change(groups)

    def _change(self, groups: dict[str, dict[Hashable, list[routes.Request]]]) -> dict[Hashable, str]:
        failed: dict[Hashable, str] = {}
        for netns, requests in groups.items():
            try:
                answers = routes.change(self._access.handle(netns).bulk, list(requests.values()))
            except (OSError, NotInstallable) as error:
                failed.update(dict.fromkeys(requests, reason(error)))
                continue
            failed |= {key: reason(answer) for key, answer in zip(requests, answers, strict=True) if answer}
        return failed
