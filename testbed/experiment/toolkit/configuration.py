"""Configuration and secrets of an experiment: literals, the environment, Vault. What a name stands for is settled here
once, before anything is done; probes that give configuration are run by ``running.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from testbed.errors import Mistake
from testbed.experiment.documents import Document, Location
from testbed.experiment.toolkit.variables import converted

Json = dict[str, Any]
VaultReader = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


def is_dynamic(value: Any) -> bool:
    """Whether a configuration value is a probe, whose answer is the value."""
    return isinstance(value, dict) and value.get("type") == "probe"


def load_configuration(
    document: Document, overrides: Mapping[str, Any], environment: Mapping[str, str], mistakes: list[Mistake]
) -> Json:
    """The values by name; probes are left as they are written. ``overrides``: of the command line."""
    found: Json = {}
    for name, declared in _mapping(document, ("configuration",), mistakes).items():
        value = overrides.get(name, declared)
        if isinstance(value, dict) and value.get("type") == "env":
            at: Location = ("configuration", name)
            found[name] = _from_environment(value, environment, document, at, mistakes)
        else:
            found[name] = value
    return found


def load_secrets(
    document: Document, overrides: Mapping[str, Any], environment: Mapping[str, str], configuration: Mapping[str, Any],
    mistakes: list[Mistake], vault: VaultReader | None = None,
) -> Json:
    """Groups of values. Without ``vault``, what is in Vault is left out: it is only asked when the experiment runs."""
    found: Json = {}
    for group, declared in _mapping(document, ("secrets",), mistakes).items():
        found[group] = _secret(declared, overrides.get(group), environment, configuration, vault, document,
                               ("secrets", group), mistakes)
    return found


def hidden(secrets: Any) -> Any:
    """Secrets as they may stand in a journal: where they come from, not what they are."""
    if isinstance(secrets, dict):
        if secrets.get("type") in ("env", "vault"):
            return secrets
        return {key: hidden(value) for key, value in secrets.items()}
    return "***"


def _mapping(document: Document, at: Location, mistakes: list[Mistake]) -> Json:
    value = document.value.get(at[0])
    if value is None:
        return {}
    if not isinstance(value, dict):
        mistakes.append(document.mistake(at, "expected a mapping"))
        return {}
    return value


def _from_environment(
    value: Mapping[str, Any], environment: Mapping[str, str], document: Document, at: Location,
    mistakes: list[Mistake],
) -> Any:
    key = value.get("key")
    if not isinstance(key, str) or not key:
        mistakes.append(document.mistake((*at, "key"), "is required: the name of an environment variable"))
        return None
    if key not in environment and "default" not in value:
        mistakes.append(document.mistake(at, f"the environment has no variable {key}, and there is no default"))
        return None
    try:
        return converted(value.get("env_var_type"), environment.get(key, value.get("default")))
    except ValueError as error:
        mistakes.append(document.mistake(at, f"{key}: {error}"))
        return None


def _secret(
    value: Any, override: Any, environment: Mapping[str, str], configuration: Mapping[str, Any],
    vault: VaultReader | None, document: Document, at: Location, mistakes: list[Mistake],
) -> Any:
    """One secret, or a group of them."""
    if override is not None and not isinstance(override, dict):
        return override
    if override is not None and (not isinstance(value, dict) or "type" in value or "type" in override):
        value, override = override, None
    if not isinstance(value, dict):
        return value
    if value.get("type") == "env":
        return _from_environment({"key": value.get("key")}, environment, document, at, mistakes)
    if value.get("type") == "vault":
        if not isinstance(value.get("path"), str):
            mistakes.append(document.mistake((*at, "path"), "is required: where the secret lies in Vault"))
        return vault(value, configuration) if vault is not None else None
    more = override or {}
    return {key: _secret(item, more.get(key), environment, configuration, vault, document, (*at, key), mistakes)
            for key, item in {**value, **{key: item for key, item in more.items() if key not in value}}.items()}
