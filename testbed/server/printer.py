"""What a printer is: the columns of a kind's table and how an object fills them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from testbed.server.human import since

Json = dict[str, Any]
Row = Callable[[Json, datetime], list[Any]]


@dataclass(frozen=True)
class Printer:
    """``columns``: names; ``*`` after a name is priority 1, ``#`` a number."""

    columns: tuple[str, ...]
    row: Row

    def definitions(self) -> list[Json]:
        return [definition(name) for name in self.columns]


def definition(name: str) -> Json:
    plain = name.rstrip("*#")
    return {"name": plain, "type": "integer" if "#" in name else "string", "format": "name" if plain == "Name" else "",
            "description": "", "priority": int("*" in name)}


def name_of(obj: Json) -> str:
    return str(obj["metadata"].get("name", ""))


def age_of(obj: Json, now: datetime) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)
