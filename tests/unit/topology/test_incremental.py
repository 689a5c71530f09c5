# SPDX-License-Identifier: Apache-2.0
"""Reading only what is new gives what reading all gives, or nothing: whatever the text is."""

from __future__ import annotations

import dataclasses
import sys

import pytest
import yaml
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from fip64agent.exceptions import TopologyError
from fip64agent.topology import entries
from fip64agent.topology.attributes import SECTIONS
from fip64agent.topology.document import Document
from fip64agent.topology.entries import Index
from fip64agent.topology.incremental import load_again
from fip64agent.topology.loader import parse_indexed
from fip64agent.topology.model import Topology
from fip64agent.topology.problems import Collector
from fip64agent.topology.reuse import reuse
from tests.fakes import topologies
from tests.unit.topology.test_loader import EXAMPLE, representable, written
from tests.unit.topology.test_problems import GOOD, with_


def indexed(text: str | bytes) -> Index | None:
    """Return the index of a text, read as a whole. Raises: TopologyError."""
    topology, known_by = parse_indexed(text, "t", entries.index_of)
    return None if known_by is None else Index(topology, *known_by)


def again(known: Index, text: str | bytes) -> Index | None:
    """Read a text both ways; fail when they disagree. Return what the quick one makes of it."""
    data = text if isinstance(text, bytes) else text.encode()
    quick = load_again(data, known, sys.maxsize)
    try:
        whole = indexed(data)
    except TopologyError:
        assert quick is None
        return None
    if quick is None:
        return None
    assert whole is not None
    assert quick == whole
    expected = reuse(known.topology, whole.topology)
    for kind in SECTIONS:
        new, reused = getattr(quick.topology, kind), getattr(expected, kind)
        assert list(new) == list(getattr(whole.topology, kind))
        before = getattr(known.topology, kind)
        assert (new is before) == (reused is before)
        assert all((new[item_id] is before.get(item_id)) == (reused[item_id] is before.get(item_id))
                   for item_id in new)
    return quick


# Styles of writing


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


class _Indented(_Plain):
    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)


def parts(text: str) -> dict:
    """Return what a good document has, with the types that the agent sees."""
    found: dict[str, list] = {}
    for item in Document(text.encode(), tuple(SECTIONS), Collector()).items():
        found.setdefault(item.section, []).append(item.value)
    return found


def plain(text: str) -> str:
    return yaml.dump(parts(text), Dumper=_Plain, sort_keys=False)


def indented(text: str) -> str:
    """Lists indented, as many people write them, with comments and empty lines."""
    text = yaml.dump(parts(text), Dumper=_Indented, sort_keys=False)
    return "---\n# A comment\n\n" + text.replace("  - id: ", "  # Next\n\n  - id: ")


def flow(text: str) -> str:
    return yaml.dump(parts(text), Dumper=_Plain, sort_keys=False, default_flow_style=None)


_EXTRAS = st.sampled_from((None, {"description": "many words " * 12}, {"description": "two\n\nlines: - #\n"},
                           {"description": "", "project_id": None, "tags": ["a", "- b"]}))
_STYLES = st.sampled_from((plain, indented, flow))

_RICH = GOOD.replace("- id: net\n", """\
- id: net
  description: "quoted
    - over

    lines: # no comment
    ports:"
""").replace("- id: vm\n", """\
# About vm
- id: vm
  description: |+
    text
     - more

    # text

""").replace("- id: fip2\n", """\
- id: fip2
  description: >-
    folded
    - text
  tags: [a,
    b]   # end

""").replace("routers:\n", "\nrouters:  # all of them\n\n# r\n")


# Topologies


@st.composite
def changed(draw, topology: Topology) -> Topology:
    """The topology with a few resources added, changed, removed or moved, for better or worse."""
    kinds = {kind: dict(getattr(topology, kind)) for kind in SECTIONS}
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from((*SECTIONS, "floatingips", "floatingips", "ports")))
        what = draw(st.sampled_from(("put", "remove", "last", "address", "name")))
        if what == "put" or not kinds[kind]:
            item = draw(topologies.RESOURCES[kind])
            kinds[kind][item.id] = item
            continue
        item = kinds[kind][draw(st.sampled_from(sorted(kinds[kind])))]
        if what == "remove":
            del kinds[kind][item.id]
        elif what == "last":
            kinds[kind][item.id] = kinds[kind].pop(item.id)
        elif what == "name" and kind != "floatingips":
            kinds[kind][item.id] = dataclasses.replace(item, name="new")
        elif kind == "floatingips":
            kinds[kind][item.id] = dataclasses.replace(
                item, floating_ip_address=draw(topologies.ADDRESSES6),
                fixed_ip_address=draw(st.none() | topologies.ADDRESSES4))
        elif kind == "ports" and item.fixed_ips:
            address = dataclasses.replace(item.fixed_ips[0], ip_address=draw(topologies.ADDRESSES4))
            kinds[kind][item.id] = dataclasses.replace(item, fixed_ips=(address,))
    return Topology.of(*(kind.values() for kind in kinds.values()))


_VALID = topologies.valid_sites().map(lambda site: site.topology).filter(representable)


@settings(deadline=None)
@given(st.data(), _VALID, _STYLES, _EXTRAS)
def test_changed_topologies(data, topology, style, extra):
    text = style(written(topology, extra))
    known = indexed(text)
    assert known is not None
    assert load_again(text.encode(), known, sys.maxsize).topology is known.topology
    for _ in range(2):  # an index made from an index is as good
        topology = data.draw(changed(topology))
        assume(representable(topology) and all(topology.routers))
        text = style(written(topology, extra))
        quick = again(known, text)
        try:
            indexed(text)
        except TopologyError:
            event("refused")
            return
        assert quick is not None  # in this style it never gives up
        known = quick


# Damage

_PIECES = st.sampled_from((
    "", "\n", "\n\n", " ", "  ", "\t", "'", '"', "|", ">", "|+\n", ">-\n", "#", " # ", "# x\n", "- ", "-\n",
    "  - ", "[", "]", "{", "}", ", ", ": ", "? ", "*a", "&a ", " &a", "*a\n", "!!str ", "! ", "---\n",
    "...\n", "%YAML 1.1\n", "\r", "\r\n", "\x85", "\u2028", "\ufeff", "\\", "~", "null", "ports:\n",
    "routers: []\n", "networks:\n", "\nports:\n# ", "floatingips:\n", "x:\n", "- id: r9\n", "- id: vm\n",
    "\n- id: new", "  name: x\n", "  name: \"", "  name: '", "  name: \"a\\\n", "  router_id: r\n",
    "  router_id: ~\n", "  fixed_ip_address: 10.0.0.5\n", "  <<: *a\n", "\0", "é", "\u0661"))


@st.composite
def damaged(draw, text: str) -> str:
    for _ in range(draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True) or [""]
        what = draw(st.sampled_from(("line", "line", "anywhere", "drop", "double", "swap")))
        first, second = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        if what == "line":
            lines[first] = draw(_PIECES) + lines[first]
        elif what == "anywhere":
            at = draw(st.integers(0, len(lines[first])))
            end = min(len(lines[first]), at + draw(st.sampled_from((0, 0, 1, 5))))
            lines[first] = lines[first][:at] + draw(_PIECES) + lines[first][end:]
        elif what == "drop":
            del lines[first:first + draw(st.integers(1, 4))]
        elif what == "double":
            lines[second:second] = lines[first:first + draw(st.integers(1, 6))]
        else:
            lines[first], lines[second] = lines[second], lines[first]
        text = "".join(lines)
    return text


_TEXTS = st.sampled_from((GOOD, _RICH, EXAMPLE.read_text())) | st.builds(
    lambda topology, style, extra: style(written(topology, extra)), _VALID, _STYLES, _EXTRAS)


@settings(deadline=None, max_examples=200)
@given(st.data(), _TEXTS)
def test_damaged_texts(data, text):
    before = data.draw(st.just(text) | damaged(text))
    try:
        known = indexed(before)
    except TopologyError:
        known = None
    assume(known is not None)
    after = data.draw(damaged(before) | damaged(text))
    event("read quickly" if again(known, after) is not None else "read as a whole")


# One by one


@pytest.mark.parametrize("text", [GOOD, _RICH, indented(GOOD), flow(GOOD), EXAMPLE.read_text(),
                                  "networks:\n- id: a\nports: []\nrouters: ~  # none\nsubnets:\n"])
def test_these_styles_are_split(text):
    known = indexed(text)
    assert again(known, text).topology is known.topology


UNUSUAL = {
    "alias": _RICH.replace("  tags: [a,", "  dns_name: &a x\n  dns_domain: *a\n  tags: [a,"),
    "flow style": "{networks: [{id: a}]}\n",
    "flow list": "networks: [{id: a}]\n",
    "directive": "%YAML 1.1\n---\n" + GOOD,
    "end mark": GOOD + "...\n",
    "carriage returns": GOOD.replace("\n", "\r\n"),
    "NEL": GOOD.replace("- id: net\n", "- id: net\n  name: 'a\x85b'\n"),
    "byte order mark": "\ufeff" + GOOD,
    "no newline at the end": GOOD[:-1],
    "dash alone": GOOD.replace("- id: net\n", "-\n  id: net\n"),
    "quoted section": GOOD.replace("routers:\n", "'routers':\n"),
    "tagged section": GOOD.replace("routers:\n", "routers: !!seq\n"),
    "indented": "".join("  " + line for line in GOOD.splitlines(keepends=True)),
    "entry within a string": GOOD.replace("- id: net\n", '- id: net\n  name: "\n- id: x"\n'),
    "section within a string": "networks:\n- id: a\n  name: \"x\nports:\n# y\"\n",
    "line in column 0 of a string": GOOD.replace("- id: net\n", '- id: net\n  name: "a\nb"\n'),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_texts_are_good_but_not_split(name):
    assert indexed(UNUSUAL[name]) is None
    assert load_again(UNUSUAL[name].encode(), indexed(GOOD), sys.maxsize) is None


def test_string_that_swallows_a_known_entry():
    known = indexed("networks:\n- id: a\n- id: b\n")
    assert again(known, "networks:\n- id: a\n- id: c\n  name: \"\n- id: b\n") is None
    assert again(known, "networks:\n- id: c\n  name: \"\n- id: b\n- id: d\n  name: \"\n") is None


def test_known_entries_where_none_may_be():
    known = indexed("networks:\n- id: a\n")
    for value in ("[]", "~", "null", "x", "[", "|"):
        assert again(known, f"networks: {value}\n- id: a\n") is None


def test_entries_are_known_in_their_section_only():
    known = indexed("networks:\n- id: a\nrouters:\n- id: b\n")
    assert list(again(known, "routers:\n- id: a\nnetworks:\n- id: b\n").topology.routers) == ["a"]


def test_targets_follow_what_they_followed_from():
    known = indexed(GOOD)
    new = again(known, with_(("    ip_address: 10.0.0.5\n", "    ip_address: 10.0.0.15\n")))
    assert str(new.topology.floatingips["fip"].fixed_ip_address) == "10.0.0.15"
    assert new.topology.floatingips["fip2"] is known.topology.floatingips["fip2"]
    renamed = again(new, GOOD.replace("id: r\n", "id: r7\n"))
    assert {fip.router_id for fip in renamed.topology.floatingips.values()} == {"r7"}


def test_given_targets_stay():
    given = with_(("  port_id: vm\n", "  port_id: vm\n  fixed_ip_address: 10.0.0.5\n  router_id: r\n"))
    known = indexed(given)
    assert list(known.given) == [entries.FIXED_IP_GIVEN | entries.ROUTER_GIVEN, entries.FIXED_IP_GIVEN]
    assert again(known, given.replace("    ip_address: 10.0.0.5\n", "    ip_address: 10.0.0.15\n")) is None
    assert again(known, GOOD).topology is known.topology


def test_faults_between_known_entries_are_found():
    known = indexed(GOOD)
    assert again(known, with_(("- id: net\n", ""))) is None
    assert again(known, GOOD + "- id: fip3\n  floating_network_id: ext\n"
                               "  floating_ip_address: 2001:db8:f::10\n") is None
    assert again(known, GOOD + GOOD[GOOD.index("- id: fip2"):]) is None


def test_too_much_news():
    known = indexed("networks:\n- id: a\n")
    assert load_again(b"networks:\n- id: a\n- id: b\n", known, 100) is not None
    assert load_again(b"networks:\n- id: a\n" + b"- id: b\n" * 20, known, 100) is None


def test_nothing_is_left():
    assert again(indexed(GOOD), "") is None
    assert again(indexed(GOOD), "---\n# nothing\n") is None
    assert again(indexed(GOOD), "networks:\n").topology == Topology.of()
