"""An API that is away is asked again; what it answers is the answer, whatever it is."""

from __future__ import annotations

import asyncio

import pytest

from testbed.errors import ApiError, ApiUnavailable, Forbidden
from testbed.experiment import patience
from testbed.experiment.patience import until_answered


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AGAIN_S", 0.001)


class Api:
    def __init__(self, *answers: str | ApiError) -> None:
        self.answers = list(answers)

    async def ask(self) -> str:
        answer = self.answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return answer


async def test_one_that_comes_back_is_waited_for() -> None:
    api = Api(ApiUnavailable("away"), ApiUnavailable("away"), "here")
    assert await until_answered(api.ask, asyncio.get_running_loop().time() + 60) == "here"


async def test_one_that_stays_away_is_told_and_was_asked_once_at_least() -> None:
    api = Api(ApiUnavailable("away"), "too late")
    with pytest.raises(ApiUnavailable):
        await until_answered(api.ask, asyncio.get_running_loop().time())
    assert api.answers == ["too late"]


async def test_a_refusal_is_an_answer() -> None:
    api = Api(Forbidden("no"), "not asked")
    with pytest.raises(Forbidden):
        await until_answered(api.ask, asyncio.get_running_loop().time() + 60)
    assert api.answers == ["not asked"]
