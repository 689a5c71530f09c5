# SPDX-License-Identifier: Apache-2.0
"""What the operator sees: the state of every object, the admin API, packet traces, metrics.

Nothing in here changes anything: it reads the agent (fip64agent.agent.Agent). Of that it reads:

- conf, started_at, topology_error, topology_path, topology_loaded_at, inputs: as the agent has them;
- loop: desired, settled, alive, failures, blocked, carried_out(), counts(), preview(), passes,
  last_pass_seconds, applied, pruned;
- rooms, by name: what they say of themselves, and what they answer for traces;
- choice: which translator, and why;
- gateways: reachability() of an uplink's gateways;
- metrics: the server of this package, for its url and its problem; None: there is none.
"""
