"""What the parts of an experiment have in common: they are strict, and some are aimed at a Service or an Ingress."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"


class Strict(BaseModel):
    """A frozen part of an experiment. Unknown fields are mistakes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=False, defer_build=True,
    )

    def one_of(self, names: tuple[str, ...]) -> str:
        """The one field of ``names`` that is set. Raises: ValueError otherwise."""
        found = [name for name in names if getattr(self, name) is not None]
        if len(found) != 1:
            told = ", ".join(to_camel(name) for name in names)
            raise ValueError(f"needs exactly one of {told}" + (f"; has {', '.join(found)}" if found else ""))
        return found[0]


class Aim(Strict):
    """What requests are aimed at: a Service, or an Ingress."""

    service: str = ""
    ingress: str = Field(default="", description="An Ingress instead of a Service.")
    host: str = Field(default="", pattern=r"^[A-Za-z0-9.:-]*$",
                      description="The Host header; of an Ingress its first rule's host when absent.")

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if bool(self.service) == bool(self.ingress):
            raise ValueError("needs exactly one of service, ingress")
        return self
