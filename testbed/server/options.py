"""How a caller wants a write or list done, and what a list answers."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field

from testbed.errors import BadRequest
from testbed.store import Stored

FIELD_VALIDATIONS = ("Ignore", "Warn", "Strict")


@dataclass(frozen=True)
class WriteOptions:
    """``warnings`` collects what the caller should be told (HTTP Warning headers). ``duplicates``: paths of keys that
    the body held twice."""

    field_validation: str = "Ignore"
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """One consistent answer. ``next``: token of the next page, ``remaining``: items not shown."""

    items: list[Stored]
    revision: int
    next: str = ""
    remaining: int = 0


@dataclass(frozen=True)
class Page:
    """Where a paged list goes on: the revision that it began at, and the last key shown."""

    revision: int
    namespace: str
    name: str

    def token(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.revision, self.namespace, self.name]).encode()).decode()

    @classmethod
    def parse(cls, token: str) -> Page:
        """Raises: BadRequest when the token is not one of ours."""
        try:
            revision, namespace, name = json.loads(base64.urlsafe_b64decode(token.encode()))
            return cls(int(revision), str(namespace), str(name))
        except (ValueError, TypeError, binascii.Error):
            raise BadRequest("continue key is not valid") from None


def check_field_validation(text: str) -> str:
    """Raises: BadRequest."""
    if text not in FIELD_VALIDATIONS:
        raise BadRequest(f'invalid fieldValidation {text!r}: must be one of {", ".join(FIELD_VALIDATIONS)}')
    return text
