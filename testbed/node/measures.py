"""What an agent counts for /metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from probes.protocol import Outcome, Sample
from testbed.api.measures import Histogram
from testbed.core.probing import ProbeType

PROBES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LOOKS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass
class Measures:
    """``durations`` of probes: by type and outcome. ``looks``: of workers at their pods. ``evictions``: by the signal
    that asked for them. In seconds."""

    durations: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    cpu: dict[str, tuple[float, float]] = field(default_factory=dict)  # container id: when, CPU seconds until then
    looks: Histogram = field(default_factory=lambda: Histogram(LOOKS_S))
    evictions: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    spares_used: int = 0

    def probed(self, kind: ProbeType, sample: Sample) -> None:
        self.durations.setdefault((kind.value, sample.outcome.value), Histogram(PROBES_S)).observe(sample.duration_s)
        if sample.outcome is Outcome.FAILURE:
            self.failures[kind.value] += 1
