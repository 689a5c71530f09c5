# SPDX-License-Identifier: Apache-2.0
"""Defaults that are not a matter of taste."""

from oslo_config import cfg

from fip64agent import conf as options
from fip64agent.conf import settings_from
from fip64agent.plan.inputs import Settings
from fip64agent.translator import fixed_settings
from tests.fakes.translators import CAPABILITIES


def test_an_idle_tcp_connection_lives_as_long_as_a_nat_must_keep_it():
    """RFC 5382, REQ-5: not less than 2 hours 4 minutes; longer than Linux's tcp_keepalive_time."""
    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    conf([])
    assert conf.fip64.client_idle_timeout >= 2 * 3600 + 4 * 60 > 7200


def test_the_planner_has_the_same_defaults():
    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    conf([])
    assert settings_from(conf, fixed_settings(conf, "tayga")) == Settings(capabilities=CAPABILITIES["tayga"])
