# SPDX-License-Identifier: Apache-2.0
"""Whether all that features bring can be used together: looked at before the agent starts anything."""

from __future__ import annotations

from fip64agent.admin.listing import listed
from fip64agent.exceptions import ConfigError
from fip64agent.plan.planner import check_features
from fip64agent.services.base import services
from fip64agent.switch.features import features


def check() -> None:
    """Load what is in the tree and what other packages bring: features, flows, services, listings.

    Raises: ConfigError, with what cannot be loaded, or claims what another one has.
    """
    try:
        check_features()
        flows = features()
        for name in services():
            if name not in flows:
                raise ValueError(f"a service is for flow feature {name}, which does not exist")
        listed()
    except (ImportError, ValueError) as error:
        raise ConfigError(f"what other packages bring to the agent cannot be used: {error}") from error
