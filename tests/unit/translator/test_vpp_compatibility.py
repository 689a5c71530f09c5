# SPDX-License-Identifier: Apache-2.0
"""A VPP that speaks other messages is named, message by message."""

import json
import re
from pathlib import Path

import pytest

from fip64agent.translator.vpp.api import compatibility, messages
from fip64agent.translator.vpp.api.definitions import Definitions

SOURCE = Path(compatibility.__file__).parents[1]
BUILT = Path(__file__).parents[3] / "vpp-plugin" / "build" / "plugin" / "fip64.api.json"
HEADER = [["u16", "_vl_msg_id"], ["u32", "client_index"], ["u32", "context"]]


def field(text):
    """Undo compatibility.entries()."""
    if "=" in text:
        name, value = text.split("=")
        return [name, int(value)]
    kind, name = text.split(" ")
    if (found := re.fullmatch(r"(\w+)\[(\w+)\]", kind)) is None:
        return [kind, name]
    return [found[1], name, int(found[2])] if found[2].isdigit() else [found[1], name, 0, found[2]]


def api(change=None):
    """Return definitions and message table of a VPP that is as this agent expects it, but for `change`."""
    tables = {"VPP": dict(messages.VPP), "TYPES": dict(messages.TYPES), "FIP64": dict(messages.FIP64)}
    if change is not None:
        change(tables)
    module = {"messages": [], "types": [], "enums": [], "aliases": {}}
    for name, fields in tables["VPP"].items():
        module["messages"].append([name, *HEADER, *map(field, filter(None, fields.split(", "))),
                                   {"crc": "0x12345678"}])
    for name, fields in tables["TYPES"].items():
        short = name[7:-2]
        if "=" in fields:
            module["enums"].append([short, *map(field, fields.split(", "))])
        elif " " in fields:
            module["types"].append([short, *map(field, fields.split(", "))])
        elif (found := re.fullmatch(r"(\w+)\[(\d+)\]", fields)) is not None:
            module["aliases"][short] = {"type": found[1], "length": int(found[2])}
        else:
            module["aliases"][short] = {"type": fields}
    table = {f"{name}_12345678": 1 for name in tables["VPP"]}
    table |= {f"{name}_{crc}": 1 for name, crc in tables["FIP64"].items()}
    return Definitions.bootstrap().extended(json.dumps([module])), table


def faults(change=None):
    return compatibility.faults(*api(change))


def test_the_vpp_that_is_expected_has_no_faults():
    assert faults() == []


def edit(table, name, old, new):
    def change(tables):
        assert old in tables[table][name]
        tables[table][name] = tables[table][name].replace(old, new)

    return change


@pytest.mark.parametrize(("change", "words"), [
    (lambda tables: tables["FIP64"].clear(), ["runs without the fip64 plugin"]),
    (lambda tables: tables["FIP64"].pop("fip64_binding_get"),
     ["does not know fip64_binding_get, install the plugin of the same version as this agent"]),
    (lambda tables: tables["FIP64"].update(fip64_mapping_add_del="deadbeef"),
     ["speaks fip64_mapping_add_del 0xdeadbeef, this agent expects 0x"
      f"{messages.FIP64['fip64_mapping_add_del']}: install the plugin of the same version"]),
    (lambda tables: tables["VPP"].pop("ip_route_add_del"), ["does not know ip_route_add_del"]),
    (edit("VPP", "sw_interface_set_table", "u32 vrf_id", "u16 vrf_id"),
     ["speaks another sw_interface_set_table: u16 vrf_id instead of u32 vrf_id"]),
    (edit("VPP", "sw_interface_set_table", ", u32 vrf_id", ""),
     ["speaks another sw_interface_set_table: u32 vrf_id is missing"]),
    (edit("VPP", "delete_subif", "sw_if_index", "sw_if_index, u32 why"),
     ["speaks another delete_subif: u32 why is new and has no default"]),
    (edit("TYPES", "vl_api_ip_neighbor_flags_t", "STATIC=1", "STATIC=4"),
     ["has another vl_api_ip_neighbor_flags_t: IP_API_NEIGHBOR_FLAG_STATIC=4 instead of "
      "IP_API_NEIGHBOR_FLAG_STATIC=1"]),
    (edit("TYPES", "vl_api_mac_address_t", "u8[6]", "u8[8]"),
     ["has another vl_api_mac_address_t: u8[8] instead of u8[6]"]),
    # What does not concern the agent.
    (edit("VPP", "sw_interface_details", "u32 sub_id", "u32 sub_id, u32 something_new"), []),
    (edit("VPP", "delete_subif", "sw_if_index", "sw_if_index, string[64] name"), []),
    (edit("TYPES", "vl_api_ip_neighbor_flags_t", "STATIC=1", "STATIC=1, IP_API_NEIGHBOR_FLAG_NEW=8"), []),
    (lambda tables: tables["VPP"].update(another_message="u32 x"), []),
])
def test_what_differs_is_named(change, words):
    assert faults(change) == words


def test_a_vpp_of_another_age_does_not_flood_the_log():
    found = faults(lambda tables: tables["VPP"].clear())
    assert len(found) == 7 and found[-1] == f"and {len(messages.VPP) - 6} more"


def test_every_message_that_the_driver_sends_is_in_the_tables():
    known = messages.VPP.keys() | messages.FIP64.keys() | {
        "control_ping", "get_api_json", "sockclnt_create", "sockclnt_delete"}  # vpp_papi brings these
    verbs = (r"(?:call|dump|get|subscribe|pack)\(\s*\"([a-z0-9]+_[a-z0-9_]+)\""
             r"|\"([a-z0-9]+_[a-z0-9_]+)\", (?:\{|dict\()")
    for path in SOURCE.rglob("*.py"):
        for groups in re.findall(verbs, path.read_text()):
            name = groups[0] or groups[1]
            assert name in known, f"{path.name} uses {name}, which messages.py does not have"


def test_every_field_that_vpp_must_answer_with_is_read():
    """Else a VPP without it would be refused for nothing."""
    driver = "\n".join(path.read_text() for path in SOURCE.rglob("*.py") if path.name != "messages.py")
    for name, fields in messages.VPP.items():
        if name.endswith(("_reply", "_details", "_event")):
            for field_ in filter(None, fields.split(", ")):
                assert re.search(rf"\b{field_.rpartition(' ')[2]}\b", driver), f"{field_} of {name}"


def test_every_type_of_the_tables_is_described_and_used():
    every = " ".join([*messages.VPP.values(), *messages.TYPES.values()])
    assert messages.TYPES.keys() <= set(re.findall(r"vl_api_\w+_t", every))
    for name, fields in {**messages.VPP, **messages.TYPES}.items():
        for used in re.findall(r"vl_api_\w+_t", fields):
            assert used in messages.TYPES or used == "vl_api_fib_mpls_label_t", (name, used)


def test_crcs_are_those_of_the_plugin_that_was_built_here():
    if not BUILT.exists():
        pytest.skip("the plugin is not built here")
    built = {name: fields[-1]["crc"][2:] for name, *fields in json.loads(BUILT.read_text())["messages"]}
    assert built == messages.FIP64


def test_a_missing_plugin_is_explained_from_what_vpp_says():
    plugins = " Plugin path is: /a/vpp_plugins:/b, plugins shown in load order\n\n     Plugin   Version"
    log = ("2026/11/21 07:31:17:464 notice     plugin/load    Loaded plugin: ping_plugin.so (Ping)\n"
           "2026/11/21 07:31:17:464 error      plugin/load    /a/fip64_plugin.so: undefined symbol: x\n"
           "\x1b[91m2026/11/21 07:31:17:464 error      plugin/load    \x1b[0mFailed to load plugin "
           "'fip64_plugin.so'\n")
    assert compatibility.why_no_plugin(plugins, log) == (
        "VPP looks for plugins in /a/vpp_plugins:/b; /a/fip64_plugin.so: undefined symbol: x; "
        "Failed to load plugin 'fip64_plugin.so'")
    assert compatibility.why_no_plugin(plugins, "").endswith("; fip64_plugin.so is not there")
