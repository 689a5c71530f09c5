# SPDX-License-Identifier: Apache-2.0
"""Reading only what is new gives what reading all gives, or nothing: whatever the text is."""

from __future__ import annotations

import dataclasses
import sys

import pytest
import yaml
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from fip64agent.topology.attributes import SECTIONS
from fip64agent.topology.file.document import Document
from fip64agent.topology.file.entries import Contents
from fip64agent.topology.file.problems import Found, Refused
from fip64agent.topology.file.reader import lines_of, read_again, read_whole
from fip64agent.topology.model import Topology
from tests.fakes import topologies
from tests.unit.topology.test_loader import EXAMPLE, representable, written
from tests.unit.topology.test_problems import GOOD, with_


class Read:
    """What was read of a text: its contents, and all of its resources."""

    def __init__(self, contents: Contents, forms: dict) -> None:
        self.contents, self.forms = contents, forms


def read(text: str | bytes) -> Read | None:
    """Read a text as a whole; None when its entries cannot be told by their text. Raises: Refused."""
    contents, forms = read_whole(text if isinstance(text, bytes) else text.encode())
    return None if contents.digests is None else Read(contents, forms)


def again(known: Read, text: str | bytes, limit: int = sys.maxsize) -> Read | None:
    """Read a text both ways; fail when they disagree. Return what the quick one makes of it."""
    data = text if isinstance(text, bytes) else text.encode()
    quick = read_again(data, known.contents, limit)
    try:
        whole = read(data)
    except Refused:
        assert quick is None
        return None
    if quick is None:
        return None
    assert whole is not None
    contents, new = quick
    assert contents == whole.contents
    forms = {key: new[key] if key in new else known.forms[key] for key in contents.resources()}
    assert forms == whole.forms
    return Read(contents, forms)


def news(known: Read, text: str) -> list:
    """Return the keys of what is parsed of a text."""
    _, new = read_again(text.encode(), known.contents, sys.maxsize)
    return sorted(new)


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
    for item in Document(text.encode(), tuple(SECTIONS)).items():
        found.setdefault(item.section, []).append(item.value)
    return found


def plain(text: str) -> str:
    return yaml.dump(parts(text), Dumper=_Plain, sort_keys=False)


def indented(text: str) -> str:
    """Lists indented, as many people write them, with comments and empty lines."""
    text = yaml.dump(parts(text), Dumper=_Indented, sort_keys=False)
    return "---\n# A comment\n" + text.replace("\n  - id: ", "\n  # Next\n\n  - id: ")


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
    return Topology.of(**{kind: items.values() for kind, items in kinds.items()})


_VALID = topologies.valid_sites().map(lambda site: site.topology).filter(representable)


@settings(deadline=None)
@given(st.data(), _VALID, _STYLES, _EXTRAS)
def test_changed_topologies(data, topology, style, extra):
    text = style(written(topology, extra))
    known = read(text)
    assert known is not None
    assert news(known, text) == []
    for _ in range(2):  # contents made from contents are as good
        topology = data.draw(changed(topology))
        assume(representable(topology) and all(topology.routers))
        text = style(written(topology, extra))
        known = again(known, text)
        assert known is not None  # in this style it never gives up


# Damage

_PIECES = st.sampled_from((
    "", "\n", "\n\n", " ", "  ", "\t", "'", '"', "|", ">", "|+\n", ">-\n", "#", " # ", "# x\n", "- ", "-\n",
    "  - ", "[", "]", "{", "}", ", ", ": ", "? ", "*a", "&a ", " &a", "*a\n", "!!str ", "! ", "---\n",
    "...\n", "%YAML 1.1\n", "\r", "\r\n", "\x85", "\u2028", "\ufeff", "\\", "~", "null", "ports:\n",
    "routers: []\n", "networks:\n", "\nports:\n# ", "floatingips:\n", "x:\n", "- id: r9\n", "- id: vm\n",
    "security_groups:\n", "_:\n", "  rules:\n", "  - id: '1'\n",
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
        known = read(before)
    except Refused:
        known = None
    assume(known is not None)
    after = data.draw(damaged(before) | damaged(text))
    event("read quickly" if again(known, after) is not None else "read as a whole")


# One by one


@pytest.mark.parametrize("text", [GOOD, _RICH, indented(GOOD), flow(GOOD), EXAMPLE.read_text(),
                                  "networks:\n- id: a\nports: []\nrouters: ~  # none\nsubnets:\n"])
def test_these_styles_are_split(text):
    known = read(text)
    assert again(known, text) is not None and news(known, text) == []


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
    assert read(UNUSUAL[name]) is None
    assert read_again(UNUSUAL[name].encode(), read(GOOD).contents, sys.maxsize) is None


def test_string_that_swallows_a_known_entry():
    known = read("networks:\n- id: a\n- id: b\n")
    assert again(known, "networks:\n- id: a\n- id: c\n  name: \"\n- id: b\n") is None
    assert again(known, "networks:\n- id: c\n  name: \"\n- id: b\n- id: d\n  name: \"\n") is None


def test_known_entries_where_none_may_be():
    known = read("networks:\n- id: a\n")
    for value in ("[]", "~", "null", "x", "[", "|"):
        assert again(known, f"networks: {value}\n- id: a\n") is None


def test_entries_are_known_in_their_section_only():
    known = read("networks:\n- id: a\nrouters:\n- id: b\n")
    swapped = "routers:\n- id: a\nnetworks:\n- id: b\n"
    assert again(known, swapped) is not None
    assert news(known, swapped) == [("networks", "b"), ("routers", "a")]


def test_only_what_is_new_is_read():
    known = read(GOOD)
    moved = with_(("    ip_address: 10.0.0.5\n", "    ip_address: 10.0.0.15\n"))
    assert news(known, moved) == [("ports", "vm")]
    assert news(known, with_(("- id: net\n", ""))) == []
    faulty = with_(("    ip_address: 10.0.0.5\n", "    ip_adress: 10.0.0.15\n"))
    known = again(known, faulty)
    assert news(known, faulty) == []
    assert news(known, GOOD) == [("ports", "vm")]


def test_an_id_that_is_there_twice_is_for_the_ordinary_way():
    known = read(GOOD)
    assert again(known, GOOD + GOOD[GOOD.index("- id: fip2"):]) is None
    assert again(known, GOOD + "- id: fip2\n  floating_network_id: ext\n") is None


def test_too_much_news():
    known = read("networks:\n- id: a\n")
    assert again(known, "networks:\n- id: a\n- id: b\n", 100) is not None
    more = "".join(f"- id: b{number}\n" for number in range(20))
    assert read_again(b"networks:\n- id: a\n" + more.encode(), known.contents, 100) is None


def test_nothing_is_left():
    assert again(read(GOOD), "") is None
    assert again(read(GOOD), "---\n# nothing\n") is None
    assert again(read(GOOD), "networks:\n").forms == {}


# Lines


@pytest.mark.parametrize("style", [str, plain, indented, flow])
def test_lines_are_those_of_the_whole_text(style):
    """Whether the entry alone is parsed or all of the text."""
    text = style(_RICH if style is str else GOOD)
    contents = read(text).contents
    faults = [Found(("ports", 1, "mac_address"), ""), Found(("ports", 2, "fixed_ips", 1, "ip_address"), ""),
              Found(("floatingips", 1), ""), Found(("networks", 2, "nothing"), "")]
    data = text.encode()
    alone, whole = lines_of(data, faults, contents.ids), lines_of(data, faults)
    lines = text.splitlines()
    for fault in faults:
        around = fault.path
        while around not in alone:
            around = around[:-1]
        assert alone[around] == whole[around]
    assert "mac_address" in lines[alone["ports", 1, "mac_address"] - 1]
    assert "fip2" in lines[alone["floatingips", 1] - 1]
