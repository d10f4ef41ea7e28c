"""How a repetition is broken off: with a verdict and a reason, from wherever that was found out."""

from __future__ import annotations

from testbed.experiment.result import Verdict


class RunStopped(Exception):
    """The repetition ends here with this verdict. Never leaves the runner."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict, self.reason = verdict, reason
