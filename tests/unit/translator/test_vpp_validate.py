# SPDX-License-Identifier: Apache-2.0
"""Requests to VPP are checked before they are sent: what is wrong is named by message and field."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import pytest

from fip64agent.translator.vpp.api.validation import RequestPacker
from tests.fakes import vppapi

DEFINITIONS = vppapi.definitions()
THING = {"number": 1, "fixed": IPv4Address("10.0.0.5"), "floating": IPv6Address("2001:db8::1")}
EVERYTHING = {"small": 1, "signed": -1, "real": 1.5, "flag": True, "name": "eth0", "text": "any"}
TYPED = {"color": "RED", "sides": ["LEFT"], "address": "10.0.0.1", "prefix": "2001:db8::/64",
         "interface": "10.0.0.1/24", "mac": "02:00:00:00:00:01", "index": 3, "four": [1, 2, 3, 4],
         "octets": b"abcd"}
PATH = {"type": "NORMAL", "proto": "IP6", "nh": {"address": {"ip6": "fe80::1"}, "via_label": 0},
        "n_labels": 0}
ROUTE = {"route": {"prefix": IPv6Network("2001:db8::/64"), "paths": [PATH]}}


def unpacked(name, fields):
    """Return what VPP would read."""
    data = RequestPacker(DEFINITIONS, name).pack(fields, 1, 2, 3)
    value, size = DEFINITIONS.message(name).unpack(data)
    assert size == len(data) and value.client_index == 2 and value.context == 3
    return value


def refused(name, fields):
    with pytest.raises(ValueError) as caught:
        RequestPacker(DEFINITIONS, name).pack(fields, 1, 2, 3)
    return str(caught.value)


def test_good_requests_arrive_as_meant():
    got = unpacked("things_add_del", {"things": [THING, THING]})
    assert got.is_add is True and got.count == 2
    assert got.things[1].floating == THING["floating"] and got.things[1].fixed == THING["fixed"]
    assert unpacked("things_add_del", {"is_add": False, "count": 0}).is_add is False
    assert unpacked("everything", EVERYTHING).text == "any"
    got = unpacked("typed", TYPED)
    assert (got.color, got.sides, got.index, got.octets) == (1, 1, 3, b"abcd")
    assert got.address == IPv4Address("10.0.0.1") and got.prefix == IPv6Network("2001:db8::/64")
    assert str(got.mac) == "02:00:00:00:00:01"


def test_what_vpp_sent_can_be_sent_back():
    route = unpacked("route", ROUTE).route
    again = unpacked("route", {"route": {"prefix": route.prefix, "paths": [
        {**route.paths[0]._asdict(), "nh": {"address": {"ip6": route.paths[0].nh.address.ip6},
                                            "via_label": 0}}]}})
    assert again.route.paths[0].proto == 1


@pytest.mark.parametrize(("name", "fields", "words"), [
    ("things_add_del", {"things": [], "nonsense": 1}, "things_add_del: VPP knows no field nonsense"),
    ("things_add_del", {"count": 2, "things": [THING]}, "things_add_del: count: 2, but things has 1"),
    ("things_add_del", {"things": [THING] * 256}, "things_add_del: things: 256 are too many"),
    ("things_add_del", {"things": {"a": 1}}, "things_add_del: things: a list is needed"),
    ("things_add_del", {"things": [{**THING, "number": -1}]}, "things[0].number: -1 is not within 0 to"),
    ("things_add_del", {"things": [THING, {**THING, "number": 1 << 32}]}, "things[1].number: 4294967296 is"),
    ("things_add_del", {"things": [{**THING, "number": "7"}]}, "things[0].number: an integer is needed"),
    ("things_add_del", {"things": [{**THING, "number": None}]}, "things[0].number: an integer is needed"),
    ("things_add_del", {"things": [{"number": 1, "fixed": "10.0.0.1"}]}, "things[0].floating: is missing"),
    ("things_add_del", {"things": [{**THING, "fixed": "2001:db8::1"}]}, "things[0].fixed: an IPv4 address"),
    ("things_add_del", {"things": [{**THING, "floating": IPv4Address(1)}]}, "floating: an IPv6 address"),
    ("things_add_del", {"things": [{**THING, "floating": "fe80::1%eth0"}]}, "without a scope"),
    ("things_add_del", {"things": [{**THING, "fixed": b"12345"}]}, "fixed: an IPv4 address"),
    ("things_add_del", {"things": [{**THING, "fixed": 1}]}, "fixed: an IPv4 address"),
    ("things_add_del", {"things": [{**THING, "fixed": "10.0.0.0/8"}]}, "fixed: an IPv4 address"),
    ("things_add_del", {"is_add": 2}, "is_add: true or false"),
    ("things_add_del", {"is_add": "false"}, "is_add: true or false"),
    ("everything", {**EVERYTHING, "small": 256}, "small: 256 is not within 0 to 255"),
    ("everything", {**EVERYTHING, "signed": -(1 << 31) - 1}, "signed: -2147483649 is not within"),
    ("everything", {**EVERYTHING, "real": "1"}, "real: a number is needed"),
    ("everything", {**EVERYTHING, "name": "12345678"}, "name: '12345678' has 8 characters, 7 are possible"),
    ("everything", {**EVERYTHING, "name": b"x"}, "name: text is needed"),
    ("everything", {**EVERYTHING, "name": "é"}, "is not plain ASCII"),
    ("everything", {**EVERYTHING, "name": "a\0b"}, "is not plain ASCII"),
    ("everything", {key: EVERYTHING[key] for key in ("real", "flag")}, "everything: small: is missing"),
    ("typed", {**TYPED, "color": 3}, "color: 3 is none of RED, GREEN"),
    ("typed", {**TYPED, "color": "BLUE"}, "color: 'BLUE' is none of RED, GREEN"),
    ("typed", {**TYPED, "sides": 4}, "sides: 4 is no combination of LEFT, RIGHT"),
    ("typed", {**TYPED, "sides": ["UP"]}, "sides: 'UP' is none of LEFT, RIGHT"),
    ("typed", {**TYPED, "address": {"af": 7, "un": {}}}, "address: an ipaddress object or text is needed"),
    ("typed", {**TYPED, "address": "10.0.0.1/8"}, "address: an IP address is needed"),
    ("typed", {**TYPED, "address": IPv6Interface("2001:db8::1/64")}, "without a prefix length"),
    ("typed", {**TYPED, "prefix": "2001:db8::1/64"}, "prefix: 2001:db8::1/64 has host bits set"),
    ("typed", {**TYPED, "prefix": IPv4Address(1)}, "prefix: a prefix with its length is needed"),
    ("typed", {**TYPED, "prefix": "2001:db8::/129"}, "prefix: "),
    ("typed", {**TYPED, "interface": IPv4Address("10.0.0.1")}, "an address with its length"),
    ("typed", {**TYPED, "mac": "02:00:00:00:00"}, "mac: a MAC address is needed"),
    ("typed", {**TYPED, "four": [1, 2, 3]}, "four: 3 items, 4 are needed"),
    ("typed", {**TYPED, "four": [1, 2, 3, -4]}, "four[3]: -4 is not within"),
    ("typed", {**TYPED, "octets": b"abc"}, "octets: 3 bytes, 4 are needed"),
    ("route", {"route": {"prefix": IPv6Network("2001:db8::/64"), "paths": [{**PATH, "proto": "IP4"}]}},
     "route.paths[0].nh: an ip6 address in an ip4 path"),
    ("route", {"route": {"prefix": IPv4Network("10.0.0.0/8"), "paths": [PATH]}},
     "route.paths[0]: an ip6 path"),
    ("route", {"route": {"prefix": IPv6Network("2001:db8::/64"), "paths": [{**PATH, "type": "UDP_ENCAP"}]}},
     "route.paths[0].type: 3 is none of normal"),
    ("route", {"route": {"prefix": IPv6Network("2001:db8::/64"), "paths": [{**PATH, "proto": "MPLS"}]}},
     "route.paths[0].proto: 2 is neither"),
    ("route", {"route": {"prefix": IPv6Network("2001:db8::/64"), "n_paths": 2, "paths": [PATH]}},
     "route.n_paths: 2, but paths has 1"),
    ("route", {"route": {"prefix": IPv6Network("2001:db8::/64"), "paths": [
        {**PATH, "nh": {"address": {"ip6": "fe80::1", "ip4": "10.0.0.1"}, "via_label": 0}}]}},
     "route.paths[0].nh.address: exactly one of ip4, ip6"),
    ("route", {"route": 5}, "route: a mapping of fields is needed"),
])
def test_malformed_requests_are_refused_by_name(name, fields, words):
    said = refused(name, fields)
    assert words in said
    assert said.startswith(f"{name}: ")


def test_types_of_two_vpps_do_not_mix():
    """vpp_papi alone would pack the second VPP's message with the first one's type."""
    import json

    from fip64agent.translator.vpp.api.definitions import Definitions

    def packed(number_type):
        module = {"types": [["changing", [number_type, "number"]]], "messages": [
            ["changed", ["u16", "_vl_msg_id"], ["u32", "client_index"], ["u32", "context"],
             ["vl_api_changing_t", "changing"], {"crc": "0x1"}]]}
        definitions = Definitions.bootstrap().extended(json.dumps([module]))
        return RequestPacker(definitions, "changed").pack({"changing": {"number": 1}}, 1, 2, 3)

    assert len(packed("u16")) + 6 == len(packed("u64")) and len(packed("u16")) == 12
