# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: ``python -m bench [NAMES]``, or ``make bench``. Each measures real processes."""
