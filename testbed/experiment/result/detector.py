"""Whether the healthy were left alone: restarts and isolations that no fault explains, beside how fast it noticed."""

from __future__ import annotations

from typing import Literal

from testbed.experiment.result.value import Value


class FalseAct(Value):
    """One act against a pod that no fault had hit. ``end_s`` of an isolation: back in rotation; None: not seen."""

    what: Literal["restart", "isolation", "eviction"]
    pod: str
    start_s: float
    end_s: float | None = None
    message: str = ""


class Detector(Value):
    """The account of one run, or of one disruption. Noise (a step with ``noise: true``) explains nothing.

    Attributes:
        false_restarts: containers that were killed because of a probe. false_evictions: pods taken from a node that was
            thought lost. false_isolations: times a pod was out of rotation, ``false_isolated_s`` all of them together
            (those that were not seen to end count so far).
        probe_hours: hours that all liveness, readiness and startup probes were watched, added up.
        state_changes: times a pod turned ready or unready; faults: real ones, for flapping.
    """

    false_restarts: int = 0
    false_evictions: int = 0
    false_isolations: int = 0
    false_isolated_s: float = 0.0
    probe_hours: float = 0.0
    state_changes: int = 0
    faults: int = 0
    acts: tuple[FalseAct, ...] = ()

    @property
    def per_1000_probe_hours(self) -> float | None:
        """False restarts and evictions; None where nothing was probed."""
        return 1000 * (self.false_restarts + self.false_evictions) / self.probe_hours if self.probe_hours else None

    @property
    def flapping(self) -> float | None:
        """Changes of readiness per fault: two are out and in again; None without a fault."""
        return self.state_changes / self.faults if self.faults else None
