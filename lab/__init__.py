# SPDX-License-Identifier: Apache-2.0
"""Builds hosts out of network namespaces, with real OVS: for the demo, the tests and the benchmarks."""
