# SPDX-License-Identifier: Apache-2.0
"""What the operator sees: the state of every object, the admin API, packet traces, metrics.

Nothing in here changes anything: it reads the agent.
"""
