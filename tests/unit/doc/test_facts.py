# SPDX-License-Identifier: Apache-2.0
"""Names, numbers and examples of the documentation are those of the code."""

import configparser
import re

import pytest
import yaml

from fip64agent import conf, exceptions
from fip64agent.plan.desired import Desired
from fip64agent.plan.inputs import Inputs, Interface
from fip64agent.plan.planner import plan
from fip64agent.topology.attributes import SECTIONS
from fip64agent.topology.file.loader import load, parse
from tests.unit.doc import pages

WRITTEN = [*pages.all_pages(), pages.ROOT / "CONTRIBUTING.rst"]
EXAMPLE = pages.EXAMPLE_TOPOLOGY
_OPTION = re.compile(r"\[([a-z]+|DEFAULT)\][ \n]+([a-z][a-z0-9_]+)")
_FILE = re.compile(r"(?<![\w/.-])(?:doc/source|etc|tests|lab|bench|fip64agent)/[\w./-]*\w")


def options() -> dict[str, set[str]]:
    return {group if isinstance(group, str) else group.name: {option.name for option in opts}
            for group, opts in conf.list_opts()}


# Examples


def planned(topology) -> Desired:
    """The plan of a host that has all router ports named so as uplinks, and all VMs."""
    bound = enumerate(sorted(port.id for port in topology.ports.values()
                             if "uplink" in port.id or not port.is_router_port), 1)
    return plan(Inputs(topology, {f"eth{n}": Interface(f"eth{n}", n, port) for n, port in bound}))


def test_the_example_topology_is_good_and_works_when_its_ports_are_bound():
    topology = load(str(EXAMPLE))
    associated = [fip for fip in topology.floatingips.values() if fip.port_id]
    desired = planned(topology)
    assert not desired.problems
    assert associated and set(desired.mappings) == {fip.id for fip in associated}
    assert desired.uplinks and all(uplink.routes for uplink in desired.uplinks.values()), "no way back"


def test_each_line_that_the_example_says_can_be_uncommented_works_alone_and_with_the_others():
    text = EXAMPLE.read_text()
    fips = load(str(EXAMPLE)).floatingips
    used = {name for name, fip in fips.items() if fip.port_id}
    assert len(pages.prepared(text)) == len(fips) - len(used) == text.count("To use it, uncomment") > 0
    for changed in pages.prepared(text):
        desired = planned(parse(changed, "example"))
        assert not desired.problems and len(desired.mappings) == len(used) + 1
    desired = planned(parse(pages.all_prepared(text), "example"))
    assert not desired.problems and set(desired.mappings) == set(fips)


def test_every_kind_of_resource_that_floating_ips_need_is_in_the_example():
    document = yaml.safe_load(EXAMPLE.read_text())
    others = {"address_groups", "security_groups"}
    assert list(document) == [section for section in SECTIONS if section not in others]
    assert all(document.values())


def snippets() -> list[tuple[str, str, str]]:
    """(page, language, text) of the code blocks in a language that we can load."""
    return [(str(page.relative_to(pages.ROOT)), language, "\n".join(body)) for page in pages.all_pages()
            for language, _, body in pages.directives(page.read_text(), "code-block")
            if language in ("yaml", "ini")]


@pytest.mark.parametrize(("page", "language", "text"), snippets() or [("README.rst", "yaml", "{}")])
def test_snippet_loads(page, language, text):
    if language == "ini":
        parser = configparser.RawConfigParser(default_section="")
        parser.read_string(text)
        for group in parser.sections():
            assert set(parser[group]) <= options()[group], f"{page}: unknown options in [{group}]"
    else:
        document = yaml.safe_load(text)
        if isinstance(document, dict) and set(document) <= set(SECTIONS):
            parse(text, page)


# Names


@pytest.mark.parametrize("page", pages.all_pages(), ids=lambda page: page.name)
def test_options_that_are_named_exist(page):
    known = options()
    for group, option in _OPTION.findall(page.read_text()):
        assert option in known.get(group, ()) or option == "host", f"[{group}] {option}"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_files_that_are_named_exist(page):
    made = (pages.ROOT / ".gitignore").read_text().replace("/\n", "\n").splitlines()
    for name in _FILE.findall(page.read_text()):
        # What a make target makes is not there in a fresh clone.
        assert (pages.ROOT / name).exists() or name in made, name


def test_make_targets_that_are_named_exist():
    makefile = (pages.ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in WRITTEN:
        for target in re.findall(r"(?:``|^ {3,})make ([a-z-]+)", page.read_text(), re.MULTILINE):
            assert target in targets, f"{page.name}: make {target}"


# Numbers


def test_exit_statuses_are_documented():
    listed = set(re.findall(r"^   \* - (\d)$", (pages.SOURCE / "reference" / "exit-status.rst").read_text(),
                            re.MULTILINE))
    ends_the_agent = {error.exit_status for error in vars(exceptions).values()
                      if isinstance(error, type) and issubclass(error, exceptions.Fip64Error)}
    assert {int(status) for status in listed} == {0, *ends_the_agent}


def test_the_pictures_are_the_same():
    picture = (pages.SOURCE / "picture.inc").read_text().partition("\n\n")[2]
    assert picture.strip() in (pages.ROOT / "README.rst").read_text()
