"""``${name}`` in an experiment: replaced by configuration first, then by any group of secrets. Pure.

A text that is nothing but ``${name}`` becomes the value with its type; a name that nobody knows stays as it is.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Any


@dataclass(frozen=True)
class Scope:
    """What can be referred to. ``secrets``: group -> key -> value. Controls share both, and may change them."""

    configuration: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, Any] = field(default_factory=dict)

    def fill(self, value: Any) -> Any:
        """A copy of ``value`` with every name replaced, at any depth."""
        if not self.configuration and not self.secrets:
            return value
        groups = [group for group in self.secrets.values() if isinstance(group, dict)]
        return _filled(value, ChainMap(self.configuration, *groups))

    def secrets_of(self, groups: Any) -> dict[str, Any]:
        """The keys of these groups in one mapping, as a python provider gets them."""
        found: dict[str, Any] = {}
        for group in groups or ():
            held = self.secrets.get(str(group))
            found |= held if isinstance(held, dict) else {}
        return found


def _filled(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return _filled_text(value, names)
    if isinstance(value, dict):
        return {key: _filled(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, names) for item in value]
    return value


def _filled_text(text: str, names: Mapping[str, Any]) -> Any:
    alone = Template.pattern.fullmatch(text)
    if alone is not None and alone["braced"] in names:
        return names[alone["braced"]]
    return Template(text).safe_substitute(names)
