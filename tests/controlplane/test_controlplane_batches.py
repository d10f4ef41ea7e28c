"""Pods are made in growing batches, so that what is refused is not asked for five hundred times."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from testbed.controlplane.pod_controller import in_growing_batches
from testbed.errors import ApiError, Forbidden


@given(st.integers(0, 40), st.integers(0, 60))
async def test_a_refusal_ends_it_after_its_batch(number: int, first_refused: int) -> None:
    begun: list[int] = []
    refusal = Forbidden("exceeded quota")

    def act(index: int) -> Callable[[], Awaitable[ApiError | None]]:
        async def do() -> ApiError | None:
            begun.append(index)
            return refusal if index >= first_refused else None

        return do

    outcome = await in_growing_batches([act(index) for index in range(number)])
    assert begun == list(range(len(begun)))
    if first_refused >= number:
        assert outcome is None
        assert len(begun) == number
    else:
        assert outcome is refusal
        assert len(begun) <= 2 * first_refused + 1  # batches of 1, 2, 4 and so on
