"""The one tree of errors.

Every error that a person may see is a ``TestbedError``: it says what is wrong, where, and what to do, and it
carries the exit code of the command that ends with it. Errors of libraries are translated where they enter.

    TestbedError 70
    ├── UsageError 2
    ├── InvalidInput 3            one or many Mistakes, each with file, line and field
    ├── EnvironmentProblem 4      engine, image, port, permission
    │   ├── EngineUnavailable     the engine cannot be asked: what it runs is *unknown*
    │   └── PermissionMissing
    ├── EngineError 4             the engine answered, and the answer was no
    │   ├── NoSuchContainer · NameConflict · NoSuchImage
    ├── HostError 4               a host act (signal, freezer, namespace, mount) did not work
    └── ApiError 4                an HTTP Status of the Kubernetes API
        ├── NotFound · AlreadyExists · Conflict · Invalid · Gone · Forbidden · Unauthorized · BadRequest
        ├── TooManyRequests · MethodNotAllowed · UnsupportedMediaType
        └── ApiUnavailable        no answer, or 503: what it knows is *unknown*
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


class TestbedError(Exception):
    """Base of all errors of ours. ``hint`` is the one line that mends it, where there is one."""

    __test__ = False
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(TestbedError):
    """The command line itself is wrong."""

    exit_code = 2


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong in an input: where (``file:line``, field path) and what."""

    message: str
    field: str = ""
    file: str = ""
    line: int = 0
    suggestion: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        field = f"{self.field}: " if self.field else ""
        suggestion = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        return f"{where}{field}{self.message}{suggestion}"


class InvalidInput(TestbedError):
    """A manifest, experiment, fault or flag is wrong. All mistakes are told at once and nothing was applied."""

    exit_code = 3

    def __init__(self, mistakes: Iterable[Mistake] | str, *, hint: str = "") -> None:
        self.mistakes = (Mistake(mistakes),) if isinstance(mistakes, str) else _in_order(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes), hint=hint)


def _in_order(mistakes: Iterable[Mistake]) -> tuple[Mistake, ...]:
    """File by file as they came, by line within each: as a person mends them. The same is told once."""
    unique = list(dict.fromkeys(mistakes))
    files = list(dict.fromkeys(mistake.file for mistake in unique))
    return tuple(sorted(unique, key=lambda mistake: (files.index(mistake.file), mistake.line)))


class EnvironmentProblem(TestbedError):
    """This machine lacks something: an engine, an image, a port, a permission."""

    exit_code = 4


class EngineUnavailable(EnvironmentProblem):
    """The container engine did not answer in time or at all. What it runs is unknown, not gone."""


class PermissionMissing(EnvironmentProblem):
    """The user may not do this."""


class EngineError(TestbedError):
    """The container engine refused or failed a call."""

    exit_code = 4


class NoSuchContainer(EngineError):
    """The engine does not know this container."""


class NameConflict(EngineError):
    """A container of this name exists (or is still being removed)."""


class NoSuchImage(EngineError):
    """The image is not present on the engine."""


class HostError(TestbedError):
    """A signal, freeze, namespace or mount did not work."""

    exit_code = 4


class ApiError(TestbedError):
    """A ``Status`` failure of the Kubernetes API.

    Attributes: ``code`` (HTTP), ``reason`` (Kubernetes' word), ``details`` (the Status' details, as JSON).
    """

    exit_code = 4
    code: int = 500
    reason: str = "InternalError"

    def __init__(
        self, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None, code: int | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.details: dict[str, Any] = dict(details or {})
        if code is not None:
            self.code = code
        if reason is not None:
            self.reason = reason

    def status(self) -> dict[str, Any]:
        """The ``Status`` object that says this over HTTP (kubernetes: apimachinery metav1.Status).

        ``details`` is there even when it is empty: kubectl looks into a NotFound's without asking.
        """
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "details": self.details, "code": self.code,
        }


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    """The object changed since it was read (``metadata.resourceVersion``)."""

    code, reason = 409, "Conflict"


class Invalid(ApiError):
    """The object breaks a rule; ``details.causes`` lists each field."""

    code, reason = 422, "Invalid"
    exit_code = 3


class Gone(ApiError):
    """The asked resourceVersion is too old: list again."""

    code, reason = 410, "Expired"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"
    exit_code = 3


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class TooManyRequests(ApiError):
    """Refused for now (an eviction that a budget forbids, a limit that is reached)."""

    code, reason = 429, "TooManyRequests"


class ApiUnavailable(ApiError):
    """The API did not answer, or answered 503. What it knows is unknown."""

    code, reason = 503, "ServiceUnavailable"


def api_error(status: Mapping[str, Any]) -> ApiError:
    """The error that a received ``Status`` object means.

    Args: status: the JSON of a Status with ``status: Failure``.
    """
    code, reason = int(status.get("code") or 500), str(status.get("reason") or "")
    for kind in _leaves(ApiError):
        if (kind.reason == reason) or (not reason and kind.code == code):
            return kind(str(status.get("message", "")), details=status.get("details"), code=code, reason=reason or None)
    return ApiError(str(status.get("message", "")), details=status.get("details"), code=code, reason=reason or None)


def _leaves(kind: type[ApiError]) -> Iterable[type[ApiError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _leaves(child)
