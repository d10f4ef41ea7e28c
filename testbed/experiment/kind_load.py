"""The load of an experiment: pulse targets and Locust. Arrival-rate stages have the words of k6's ramping-arrival-rate
(``startRate``, ``stages: [{target, duration}]``), Locust's fields those of its options."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from testbed.errors import UsageError
from testbed.experiment.durations import Duration
from testbed.experiment.kind_strict import NAME_PATTERN, Aim, Strict
from testbed.load.ask import Ask
from testbed.load.profile import Profile, Stage

HIGHEST_RATE = 2000  # requests per second of one target: one process, below its 80 % of a core
_OF_HTTP = ("path", "host", "ingress", "method", "headers", "body", "status", "keep_alive")
_OF_TCP = ("send", "expect")

Statuses = Annotated[tuple[Annotated[int, Field(ge=100, le=599)], ...],
                     BeforeValidator(lambda value: (value,) if isinstance(value, int) else value)]


class StageSpec(Strict):
    """The rate goes linearly to ``target`` within ``duration``; with a duration of 0 it jumps there."""

    target: float = Field(ge=0, le=HIGHEST_RATE, description="Requests per second at the end of the stage.")
    duration: Duration


class PulseSpec(Aim):
    """Open-loop requests that leave on schedule whatever happens. Recovery is measured by them."""

    name: str = Field(default="", pattern=rf"{NAME_PATTERN}|^$", description="The Service's or Ingress's when absent.")
    port: int | None = Field(default=None, ge=1, le=65535, description="The Service's first port when absent.")
    protocol: Literal["http", "tcp"] = Field(
        default="http", description="tcp: a connection is enough, or send and expect say more.")
    path: str = Field(default="/", pattern=r"^/", description="{index} in it is the arrival's number.")
    rate: float = Field(default=100, gt=0, le=HIGHEST_RATE, description="Requests per second.")
    start_rate: float | None = Field(default=None, gt=0, le=HIGHEST_RATE, description="With stages, instead of rate: "
                                     "the rate until the method begins.")
    stages: tuple[StageSpec, ...] = Field(default=(), description="How the rate changes from the moment the method "
                                          "begins; the last target is held.")
    deadline: Duration = Field(default=1.0, description="An answer later than this counts as failed.")
    keep_alive: bool = Field(default=False, description="Also run a second stream over kept connections.")
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    body: str = Field(default="", description="{index} in it is the arrival's number, {stream} the stream's name.")
    status: Statuses = Field(default=(), description="The right statuses; any 2xx or 3xx when absent.")
    send: str = Field(default="", description="tcp: what is sent.")
    expect: str = Field(default="", description="tcp: what the answer must contain.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wrong = [name for name in (_OF_HTTP if self.protocol == "tcp" else _OF_TCP) if name in self.model_fields_set]
        if wrong:
            other = "http" if self.protocol == "tcp" else "tcp"
            raise ValueError(f"{type(self).model_fields[wrong[0]].alias} is for protocol {other}")
        if bool(self.stages) != (self.start_rate is not None):
            raise ValueError("startRate and stages belong together: the rate before the method, and how it changes")
        if self.stages and "rate" in self.model_fields_set:
            raise ValueError("has both rate and stages; keep one")
        try:
            self.ask("127.0.0.1:80").address()
        except UsageError as error:
            raise ValueError(error.message) from error
        return self

    @property
    def called(self) -> str:
        return self.name or self.service or self.ingress

    @property
    def profile(self) -> Profile:
        """Its arrivals; the stages count from the moment the method begins."""
        stages = tuple(Stage(stage.target, stage.duration) for stage in self.stages)
        return Profile(self.rate if self.start_rate is None else self.start_rate, stages)

    def ask(self, address: str, host: str = "") -> Ask:
        """Its request to ``address`` (``host:port``)."""
        url = f"tcp://{address}" if self.protocol == "tcp" else f"http://{address}{self.path}"
        return Ask(url, host=host, method=self.method, headers=tuple(self.headers.items()), body=self.body,
                   send=self.send, expect=self.expect)


class WorkersSpec(Strict):
    """Locust workers that are started elsewhere and join. Their clocks are other clocks: only counts are taken."""

    expect: int = Field(ge=1, le=1000, description="How many must have joined before the load begins.")
    bind: str = Field(default="127.0.0.1:5557", pattern=r"^[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}$",
                      description="Where the master listens for them. It asks for no password, and sends the "
                      "locustfile to whoever joins: loopback, or a network you trust.")
    within: Duration = Field(default=60.0, description="How long they are waited for.")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.bind.rpartition(":")
        return host.strip("[]"), int(port)


class LocustSpec(Strict):
    """A locustfile, unchanged, as the realistic load."""

    file: str
    users: int = Field(default=10, ge=1, le=10_000)
    spawn_rate: float = Field(default=10, gt=0)
    service: str = Field(default="", description="The Service to aim at; the pulse's when absent.")
    port: int | None = Field(default=None, ge=1, le=65535)
    processes: int | None = Field(default=None, ge=1, le=64, description="Locust's --processes: so many local workers.")
    workers: WorkersSpec | None = Field(default=None, description="Workers on other machines, instead of processes.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.processes is not None and self.workers is not None:
            raise ValueError("has both processes and workers; workers can be started on this machine too")
        return self


class _OneOrMany:
    """One object or a list of them; always a tuple to the code. A mistake is told at the place where it stands."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def take(value: Any, rest: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if value is None:
                return ()
            return (PulseSpec.model_validate(value),) if isinstance(value, dict) else rest(value)

        return core_schema.no_info_wrap_validator_function(take, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        many = handler(schema["schema"])
        return {"anyOf": [many["items"], many, {"type": "null"}]}


class LoadSpec(Strict):
    pulses: Annotated[tuple[PulseSpec, ...], _OneOrMany()] = Field(
        default=(), alias="pulse", description="One target or a list of them. Recovery is computed from the first, "
                                               "unless a step names another.")
    locust: LocustSpec | None = None

    @property
    def pulse(self) -> PulseSpec | None:
        """The first target."""
        return self.pulses[0] if self.pulses else None

    @model_validator(mode="after")
    def _names(self) -> Self:
        twice = [name for name, count in Counter(pulse.called for pulse in self.pulses).items() if count > 1]
        if twice:
            raise ValueError(f"two pulse targets are called {twice[0]!r}; give each a name")
        return self
