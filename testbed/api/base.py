"""What every view is.

The store keeps an object's JSON losslessly; a view reads from it what decisions need. A view never goes back into
the store: whoever changes an object changes its JSON. Attributes are snake_case, JSON is camelCase
(``restart_policy`` is ``restartPolicy``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from testbed.errors import InvalidInput, Mistake

Json = dict[str, Any]


class View(BaseModel):
    """A frozen, typed reading of JSON. Unknown fields are ignored here; the server judges them."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True, defer_build=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        """In Kubernetes' JSON ``null`` means that a field is not set."""
        if isinstance(value, Mapping) and any(item is None for item in value.values()):
            return {key: item for key, item in value.items() if item is not None}
        return value

    @classmethod
    def of(cls, json: Mapping[str, Any]) -> Self:
        """Reads ``json``.

        Raises: InvalidInput with one Mistake (field path, message) per wrong field.
        """
        try:
            return cls.model_validate(json)
        except ValidationError as error:
            raise InvalidInput(
                Mistake(message=item["msg"], field=field_path(item["loc"])) for item in error.errors()
            ) from error

    def json_value(self) -> Json:
        """This view as JSON, set fields only."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def field_path(location: tuple[int | str, ...]) -> str:
    """``("spec", "containers", 0, "image")`` as ``spec.containers[0].image``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
