"""What the measuring machine itself went through during one repetition."""

from __future__ import annotations

from testbed.experiment.result.value import Value


class MachineLoad(Value):
    """None: this machine does not tell, or nothing was looked at.

    Attributes:
        seconds: how long it was watched.
        pressure: share of the time in which at least one task waited for a CPU (PSI ``some``).
        runnable: tasks per CPU that ran or waited for it, on average: above 1, everybody waits his turn.
        steal: share of all CPUs' time that the hypervisor gave to others.
        busy: share of all CPUs' time that was used.
        loop_lag_p99_s, loop_lag_max_s: how much later than asked the runner's own loop woke up.
    """

    seconds: float = 0.0
    pressure: float | None = None
    runnable: float | None = None
    steal: float | None = None
    busy: float | None = None
    loop_lag_p99_s: float | None = None
    loop_lag_max_s: float | None = None
