"""The python provider: a function of any module that can be imported, and its arguments."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from testbed.experiment.toolkit.failures import ActivityFailed
from testbed.experiment.toolkit.substitution import Scope

OUT_OF_BAND = ("configuration", "secrets")


def find_function(module: Any, name: Any) -> Callable[..., Any]:
    """Raises: ValueError that says what is missing."""
    if not isinstance(module, str) or not module:
        raise ValueError("a python provider needs a module")
    if not isinstance(name, str) or not name:
        raise ValueError("a python provider needs a func")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise ValueError(f"the module {module!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"the module {module!r} has no function {name!r}")
    function: Callable[..., Any] = found
    return function


def wrong_with_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """What does not fit the function's signature; "" when all does, or when it does not tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    given = dict(arguments) | {name: None for name in OUT_OF_BAND if name in signature.parameters}
    try:
        signature.bind(**given)
    except TypeError as error:
        return str(error)
    return ""


def call(provider: Mapping[str, Any], scope: Scope) -> Any:
    """What the function returns; ``provider`` has no ``${name}`` left. Blocks. Raises: ActivityFailed."""
    try:
        function = find_function(provider.get("module"), provider.get("func"))
    except ValueError as error:
        raise ActivityFailed(str(error)) from error
    arguments = dict(provider.get("arguments") or {})
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]  # a builtin that does not tell
    if "secrets" in parameters and "secrets" in provider:
        arguments["secrets"] = scope.secrets_of(provider["secrets"])
    if "configuration" in parameters:
        arguments["configuration"] = dict(scope.configuration)
    try:
        return function(**arguments)
    except Exception as error:
        raise ActivityFailed(f"{type(error).__name__}: {error}") from error
