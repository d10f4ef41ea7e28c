"""What is wrong with a Chaos Toolkit experiment, all of it at once and with lines. Nothing is run; python modules are
imported, because a function that is not there is a mistake too.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from testbed.errors import Mistake
from testbed.experiment.documents import Document, Location
from testbed.experiment.toolkit import processes, python, tolerance
from testbed.experiment.toolkit.substitution import Scope
from testbed.experiment.toolkit.values import (
    DRY,
    HYPOTHESIS_STRATEGIES,
    MISSPELT,
    ROLLBACK_STRATEGIES,
)

ACTIVITY_TYPES = ("probe", "action")
PROVIDER_TYPES = ("process", "http", "python")


def check(document: Document, scope: Scope) -> Iterator[Mistake]:
    """All mistakes of the experiment. ``scope``: what is known of its configuration without running anything."""
    value = document.value
    for key in ("title", "description"):
        if not isinstance(value.get(key), str) or not value[key].strip():
            yield document.mistake((key,), "is required")
    if "method" not in value:
        yield document.mistake(("method",), "is required; it may be empty: []")
    yield from _check_runtime(document)
    tags = value.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        yield document.mistake(("tags",), "must be a list of texts that are not empty")
    if not all(isinstance(item, dict) and item.get("name") for item in _list(value.get("extensions"))):
        yield document.mistake(("extensions",), "must be a list of mappings with a name")
    yield from _check_hypothesis(document, scope)
    for part in ("method", "rollbacks"):
        yield from _check_activities(document, (part,), scope)
    configuration = value.get("configuration")
    for name, item in configuration.items() if isinstance(configuration, dict) else ():
        if isinstance(item, dict) and item.get("type") == "probe":
            yield from _check_activity(document, ("configuration", name), scope, named=False)
    yield from _check_controls(document, ())


def names_of(value: Any) -> dict[str, Any]:
    """What a ``ref`` can name: activities of the method and probes of the hypothesis, by name."""
    hypothesis = value.get("steady-state-hypothesis")
    probes = hypothesis.get("probes") if isinstance(hypothesis, dict) else ()
    found = [*_list(value.get("method")), *_list(probes)]
    return {str(item["name"]): item for item in found if isinstance(item, dict) and item.get("name")}


def _check_runtime(document: Document) -> Iterator[Mistake]:
    runtime = document.value.get("runtime")
    if runtime is None:
        return
    if not isinstance(runtime, dict):
        yield document.mistake(("runtime",), "expected a mapping")
        return
    for part, known in (("hypothesis", (*HYPOTHESIS_STRATEGIES, *MISSPELT)), ("rollbacks", ROLLBACK_STRATEGIES)):
        settings = runtime.get(part) or {}
        strategy = settings.get("strategy", "default") if isinstance(settings, dict) else settings
        if strategy not in known:
            yield document.mistake(("runtime", part, "strategy"),
                                   f"must be one of {', '.join(known)}, is {strategy!r}")


def _check_hypothesis(document: Document, scope: Scope) -> Iterator[Mistake]:
    at: Location = ("steady-state-hypothesis",)
    hypothesis = document.value.get(at[0])
    if hypothesis is None:
        return
    if not isinstance(hypothesis, dict):
        yield document.mistake(at, "expected a mapping with title and probes")
        return
    if not hypothesis.get("title"):
        yield document.mistake((*at, "title"), "is required")
    yield from _check_activities(document, (*at, "probes"), scope)
    yield from _check_controls(document, at)
    for index, probe in enumerate(_list(hypothesis.get("probes"))):
        place: Location = (*at, "probes", index)
        if not isinstance(probe, dict):
            continue
        if "tolerance" not in probe:
            yield document.mistake((*place, "tolerance"), "is required of a probe of the hypothesis")
        else:
            yield from _check_tolerance(document, (*place, "tolerance"), probe["tolerance"], scope)


def _check_tolerance(document: Document, at: Location, value: Any, scope: Scope) -> Iterator[Mistake]:
    for key, problem in tolerance.wrong_with(value):
        yield document.mistake((*at, key) if key else at, problem)
    if not isinstance(value, dict) or value.get("type") != "probe":
        return
    provider = value.get("provider")
    arguments = provider.get("arguments") if isinstance(provider, dict) else None
    if arguments is not None and not isinstance(arguments, dict):
        yield document.mistake((*at, "provider", "arguments"), "must be a mapping: the value to judge is put into it")
        return
    yield from _check_activity(document, at, scope, more=("value",))


# --- activities


def _check_activities(document: Document, at: Location, scope: Scope) -> Iterator[Mistake]:
    found: Any = document.value
    for key in at:
        found = found.get(key)
    if found is None:
        return
    if not isinstance(found, list):
        yield document.mistake(at, "expected a list of activities")
        return
    for index in range(len(found)):
        yield from _check_activity(document, (*at, index), scope)


def _check_activity(
    document: Document, at: Location, scope: Scope, *, named: bool = True, more: Sequence[str] = ()
) -> Iterator[Mistake]:
    activity = document.part(at).value
    if not isinstance(activity, dict) or not activity:
        yield document.mistake(at, "expected an activity: type, name, provider")
        return
    if "ref" in activity:
        if activity["ref"] not in names_of(document.value):
            yield document.mistake((*at, "ref"),
                                   f"there is no activity {activity['ref']!r} in the method or the hypothesis")
        return
    if activity.get("type") not in ACTIVITY_TYPES:
        problem = f"must be probe or action, is {activity['type']!r}" if "type" in activity else "is required"
        yield document.mistake((*at, "type"), problem)
    if named and not activity.get("name"):
        yield document.mistake((*at, "name"), "is required")
    if not isinstance(activity.get("background", False), bool):
        yield document.mistake((*at, "background"), "must be true or false")
    yield from _check_pauses(document, at, activity.get("pauses"))
    dry = activity.get("dry")
    if dry is not None and not isinstance(dry, bool) and dry not in DRY:
        yield document.mistake((*at, "dry"), f"must be true, false or one of {', '.join(filter(None, DRY))}")
    yield from _check_controls(document, at)
    if "tolerance" in activity and at[0] != "steady-state-hypothesis":
        yield from _check_tolerance(document, (*at, "tolerance"), activity["tolerance"], scope)
    yield from _check_provider(document, (*at, "provider"), activity.get("provider"), scope, more)


def _check_pauses(document: Document, at: Location, pauses: Any) -> Iterator[Mistake]:
    if pauses is None:
        return
    if not isinstance(pauses, dict):
        yield document.mistake((*at, "pauses"), "expected a mapping with before and after")
        return
    for key in ("before", "after"):
        value = pauses.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_name = isinstance(value, str) and value.startswith("${") and value.endswith("}")
        if value is not None and not is_number and not is_name:
            yield document.mistake((*at, "pauses", key), "must be seconds as a number, or ${name}")


def _check_provider(document: Document, at: Location, provider: Any, scope: Scope, more: Sequence[str]
                    ) -> Iterator[Mistake]:
    if not isinstance(provider, dict) or not provider:
        yield document.mistake(at, "is required: type process, http or python")
        return
    kind = provider.get("type")
    if kind not in PROVIDER_TYPES:
        yield document.mistake((*at, "type"), f"must be one of {', '.join(PROVIDER_TYPES)}, is {kind!r}")
        return
    timeout = provider.get("timeout")
    if timeout is not None and not _is_timeout(timeout, pair=kind == "http"):
        yield document.mistake((*at, "timeout"), "must be seconds" + (" or [connect, read]" if kind == "http" else ""))
    checks = {"process": _check_process, "http": _check_http, "python": _check_python}
    for key, problem in checks[kind](scope.fill(provider), more):
        yield document.mistake((*at, key), problem)


def _is_timeout(value: Any, *, pair: bool) -> bool:
    if isinstance(value, str):
        return "${" in value
    if pair and isinstance(value, list):
        return len(value) == 2 and all(_is_timeout(item, pair=False) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _check_process(provider: dict[str, Any], more: Sequence[str]) -> Iterator[tuple[str, str]]:
    path, arguments = provider.get("path"), provider.get("arguments")
    if not isinstance(path, str) or not path:
        yield "path", "is required"
    elif "${" not in path:
        try:
            processes.find_program(path)
        except ValueError as error:
            yield "path", str(error)
    if isinstance(arguments, str) and "${" not in arguments:
        try:
            processes.argument_list(arguments)
        except ValueError as error:
            yield "arguments", str(error)
    elif arguments is not None and not isinstance(arguments, str | list | dict):
        yield "arguments", "must be a list of arguments"


def _check_http(provider: dict[str, Any], more: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not isinstance(provider.get("url"), str) or not provider["url"]:
        yield "url", "is required"
    if not isinstance(provider.get("headers") or {}, dict):
        yield "headers", "must be a mapping"


def _check_python(provider: dict[str, Any], more: Sequence[str]) -> Iterator[tuple[str, str]]:
    arguments = provider.get("arguments") or {}
    if not isinstance(arguments, dict):
        yield "arguments", "must be a mapping of names to values"
        return
    try:
        function = python.find_function(provider.get("module"), provider.get("func"))
    except ValueError as error:
        yield "func" if provider.get("module") and "no function" in str(error) else "module", str(error)
        return
    problem = python.wrong_with_arguments(function, {**arguments, **{name: None for name in more}})
    if problem:
        yield "arguments", problem


# --- controls


def _check_controls(document: Document, at: Location) -> Iterator[Mistake]:
    controls = document.part(at).value.get("controls")
    top = {item.get("name") for item in _list(document.value.get("controls")) if isinstance(item, dict)}
    if controls is not None and not isinstance(controls, list):
        yield document.mistake((*at, "controls"), "expected a list of controls")
        return
    for index, control in enumerate(controls or ()):
        place: Location = (*at, "controls", index)
        if not isinstance(control, dict):
            yield document.mistake(place, "expected a control: name, provider")
        elif "ref" in control:
            if control["ref"] not in top:
                yield document.mistake((*place, "ref"), f"there is no control {control['ref']!r} at the top")
        else:
            for key, problem in wrong_with_control(control):
                yield document.mistake((*place, *key), problem)


def wrong_with_control(control: dict[str, Any]) -> Iterator[tuple[Location, str]]:
    """(where, what) of one control. A module that is not there is a mistake: its safeguards would be missing."""
    if not control.get("name"):
        yield ("name",), "is required"
    if control.get("scope") not in (None, "", "before", "after"):
        yield ("scope",), f"must be before or after, is {control['scope']!r}"
    provider = control.get("provider")
    if not isinstance(provider, dict) or provider.get("type") != "python" or not provider.get("module"):
        yield ("provider",), "must be of type python, with a module"
        return
    try:
        module = importlib.import_module(str(provider["module"]))
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        yield ("provider", "module"), f"{provider['module']!r} cannot be imported: {type(error).__name__}: {error}"
        return
    if not isinstance(provider.get("arguments") or {}, dict):
        yield ("provider", "arguments"), "must be a mapping"
        return
    validate = getattr(module, "validate_control", None)
    try:
        if validate is not None:
            validate(control)
    except Exception as error:
        yield (), f"refuses itself: {error}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
