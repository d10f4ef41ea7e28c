"""Whatever the API does to what a run tells of itself, the run notices nothing, and what was missed comes later."""

from __future__ import annotations

import asyncio

import pytest
from publishing_world import Runner, Scene, virtual

from testbed.api.experiment_status import PHASES
from testbed.errors import ApiError, ApiUnavailable, Conflict, Forbidden, TooManyRequests
from testbed.experiment.publishing import FINAL_S


@pytest.mark.parametrize("way", ["slow", "frozen", "gone", "broken"])
def test_whatever_the_api_does_the_run_waits_for_nothing_and_what_was_missed_comes_with_the_next(way: str) -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        await asyncio.sleep(1.5)

        async def behave() -> None:
            if way == "slow":
                await asyncio.sleep(3.0)
            elif way == "frozen":
                await asyncio.sleep(10.0)
                raise ApiUnavailable("no answer in time")
            elif way == "gone":
                raise ApiUnavailable("refused")
            else:
                raise ApiError("a bug", code=500)

        scene.api.behave = behave
        before = scene.loop.time()
        runner = Runner()
        scene.run.follow(runner)  # type: ignore[arg-type]
        for phase in PHASES:
            runner.repetition.enter(phase)
        assert scene.loop.time() == before, "nothing of it is waited for"
        await asyncio.sleep(12.0)
        scene.api.behave = None
        await asyncio.sleep(11.0)
        assert scene.api.status["run"]["phase"] == "converge"

    virtual(story)


def test_the_last_one_is_tried_again_while_the_api_comes_back() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        await asyncio.sleep(1.5)
        back_at = scene.loop.time() + 2.0

        async def away() -> None:
            if scene.loop.time() < back_at:
                raise ApiUnavailable("refused")

        scene.api.behave = away
        await scene.run.end("passed", "", 0)
        assert scene.loop.time() - back_at < 1.0
        assert (scene.api.status["phase"], scene.api.status["verdict"], scene.api.status["exitCode"]) == (
            "Finished", "passed", 0)

    virtual(story)


@pytest.mark.parametrize("error", [ApiUnavailable("refused"), Forbidden("no"), None])
def test_an_end_that_cannot_be_written_holds_up_nobody_for_long(error: ApiError | None) -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        await asyncio.sleep(1.5)

        async def behave() -> None:
            if error is not None:
                raise error
            await asyncio.Event().wait()

        scene.api.behave = behave
        before = scene.loop.time()
        await scene.run.end("passed", "", 0)
        took_s = scene.loop.time() - before
        assert took_s <= FINAL_S + 0.01 and (not isinstance(error, Forbidden) or took_s < 0.5)
        await asyncio.sleep(5.0)
        assert all(not task.get_name().startswith("published") for task in asyncio.all_tasks())

    virtual(story)


def test_a_cluster_that_will_not_have_it_is_not_asked_again_and_again() -> None:
    async def story(scene: Scene) -> None:
        async def refuse() -> None:
            raise Forbidden("no")

        scene.api.behave = refuse
        scene.run.begin()
        await asyncio.sleep(60.0)
        assert len(scene.api.asked) == 1
        before = scene.loop.time()
        await scene.run.end("passed", "", 0)
        assert scene.loop.time() == before

    virtual(story)


@pytest.mark.parametrize("error", [TooManyRequests("later"), Conflict("changed"), ApiError("a bug", code=500)])
def test_a_first_refusal_that_passes_does_not_end_it_for_the_whole_run(error: ApiError) -> None:
    async def story(scene: Scene) -> None:
        async def refuse() -> None:
            raise error

        scene.api.behave = refuse
        scene.run.begin()
        await asyncio.sleep(5.0)
        scene.api.behave = None
        await asyncio.sleep(1.5)
        assert scene.api.status["phase"] == "Running"

    virtual(story)


def test_an_object_that_somebody_removed_is_made_again_whole() -> None:
    async def story(scene: Scene) -> None:
        scene.run.begin()
        await asyncio.sleep(1.5)
        scene.api.objects.clear()
        await asyncio.sleep(3.0)
        assert scene.api.status["experiment"] == "small" and scene.api.status["run"]["of"] == 2

    virtual(story)
