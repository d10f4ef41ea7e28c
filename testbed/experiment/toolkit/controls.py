"""Controls: functions of the user's around the experiment, its hypothesis, method, rollbacks and activities, and around
the reading of its file, by the names that Chaos Toolkit gives them.

One that fails does not stop the experiment, but it is told; one that raises ``InterruptExecution`` ends it.
"""

from __future__ import annotations

import asyncio
import copy
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from testbed.experiment.toolkit.failures import ControlInterrupted, asks_to_interrupt
from testbed.experiment.toolkit.substitution import Scope
from testbed.experiment.toolkit.threads import in_thread
from testbed.experiment.toolkit.values import Control, Json

Level = Literal["experiment", "hypothesis", "method", "rollback", "activity", "loader"]
Tell = Callable[[str], None]
HURRIED_S = 10.0


def function_name(level: Level, when: str) -> str:
    return f"{when}_loading_experiment_control" if level == "loader" else f"{when}_{level}_control"


def chosen(level: Level, own: Sequence[Control], top: Sequence[Control], everywhere: Sequence[Control]
           ) -> list[Control]:
    """The controls of one part of an experiment, in the order in which they are applied.

    Args: own: declared at the part itself. top: of the experiment. everywhere: of ``--control-file``.
    """
    if level in ("experiment", "loader"):
        return [*everywhere, *own]
    names = {control.name for control in own}
    return [*(control for control in top if control.automatic and control.name not in names), *everywhere, *own]


class Controls:
    """``problems``: what went wrong with them, in words; each is told once."""

    def __init__(
        self, top: Sequence[Control], everywhere: Sequence[Control], experiment: Json, scope: Scope, tell: Tell,
        limit_s: float,
    ) -> None:
        self._top, self._everywhere = top, everywhere
        self._experiment, self._scope, self._tell = experiment, scope, tell
        self._refused: set[str] = set()
        self._limit_s = limit_s
        self.problems: list[str] = []

    def hurry(self) -> None:
        """The run was interrupted: nothing waits long for a control any more."""
        self._limit_s = min(self._limit_s, HURRIED_S)

    async def configure(self, controls: Sequence[Control]) -> None:
        """``configure_control`` of each; one that fails is not applied, as upstream."""
        for control in controls:
            if not await self._call(control, "configure_control"):
                self._refused.add(control.name)

    async def clean_up(self, controls: Sequence[Control]) -> None:
        for control in controls:
            await self._call(control, "cleanup_control", bare=True)

    async def apply(
        self, level: Level, when: str, context: Any, own: Sequence[Control] = (), state: Any = None
    ) -> None:
        """Raises: ControlInterrupted."""
        for control in chosen(level, own, self._top, self._everywhere):
            if control.name not in self._refused and control.scope in ("", when):
                await self._call(control, function_name(level, when), context=context, state=state)

    async def _call(self, control: Control, name: str, *, bare: bool = False, **given: Any) -> bool:
        """Calls a function where the module has it. False: it failed."""
        try:
            function = getattr(importlib.import_module(control.module), name, None)
            if function is None:
                return True
            arguments = {} if bare else self._arguments(control, function, given)
            await asyncio.wait_for(in_thread(lambda: function(**arguments)), self._limit_s)
        except Exception as error:
            if asks_to_interrupt(error):
                raise ControlInterrupted(f"control {control.name}: {error}") from error
            why = f"took longer than {self._limit_s:g} s" if isinstance(error, TimeoutError) else repr(error)
            problem = f"control {control.name}: {name} failed: {why}"
            if problem not in self.problems:
                self.problems.append(problem)
                self._tell(problem)
            return False
        return True

    def _arguments(self, control: Control, function: Callable[..., Any], given: Mapping[str, Any]) -> Json:
        """What its signature asks for, beside its own arguments. There are no settings and no event registry here."""
        offered = {
            "experiment": self._experiment, "configuration": self._scope.configuration, "secrets": self._scope.secrets,
            "settings": {}, "event_registry": None, "extensions": self._experiment.get("extensions"), "state": None,
        } | dict(given)
        parameters = inspect.signature(function).parameters
        takes_all = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
        arguments: Json = self._scope.fill(copy.deepcopy(control.arguments))
        arguments |= {name: value for name, value in offered.items() if name in parameters}
        if "context" in given and (takes_all or "context" in parameters):
            arguments["context"] = given["context"]
        return arguments
