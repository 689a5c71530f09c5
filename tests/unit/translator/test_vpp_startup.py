# SPDX-License-Identifier: Apache-2.0
"""The startup file of the managed VPP."""

import dataclasses
import re

import pytest

from fip64agent.translator.vpp import startup
from fip64agent.translator.vpp.startup import StartupOptions

OPTIONS = StartupOptions("/run/fip64agent/vpp", ("/opt/plugins", "/usr/lib/vpp_plugins"))


def stanza(text, name):
    return re.search(rf"^{name} \{{\n(.*?)^\}}", text, re.MULTILINE | re.DOTALL)[1].split()


def test_everything_of_ours_is_in_our_directory():
    text = startup.text(OPTIONS)
    for path in re.findall(r"(?:socket-name|cli-listen|runtime-dir) (\S+)", text):
        assert path.startswith("/run/fip64agent/vpp")
    assert len(re.findall(r"socket-name|cli-listen", text)) == 3
    assert "nodaemon" in stanza(text, "unix") and "nosyslog" in stanza(text, "unix")
    assert text.count("{") == text.count("}")


def test_no_hugepages_unless_asked():
    text = startup.text(OPTIONS)
    assert text.count("page-size 4k") == 3 and "hugepage" not in text
    text = startup.text(dataclasses.replace(OPTIONS, hugepages=True))
    assert text.count("page-size default-hugepage") == 3 and "4k" not in text


def test_only_the_plugins_that_are_needed():
    text = startup.text(dataclasses.replace(OPTIONS, extra_plugins=("dpdk_plugin.so", "fip64_plugin.so")))
    assert "plugin default { disable }" in text
    assert re.findall(r"plugin (\S+) { enable }", text) == [
        "af_packet_plugin.so", "ping_plugin.so", "fip64_plugin.so", "dpdk_plugin.so"]
    assert "path /opt/plugins:/usr/lib/vpp_plugins" in text


def test_cpu_options():
    assert stanza(startup.text(OPTIONS), "cpu") == []
    text = startup.text(dataclasses.replace(OPTIONS, main_core=1, corelist_workers="2-3,18"))
    assert stanza(text, "cpu") == ["main-core", "1", "corelist-workers", "2-3,18"]
    assert stanza(startup.text(dataclasses.replace(OPTIONS, workers=2)), "cpu") == ["workers", "2"]


def test_extra_stanzas_come_as_they_are():
    text = startup.text(dataclasses.replace(OPTIONS, extra=("dpdk { dev 0000:02:00.0 }", "nat { x }")))
    assert text.endswith("dpdk { dev 0000:02:00.0 }\nnat { x }\n")


def test_the_name_tells_the_content():
    name = startup.file_name(OPTIONS)
    assert re.fullmatch(r"startup-[0-9a-f]{12}\.conf", name)
    assert name == startup.file_name(dataclasses.replace(OPTIONS))
    assert name != startup.file_name(dataclasses.replace(OPTIONS, poll_sleep=100))


def test_two_agents_share_no_memory():
    other = dataclasses.replace(OPTIONS, run_path="/run/other")
    assert other.segment_prefix != OPTIONS.segment_prefix
    assert f"prefix {other.segment_prefix}" in startup.text(other)


@pytest.mark.parametrize(("changes", "words"), [
    ({"run_path": "/x" * 60}, "at most 107"),
    ({"run_path": "/run/a b"}, "blanks"),
    ({"plugin_directories": ("/run/{x}",)}, "braces"),
    ({"workers": 2, "corelist_workers": "1-2"}, "only one"),
    ({"extra": ("dpdk { dev x",)}, "do not match"),
    ({"extra": ("} unix {",)}, "do not match"),
    ({"extra_plugins": ("x } unix { exec /etc/shadow.so",)}, "no name of a plugin"),
])
def test_options_that_cannot_work_are_named(changes, words):
    found = startup.faults(dataclasses.replace(OPTIONS, **changes))
    assert len(found) == 1 and words in found[0] and "[vpp] " in found[0]


def test_good_options_have_no_faults():
    assert startup.faults(dataclasses.replace(OPTIONS, extra=("# } comment\ndpdk { }",))) == []


@pytest.mark.parametrize(("words", "name"), [
    (["/usr/bin/vpp", "-c", "/run/v/startup-0123456789ab.conf"], "startup-0123456789ab.conf"),
    (["vpp_main", "-c", "/run/v/startup-0123456789ab.conf", ""], "startup-0123456789ab.conf"),
    (["/usr/bin/vpp", "-c", "/etc/vpp/startup.conf"], None),
    (["/usr/bin/vpp", "-c", "/run/v/startup.conf"], None),
    (["/usr/bin/vpp", "-c", "/run/w/startup-0123456789ab.conf"], None),
    (["/usr/bin/vpp", "-c", "/run/v/sub/startup-0123456789ab.conf"], None),
    (["/usr/bin/vpp", "-c"], None),
    (["vim", "/run/v/startup-0123456789ab.conf"], None),
    ([], None),
])
def test_a_vpp_of_ours_is_known_by_its_command_line(words, name):
    assert startup.parse_command(words, "/run/v") == name
