# SPDX-License-Identifier: Apache-2.0
"""When a gateway counts as alive: all that the kernel may say, in all orders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.links.reachability import (
    NUD_DELAY,
    NUD_FAILED,
    NUD_INCOMPLETE,
    NUD_PERMANENT,
    NUD_PROBE,
    NUD_REACHABLE,
    NUD_STALE,
    Ask,
    GatewayState,
)

UNKNOWN = 0
INTERVAL = 5.0


@pytest.fixture
def gateway():
    return GatewayState(INTERVAL)


def alive_at(gateway, now):
    """Let it be asked and answer."""
    gateway.update(UNKNOWN, now)
    assert gateway.update(NUD_REACHABLE, now + 0.1) is None
    assert gateway.alive


def test_nothing_is_known_before_the_first_answer(gateway):
    assert gateway.alive is None
    assert gateway.update(UNKNOWN, 100) is Ask.MULTICAST
    assert gateway.update(NUD_INCOMPLETE, 100.1) is None
    assert gateway.alive is None
    assert gateway.update(NUD_REACHABLE, 100.2) is None
    assert (gateway.alive, gateway.since) == (True, 100.2)


@pytest.mark.parametrize("state", [NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE])
def test_what_the_kernel_had_before_is_no_answer(gateway, state):
    """An agent that starts finds what the one before asked for: the gateway may be dead since."""
    assert gateway.update(state, 100) is Ask.UNICAST
    assert gateway.alive is None


def test_one_that_answered_is_asked_by_unicast_after_the_interval(gateway):
    alive_at(gateway, 100)
    assert gateway.update(NUD_REACHABLE, 105) is None
    assert gateway.wait(105) == pytest.approx(0.1)
    assert gateway.update(NUD_REACHABLE, 105.2) is Ask.UNICAST
    assert gateway.update(NUD_REACHABLE, 105.3) is None
    assert gateway.wait(105.3) == pytest.approx(INTERVAL)
    assert (gateway.alive, gateway.since) == (True, 100.1)


def test_one_that_does_not_answer_is_resolved_anew_and_then_dead(gateway):
    alive_at(gateway, 100)
    assert gateway.update(NUD_STALE, 106) is Ask.UNICAST
    assert gateway.update(NUD_PROBE, 106.5) is None
    assert gateway.update(NUD_PROBE, 107) is Ask.MULTICAST
    assert gateway.update(NUD_INCOMPLETE, 109) is None
    assert gateway.alive
    assert gateway.update(NUD_FAILED, 110) is Ask.MULTICAST
    assert (gateway.alive, gateway.since) == (False, 106)
    assert gateway.update(NUD_FAILED, 113) is Ask.MULTICAST
    assert (gateway.alive, gateway.since) == (False, 106)
    assert gateway.update(NUD_REACHABLE, 114) is None
    assert (gateway.alive, gateway.since) == (True, 114)


def test_a_new_mac_is_found_by_multicast_before_the_gateway_counts_as_dead(gateway):
    alive_at(gateway, 100)
    gateway.update(NUD_REACHABLE, 106)
    assert gateway.update(NUD_PROBE, 107) is Ask.MULTICAST
    assert gateway.update(NUD_REACHABLE, 107.1) is None
    assert (gateway.alive, gateway.since) == (True, 100.1)


def test_a_gateway_that_solicits_us_is_not_one_that_answers(gateway):
    """It knows the way to us, we do not reach it: STALE is all that the kernel makes of that."""
    now, state = 100.0, UNKNOWN
    while gateway.alive is None and now < 120:
        how = gateway.update(state, now)
        state = NUD_STALE if how is Ask.MULTICAST else NUD_PROBE
        now += 0.5
    assert gateway.alive is False


@pytest.mark.parametrize("state", [UNKNOWN, NUD_INCOMPLETE])
def test_a_kernel_that_never_says_failed_is_not_waited_for_for_ever(gateway, state):
    now = 100.0
    while gateway.alive is None and now < 120:
        gateway.update(state, now)
        now += 1
    assert gateway.alive is False


def test_an_entry_that_vanished_with_its_link_says_nothing_of_the_gateway(gateway):
    alive_at(gateway, 100)
    gateway.update(NUD_REACHABLE, 106)
    assert gateway.update(UNKNOWN, 106.1) is Ask.MULTICAST
    assert gateway.update(UNKNOWN, 106.2) is Ask.MULTICAST
    assert gateway.alive
    gateway.cannot_ask(107)
    assert gateway.update(UNKNOWN, 107.3) is None
    assert gateway.update(UNKNOWN, 120) is Ask.MULTICAST
    assert gateway.alive


def test_what_was_set_by_hand_is_left_alone(gateway):
    assert gateway.update(NUD_PERMANENT, 100) is None
    assert gateway.alive


STATES = [UNKNOWN, NUD_INCOMPLETE, NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE, NUD_FAILED]


@given(st.lists(st.tuples(st.sampled_from(STATES), st.floats(0.1, 4)), max_size=60))
def test_dead_only_after_seconds_without_an_answer_and_asked_again_for_ever(looks):
    """Whatever the kernel says: each update is followed by another one, and a verdict has its time."""
    gateway, now, answered = GatewayState(INTERVAL), 0.0, None
    asked_since_answer = None
    for state, step in looks:
        now += step
        before = gateway.alive
        how = gateway.update(state, now)
        assert 0 < gateway.wait(now) <= INTERVAL + 1e-6
        if state == NUD_REACHABLE and how is None and asked_since_answer is not None:
            asked_since_answer, answered = None, now
            assert gateway.alive
        elif how is not None and asked_since_answer is None:
            asked_since_answer = now
        if before is not False and gateway.alive is False:
            assert gateway.since == asked_since_answer
            assert answered is None or answered <= gateway.since < now


def test_an_agent_that_stood_still_counts_no_gateway_as_dead(gateway):
    """The answer came, and the kernel has forgotten since when it is old."""
    alive_at(gateway, 100)
    assert gateway.update(NUD_STALE, 106) is Ask.UNICAST
    gateway.update(NUD_STALE, 180)
    assert gateway.alive


def test_one_that_does_not_answer_is_updated_every_two_seconds(gateway):
    now = 100.0
    while gateway.alive is None and now < 120:
        gateway.update(NUD_INCOMPLETE, now)
        now += 1
    assert gateway.alive is False
    assert gateway.wait(now + 5) == 2
