"""All mistakes of an object, collected, then raised as one 422 in upstream's words.

Sources of the wording: kubernetes apimachinery pkg/util/validation/field/errors.go, pkg/api/errors.NewInvalid.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from testbed.errors import Invalid


class Causes:
    """``field`` is a path such as ``spec.containers[0].name``."""

    def __init__(self) -> None:
        self.items: list[dict[str, str]] = []

    def __bool__(self) -> bool:
        return bool(self.items)

    def required(self, field: str, detail: str = "") -> None:
        self._add("FieldValueRequired", field, "Required value" + (f": {detail}" if detail else ""))

    def invalid(self, field: str, value: Any, detail: str) -> None:
        self._add("FieldValueInvalid", field, f"Invalid value: {_shown(value)}: {detail}")

    def omitted(self, field: str, detail: str) -> None:
        """Invalid, without showing the value."""
        self._add("FieldValueInvalid", field, f"Invalid value: {detail}")

    def too_many(self, field: str, count: int, most: int) -> None:
        self._add("FieldValueTooMany", field, f"Too many: {count}: must have at most {most} items")

    def too_long(self, field: str, most: int) -> None:
        self._add("FieldValueTooLong", field, f"Too long: may not be more than {most} bytes")

    def type_invalid(self, field: str, value: Any, detail: str) -> None:
        self._add("FieldValueTypeInvalid", field, f"Invalid value: {_shown(value)}: {detail}")

    def not_supported(self, field: str, value: Any, supported: Iterable[str]) -> None:
        shown = ", ".join(f'"{item}"' for item in sorted(supported))
        self._add("FieldValueNotSupported", field, f"Unsupported value: {_shown(value)}: supported values: {shown}")

    def duplicate(self, field: str, value: Any) -> None:
        self._add("FieldValueDuplicate", field, f"Duplicate value: {_shown(value)}")

    def forbidden(self, field: str, detail: str) -> None:
        self._add("FieldValueForbidden", field, f"Forbidden: {detail}")

    def not_found(self, field: str, value: Any) -> None:
        self._add("FieldValueNotFound", field, f"Not found: {_shown(value)}")

    def _add(self, reason: str, field: str, message: str) -> None:
        self.items.append({"reason": reason, "message": message, "field": field})

    def raise_if_any(self, kind: str, group: str, name: str) -> None:
        """Raises: Invalid with every cause collected."""
        if not self.items:
            return
        told = [f"{item['field']}: {item['message']}" for item in self.items]
        body = told[0] if len(told) == 1 else "[" + ", ".join(told) + "]"
        full_kind = f"{kind}.{group}" if group else kind
        raise Invalid(f'{full_kind} "{name}" is invalid: {body}',
                      details={"name": name, "group": group, "kind": kind, "causes": self.items})


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + "..."
