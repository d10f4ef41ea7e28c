"""What a Chaos Toolkit experiment is made of, as values. ``loading.py`` makes them; nothing here decides anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Json = dict[str, Any]
HypothesisStrategy = Literal["default", "before-method-only", "after-method-only", "during-method-only", "continuously"]
RollbackStrategy = Literal["default", "always", "never", "deviated"]
Dry = Literal["", "probes", "actions", "activities", "pause"]
HYPOTHESIS_STRATEGIES: tuple[str, ...] = get_args(HypothesisStrategy)
ROLLBACK_STRATEGIES: tuple[str, ...] = get_args(RollbackStrategy)
DRY: tuple[str, ...] = get_args(Dry)
MISSPELT = {"continously": "continuously", "continuous": "continuously"}  # the first is taken upstream too


@dataclass(frozen=True)
class Control:
    """A hook around a part of the experiment. ``scope``: "before", "after" or, for both, ""."""

    name: str
    module: str
    arguments: Json = field(default_factory=dict)
    scope: str = ""
    automatic: bool = True
    raw: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Activity:
    """A probe or an action, a reference resolved. ``pause_before``, ``pause_after``: seconds or ``${name}``."""

    name: str
    kind: Literal["probe", "action"]
    provider: Json
    raw: Json
    has_tolerance: bool = False
    tolerance: Any = None
    background: bool = False
    pause_before: Any = None
    pause_after: Any = None
    dry: Any = None
    controls: tuple[Control, ...] = ()

    @property
    def provider_type(self) -> str:
        return str(self.provider.get("type"))


@dataclass(frozen=True)
class Hypothesis:
    title: str
    probes: tuple[Activity, ...]
    controls: tuple[Control, ...]
    raw: Json


@dataclass(frozen=True)
class Options:
    """What the command line says. ``hypothesis``, ``rollbacks``: "" leaves it to the file.

    Attributes:
        frequency_s: pause between two looks at the hypothesis while the method runs.
        limit_s: how long an activity may take that has no timeout of its own.
    """

    hypothesis: str = ""
    rollbacks: str = ""
    frequency_s: float = 1.0
    fail_fast: bool = False
    dry: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    secret_variables: Mapping[str, Any] = field(default_factory=dict)
    global_controls: tuple[Control, ...] = ()
    limit_s: float = 3600.0


@dataclass(frozen=True)
class ToolkitExperiment:
    """An experiment without mistakes. ``raw``: as in its file."""

    title: str
    file: Path
    raw: Json
    hypothesis: Hypothesis | None
    method: tuple[Activity, ...]
    rollbacks: tuple[Activity, ...]
    controls: tuple[Control, ...]
    hypothesis_strategy: str
    rollback_strategy: str

    @property
    def activities(self) -> tuple[Activity, ...]:
        return (*(self.hypothesis.probes if self.hypothesis else ()), *self.method, *self.rollbacks)

    @property
    def all_controls(self) -> tuple[Control, ...]:
        """Each once by its name, those of the top first."""
        found = [*self.controls, *(self.hypothesis.controls if self.hypothesis else ())]
        found += [control for activity in self.activities for control in activity.controls]
        return tuple({control.name: control for control in reversed(found)}.values())[::-1]
