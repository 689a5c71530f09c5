#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""For tools that still ask for it; the metadata is in pyproject.toml."""

from setuptools import setup

setup()
