# SPDX-License-Identifier: Apache-2.0
"""Security groups of VMs behind floating IPs: they see the translated packets."""

import time

import pytest

from lab.daemon import wait_for
from lab.host import FIP_A, FIP_B
from lab.traffic import HTTP_PORT, UDP_PORT
from tests.e2e.test_security_groups import ANY, EFFECTIVE, group_id, reaches_http, rule, set_rules

POOL = "100.64.0.0/10"


@pytest.fixture
def filtered(lab):
    """The standard lab; vm-a has the group web."""
    set_rules(lab, "web", *ANY, rule("ingress", "IPv4", "tcp", HTTP_PORT, remote_ip_prefix=POOL))
    lab.topology.update("ports", "vm-a", security_groups=[group_id(lab, "web")])
    wait_for(lambda: not lab.client.reaches(FIP_A, 0.3), EFFECTIVE, "no answer to pings")
    return lab


def test_a_client_reaches_what_a_rule_for_ipv4_lets_through(filtered):
    lab = filtered
    assert reaches_http(lab.client, FIP_A, 5)
    assert not lab.client.reaches(FIP_A, 0.5)
    assert lab.client.reaches(FIP_B, 1), "a port without groups"
    assert lab.client.udp(FIP_A, size=100, timeout=0.5)["equal"] == 0
    set_rules(lab, "web", *ANY, rule("ingress", "IPv4", "icmp"), rule("ingress", "IPv4", "udp", UDP_PORT))
    wait_for(lambda: lab.client.reaches(FIP_A), EFFECTIVE, "an answer")
    assert lab.client.ping(FIP_A, count=50).ok
    assert lab.client.udp(FIP_A, size=8000, count=3)["equal"] == 3
    assert not reaches_http(lab.client, FIP_A)


def test_a_rule_that_goes_cuts_the_connections_of_clients(filtered):
    lab = filtered
    set_rules(lab, "web", *ANY, rule("ingress", "IPv4", "icmp"))
    wait_for(lambda: lab.client.reaches(FIP_A), EFFECTIVE, "an answer")
    ping = lab.client.start_ping(FIP_A)
    time.sleep(1)
    set_rules(lab, "web", *ANY)
    time.sleep(2)
    found = ping.stop()
    assert found.received > 50 and found.lost == list(range(found.lost[0], found.sent))


def test_what_a_vm_may_not_send_does_not_reach_the_translator(filtered):
    lab = filtered
    address = lab.client.http_get(FIP_A)["answer"]["you_are"]
    set_rules(lab, "web", rule("ingress", "IPv4", "icmp"))
    wait_for(lambda: lab.client.reaches(FIP_A), EFFECTIVE, "answers need no rule")
    assert not lab["vm-a"].reaches(address, 0.5)
    set_rules(lab, "web", *ANY)
    wait_for(lambda: lab["vm-a"].reaches(address), EFFECTIVE, "an answer from the client")
    assert lab["vm-a"].ping(address, count=20).ok


def test_rules_for_ipv6_mean_the_translated_packets_of_clients(filtered):
    """From anybody; and from a prefix those that are bound to a pool address."""
    lab = filtered
    set_rules(lab, "web", *ANY, rule("ingress", "IPv6", "tcp", HTTP_PORT),
              rule("ingress", "IPv6", "ipv6-icmp", 128, 0))
    wait_for(lambda: lab.client.reaches(FIP_A), EFFECTIVE, "an answer")
    assert reaches_http(lab.client, FIP_A, 5)
    assert lab.client.udp(FIP_A, size=100, timeout=0.5)["equal"] == 0
    prefix = f"{lab.client.address6}/128"
    set_rules(lab, "web", *ANY, rule("ingress", "IPv6", "ipv6-icmp", remote_ip_prefix=prefix))
    wait_for(lambda: not lab.client.reaches(FIP_A, 0.3), EFFECTIVE, "no answer: who it is cannot be told")
    lab.topology.update("routers", "router-a", nat64_bindings=[
        {"ipv6_address": lab.client.address6, "pool_address": "100.64.0.77"}])
    wait_for(lambda: lab.client.reaches(FIP_A), EFFECTIVE, "an answer to who is bound")
    other = lab.add_client("other")
    assert not other.reaches(FIP_A, 0.5) and other.reaches(FIP_B, 2)
