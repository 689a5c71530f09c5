# SPDX-License-Identifier: Apache-2.0
"""What needs no guest of tests/host: README's commands, and objects that are called from elsewhere."""

import json
import os
import subprocess
import threading

import pytest

from lab.guest import channel, image, readme
from lab.guest.remote import Objects, Remote
from lab.node import Ping

TEXT = """\
Install it
----------

First. With TAYGA::

    apt-get install -y one two   # three
    cp "a file" /etc/            # then write your own

    systemctl start it

Afterwards::

    not this
"""


def test_readme_has_the_commands_of_the_installation():
    commands = readme.commands()
    assert commands[0].startswith("apt-get install ") and commands[-1].endswith("fip64ctl status")
    assert any("pip install ." in command for command in commands)
    assert {"openvswitch-switch", "tayga", "python3-venv"} <= set(readme.packages())


def test_commands_are_those_of_the_first_block():
    assert readme.commands(TEXT) == ["apt-get install -y one two   # three",
                                     'cp "a file" /etc/            # then write your own',
                                     "systemctl start it"]
    assert readme.packages(TEXT) == ["one", "two"]


@pytest.mark.parametrize("text", ["", TEXT.replace("Install", "Remove"), TEXT.replace("TAYGA", "VPP")])
def test_a_readme_without_them_is_told(text):
    with pytest.raises(ValueError, match="Install it"):
        readme.commands(text)


class Thing:
    def __init__(self):
        self.names = {"a": Thing.__name__}
        self.directory = image.Path("/x")
        self.calls = 0

    def __getitem__(self, key):
        return self.names[key]

    def me(self):
        self.calls += 1
        return self

    def ping(self, *destinations, count=1):
        return [Ping(count, count, [], 0, None, 1.0, 1.0) for _ in destinations]

    def run(self, *argv):
        return subprocess.run(argv, capture_output=True, text=True)


def remote(root):
    """A Remote that is as far from `root` as JSON is."""
    objects = Objects(root)

    def call(method, *args, timeout, **kwargs):
        assert timeout > 0
        return json.loads(json.dumps(objects(method, *json.loads(json.dumps(args)), **kwargs)))

    return Remote(call)


def test_attributes_items_and_calls_are_followed():
    there = remote(Thing())
    assert there.names["a"].upper() == "THING"
    assert there["a"].value() == "Thing"
    assert there.directory.value() == "/x"


def test_results_come_back_as_what_they_are():
    there = remote(Thing())
    first, second = there.ping("one", "two", count=3)
    assert first == second and first.sent == 3 and first.ok
    done = there.run("echo", "yes")
    assert isinstance(done, subprocess.CompletedProcess) and done.stdout == "yes\n" and done.returncode == 0


def test_what_cannot_be_sent_stays_there():
    thing = Thing()
    again = remote(thing).me().me()
    assert again.calls.value() == 2 == thing.calls


class Port:
    """The guest's end of a port: a pseudo-terminal of this process."""

    def __init__(self, handle):
        self.master, slave = os.openpty()
        os.system(f"stty raw -echo < {os.ttyname(slave)}")
        threading.Thread(target=channel.serve, args=(os.ttyname(slave), handle), daemon=True).start()

    def ask(self, data):
        os.write(self.master, data)
        answer = b""
        while not answer.endswith(b"\n"):
            answer += os.read(self.master, 4096)
        return json.loads(answer)


def test_the_guest_answers_and_tells_what_failed():
    def handle(method, *args, **kwargs):
        return {"add": lambda a, b=0: a + b}[method](*args, **kwargs)

    port = Port(handle)
    request = {"id": 7, "method": "add", "args": [1], "kwargs": {"b": 2}}
    assert port.ask(json.dumps(request).encode() + b"\n") == {"id": 7, "result": 3}
    answer = port.ask(json.dumps(request | {"args": ["x"]}).encode() + b"\n")
    assert answer["id"] == 7 and answer["error"].startswith("TypeError: ")
    assert port.ask(json.dumps(request).encode() + b"\n")["result"] == 3


def test_the_cache_is_where_it_was_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FIP64_HOST_CACHE", raising=False)
    assert image.cache() == tmp_path / "fip64agent" / "host"
    monkeypatch.setenv("FIP64_HOST_CACHE", str(tmp_path / "mine"))
    assert image.cache() == tmp_path / "mine"
