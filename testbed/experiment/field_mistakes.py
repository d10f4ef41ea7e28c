"""Fields that are wrong by themselves: what pydantic found, in words, with lines and the names that were meant."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

from testbed.api.base import field_path
from testbed.errors import Mistake
from testbed.experiment.documents import Document, Location

# What a value must be, as people call it who write YAML.
SHAPES = {
    "tuple_type": "must be a list", "list_type": "must be a list", "dict_type": "must be a mapping",
    "model_type": "must be a mapping", "model_attributes_type": "must be a mapping", "string_type": "must be a text",
}


def pydantic_mistakes(error: ValidationError, model: type[BaseModel], document: Document) -> list[Mistake]:
    """Each wrong field, with its line and, for an unknown name, the nearest known one."""
    mistakes: list[Mistake] = []
    meant: set[str] = set()
    for item in sorted(error.errors(), key=lambda item: item["type"] == "missing"):
        location: Location = tuple("json" if part == "json_" else part for part in item["loc"])
        message, suggestion = str(item["msg"]).removeprefix("Value error, "), ""
        if item["type"] == "extra_forbidden":
            known = _known_fields(model, location[:-1])
            near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.6)
            message, suggestion = "unknown field", near[0] if near else ""
            meant.add(field_path((*location[:-1], *near)))
        elif item["type"] == "missing":
            if field_path(location) in meant:
                continue  # it is there, under a misspelt name: one mistake, not two
            message = "is required"
        elif item["type"] in SHAPES:
            message = SHAPES[item["type"]]
        elif item["type"] == "too_short":
            if _has_items(document, location):
                continue  # those that are wrong are told, and pydantic does not count them
            message = f"needs at least {item['ctx']['min_length']}"
        elif item["type"] == "literal_error":
            near = difflib.get_close_matches(str(item["input"]), _literals(str(item["ctx"]["expected"])), n=1)
            message, suggestion = f"must be {item['ctx']['expected']}", near[0] if near else ""
        mistakes.append(document.mistake(location, message[:1].lower() + message[1:], suggestion=suggestion))
    return mistakes


def _has_items(document: Document, location: Location) -> bool:
    """Whether a list or a mapping with something in it stands there."""
    try:
        value = document.part(location).value
    except (LookupError, TypeError):  # an alias, or a part of a union: not there under that name
        return False
    return isinstance(value, list | dict) and bool(value)


def _literals(expected: str) -> list[str]:
    return [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]


def _known_fields(model: type[BaseModel], location: Location) -> list[str]:
    """Names of the fields of the model that stands at ``location`` inside ``model``."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = next((item for name, item in current.model_fields.items() if (item.alias or name) == part), None)
        current = _model_in(field.annotation) if field is not None else None
    return [field.alias or name for name, field in current.model_fields.items()] if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
