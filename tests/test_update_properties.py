"""Whatever happens to a store, it answers as one built of its papers; benchmarks/update_kills.py tries more."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from update_machine import Updates

TestUpdates = Updates.TestCase
TestUpdates.settings = settings(
    max_examples=8,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a failing sequence is printed as it is: to find a shorter one takes minutes
    suppress_health_check=list(HealthCheck),
)
