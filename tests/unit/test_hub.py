# SPDX-License-Identifier: Apache-2.0
"""What the rest relies on of the hub: nothing that goes wrong silences or stops it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from fip64agent import hub


def test_eventlets_resolver_is_not_loaded():
    """It takes dnspython and cryptography with it, for names that nobody asks for."""
    ask = "import sys, fip64agent.agent; print({'dns', 'cryptography'} & sys.modules.keys())"
    environment = {name: value for name, value in os.environ.items() if name != "EVENTLET_NO_GREENDNS"}
    assert subprocess.check_output([sys.executable, "-c", ask], text=True, env=environment) == "set()\n"


def test_a_callback_that_fails_does_not_silence_its_notifier():
    called = []

    def callback() -> None:
        called.append(1)
        raise ValueError("as nobody foresaw")

    notifier = hub.Notifier(callback)
    try:
        for count in (1, 2):
            notifier.notify()
            with hub.Timeout(5):
                while len(called) < count:
                    hub.sleep(0.01)
    finally:
        notifier.close()


def test_a_descriptor_is_waited_for_although_another_of_its_number_was_closed_meanwhile():
    here, there = socket.socketpair()
    waits = threading.Event()

    def wait_for_what_is_closed() -> None:
        waits.set()
        with pytest.raises(OSError):
            hub.wait_readable(number)

    number = here.fileno()
    stale = hub.spawn(wait_for_what_is_closed)
    while not waits.is_set():
        hub.sleep(0.01)
    closer = threading.Thread(target=here.close)
    closer.start()
    closer.join()
    child = subprocess.Popen(["sleep", "0.1"])
    pidfd = os.pidfd_open(child.pid)
    if pidfd != number:
        os.dup2(pidfd, number)
        os.close(pidfd)
        pidfd = number
    try:
        assert hub.wait_readable(pidfd, 5)
        stale.wait()
    finally:
        child.wait()
        os.close(pidfd)
        there.close()


def test_a_listener_whose_queue_is_full_is_an_error_not_a_busy_wait(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        first = hub.connect_unix(path)
        with pytest.raises(BlockingIOError), hub.Timeout(5):
            hub.connect_unix(path)
        first.close()
