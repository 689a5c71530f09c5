# SPDX-License-Identifier: Apache-2.0
"""An operator searches the documentation for what the program printed: it must be there word for word."""

import re

import pytest

from tests.unit.doc import pages

TROUBLESHOOTING = (pages.SOURCE / "operator" / "troubleshooting.rst").read_text()
MESSAGES = pages.messages(TROUBLESHOOTING)


@pytest.fixture(scope="module")
def code() -> str:
    return "\n".join(pages.templates())


def test_there_are_messages():
    assert len(MESSAGES) > 30


@pytest.mark.parametrize("message", MESSAGES)
def test_quoted_message_is_in_the_code(message, code):
    assert re.sub(r"\W", "", pages.quoted(message)), "nothing but placeholders"
    assert pages.quoted(message) in code, f"no such message in fip64agent/: {message}"
