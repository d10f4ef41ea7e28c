"""The one value that a run leaves behind, from which every report is made.

It says what was measured and why the verdict is what it is; how it looks is `testbed.report`'s. All moments are seconds
since the start of their run, on one monotonic clock; all durations are seconds. ``None`` means *not seen*, never zero.
The JSON form (camelCase, ``result.json``) is versioned and its schema is published by ``result_schema()``.
"""

from testbed.experiment.result.clients import (
    Burn,
    BurnAlert,
    ClientView,
    Latency,
    Outage,
    Requests,
)
from testbed.experiment.result.detector import Detector, FalseAct
from testbed.experiment.result.load import GeneratorUse, LocustEntry, LocustResult, TargetResult
from testbed.experiment.result.run import KeptLog, Phase, RunResult, Series, SteadyStateResult
from testbed.experiment.result.shipping import Shipping
from testbed.experiment.result.state import Backlog, BacklogSample, Reached, StateView, Writes
from testbed.experiment.result.statistics import ObjectiveResult, Outlier, Statistic
from testbed.experiment.result.study import SERIOUS, STUDY_VERSION, Study, Turn, VariantResult, judging, study_schema
from testbed.experiment.result.timeline import (
    Alert,
    Cause,
    Disruption,
    Gap,
    Kind,
    Marks,
    Part,
    Path,
    Sighting,
    TimelineEvent,
    Witness,
)
from testbed.experiment.result.value import Value
from testbed.experiment.result.verdict import EXIT_CODES, Verdict
from testbed.experiment.result.whole import SCHEMA_VERSION, Environment, Result, result_schema

__all__ = [
    "EXIT_CODES", "SCHEMA_VERSION", "SERIOUS", "STUDY_VERSION", "Alert", "Backlog", "BacklogSample", "Burn",
    "BurnAlert", "Cause", "ClientView", "Detector", "Disruption", "Environment", "FalseAct", "Gap", "GeneratorUse",
    "KeptLog", "Kind", "Latency", "LocustEntry", "LocustResult", "Marks", "ObjectiveResult", "Outage", "Outlier",
    "Part", "Path", "Phase", "Reached", "Requests", "Result", "RunResult", "Series", "Shipping", "Sighting",
    "StateView", "Statistic", "SteadyStateResult", "Study", "TargetResult", "TimelineEvent", "Turn", "Value",
    "VariantResult", "Verdict", "Witness", "Writes", "judging", "result_schema", "study_schema",
]
