"""What all tests share: Hypothesis without deadlines (this machine is shared), and the same examples in every CI run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("testbed", deadline=None, suppress_health_check=[HealthCheck.too_slow],
                          derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("testbed")
