"""What all values of a result have in common."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Value(BaseModel):
    """A frozen value with camelCase JSON."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, defer_build=True,
        ser_json_inf_nan="null",
    )

    def to_json(self) -> dict[str, Any]:
        # Through text: there, what is not a number becomes null, which JSON has; NaN it has not.
        value: dict[str, Any] = json.loads(self.model_dump_json(by_alias=True))
        return value

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Raises: pydantic.ValidationError (a ValueError) when it is not this value."""
        return cls.model_validate(value)
