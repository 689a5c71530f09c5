# SPDX-License-Identifier: Apache-2.0
"""Tables and texts that fit the terminal, whatever is in them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fip64agent.admin import render, tables

WIDTHS = st.integers(tables.NARROWEST, 250)
IDS = st.uuids().map(str)
WORDS = st.text("abcdefgh,:;()/.-ü中", min_size=1, max_size=30)
REASONS = st.lists(WORDS, max_size=60).map(" ".join)
NAMES = st.one_of(IDS, st.text("abc-ü中", max_size=250))


def squeezed(text: str) -> str:
    """The text without blanks: a word that is longer than a line is broken."""
    return re.sub(r"\s+", "", text)


@st.composite
def rows(draw):
    one = st.tuples(IDS, st.sampled_from(["active", "error (17)"]), NAMES, NAMES, REASONS)
    return [list(row) for row in draw(st.lists(one, max_size=6))]


@given(rows(), WIDTHS)
def test_a_table_fits_and_says_all_of_it_in_order(rows, width):
    lines = list(tables.table(("id", "state", "router", "port", "reason"), rows, width, below=("reason",)))
    assert max(map(tables.cells, lines), default=0) <= width
    text = "\n".join(lines)
    for row in rows:
        assert any(row[0] in line.split() for line in lines), "each id is whole on a line"
    said = squeezed(text)
    for row in rows:  # in order: each cell is found behind the one before
        for cell in filter(None, map(squeezed, (*row[:4], f"reason {row[4]}" if row[4] else ""))):
            _, found, said = said.partition(cell)
            assert found == cell


@given(rows())
def test_without_a_terminal_a_row_is_one_line_and_its_reason_another(rows):
    lines = list(tables.table(("id", "state", "router", "port", "reason"), rows, None, below=("reason",)))
    assert len(lines) == 2 + len(rows) + sum(bool(row[4]) for row in rows)
    assert all(f"    reason  {row[4]}".rstrip() in lines for row in rows if row[4])


@given(REASONS, WIDTHS,
       st.sampled_from(["", "  - ", "plan          ", "last pass     ", "  1  ok    ", "(3) "]))
def test_a_text_is_folded_behind_what_it_begins_with(reason, width, label):
    lines = tables.folded(label + reason, width).split("\n")
    assert max(map(tables.cells, lines)) <= width
    assert squeezed("".join(lines)) == squeezed(label + reason)
    if reason and len(lines) > 1:
        assert lines[0].startswith(label)
        assert all(line.startswith(" " * len(label)) for line in lines[1:])


@given(st.lists(st.tuples(NAMES, REASONS), max_size=8), WIDTHS)
def test_a_record_fits(record, width):
    names = [f"name_{number}" for number in range(len(record))]
    lines = list(tables.fields(names, [value for _, value in record], width))
    assert max(map(tables.cells, lines), default=0) <= width
    assert squeezed("".join(lines)) == squeezed("".join(
        name + value for name, (_, value) in zip(names, record, strict=True)))


@pytest.mark.parametrize("width", [80, 200, None])
def test_a_reason_that_many_share_is_told_once_and_counted(width):
    reason = "its uplink is dead, and " + "this is a long story " * 12
    rows = [{"state": "error", "reason": reason, "alike": "", "cause": "uplink u-1"} for _ in range(500)]
    rows += [{"state": "error", "reason": f"port {number} is in error", "alike": "its port is in error",
              "cause": None} for number in range(7)]
    rows += [{"state": "active", "reason": "", "alike": "", "cause": None}]
    lines = render.reasons(rows, ("floating IP", "floating IPs"), width)
    assert lines[0] == "508 floating IPs: 507 error, 1 active"
    assert " ".join(" ".join(lines).split()).count(reason.strip()) == 1
    assert "(1) error, 500 floating IPs, uplink u-1 is at fault:" in lines
    assert lines[-2:] == ["(2) error, 7 floating IPs:", "    its port is in error"]
    assert {row["state"] for row in rows} == {"error (1)", "error (2)", "active"}


def test_cells_of_wide_characters():
    assert [tables.cells(text) for text in ("ab", "ü", "u\u0308", "中", "")] == [2, 1, 1, 2, 0]
