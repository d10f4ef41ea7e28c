"""What our own processes write while a fault is injected and healed: by the victim's id it is one story, from the
choice of the victim to the rotation that is whole again, and none of it is about anybody else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from faults.kinds import NODE_CHAOS, POD_CHAOS
from testbed.api.log_lines import LogLine, of_text
from testbed.api.process_logs import JsonLines
from testbed.api.resources import PODS, ResourceType
from testbed.cli.log_about import Trail
from testbed.simulation.workloads import SECRET
from testbed.simulation.world import World, is_true

Run = Callable[..., Any]


class Written(logging.Handler):
    """All lines of all simulated processes."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(JsonLines("simulated", {}))
        self.lines: list[LogLine] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(of_text(self.format(record), "simulated"))

    def about(self, word: str) -> list[LogLine]:
        trail = Trail(word)
        return [line for line in self.lines if trail.takes(line)]


@pytest.fixture
def written() -> Iterator[Written]:
    handler, root = Written(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


async def hurt(world: World, resource: ResourceType, name: str, **spec: Any) -> None:
    """Injects it, and waits until nothing of it is left."""
    await world.create(resource, {"apiVersion": resource.api_version, "kind": resource.kind,
                                  "metadata": {"name": name}, "spec": spec})

    def injected() -> bool:
        return any(is_true(obj, "AllInjected") for obj in world.objects(resource))

    await world.until(injected)
    await world.until_settled()


def told(lines: list[LogLine], *words: str) -> list[str]:
    """The first line that says each of these, in the order in which they were written."""
    found = [next((number for number, line in enumerate(lines) if word in line.message), -1) for word in words]
    assert -1 not in found, f"not told: {[word for word, at in zip(words, found, strict=True) if at < 0]}"
    return [words[index] for index in sorted(range(len(words)), key=lambda index: found[index])]


SELECTOR = {"mode": "one", "selector": {"namespaces": ["default"], "labelSelectors": {"app": "web"}}}


def test_a_killed_pod_is_followed_to_what_stands_in_its_place(in_world: Run, written: Written) -> None:
    async def body(world: World) -> None:
        await hurt(world, POD_CHAOS, "kill", action="pod-kill", **SELECTOR)

    in_world(body)
    story = written.about("PodChaos/kill")
    heir = next(line.fields["pod"] for line in story if line.fields.get("reason") == "SuccessfulCreate")
    victim = next(line.fields["pod"] for line in story if "is to hit" in line.message)
    order = ("is to hit", "Created pod: ", "Successfully assigned", "Started container",
             "The pod is ready", f"{heir} is a ready endpoint", f"now has {heir} in rotation")
    assert told(story, *order) == list(order)
    told(story, "Killing: ", f"{victim} is no ready endpoint any more", f"has no more {victim} in rotation",
         "PodChaos/pod-kill on")
    assert {line.fields["pod"] for line in story if "pod" in line.fields} == {victim, heir}
    assert not any(SECRET in line.to_json() for line in written.lines)


def test_a_pod_that_a_person_deleted_is_followed_too(in_world: Run, written: Written) -> None:
    names: list[str] = []

    async def body(world: World) -> None:
        names.append(world.pods(app="web")[0]["metadata"]["name"])
        await world.delete(PODS, names[0])
        await world.until(lambda: names[0] not in {pod["metadata"]["name"] for pod in world.pods(app="web")})
        await world.until_settled()

    in_world(body)
    story = written.about(names[0])
    (heir,) = {line.fields["pod"] for line in story if "pod" in line.fields} - {f"default/{names[0]}"}
    told(story, "Killing: ", f"has no more default/{names[0]} in rotation", f"now has {heir} in rotation")


def test_a_crashed_container_is_followed_to_its_next_life(in_world: Run, written: Written) -> None:
    async def body(world: World) -> None:
        await hurt(world, POD_CHAOS, "crash", action="container-kill", containerNames=["web"], **SELECTOR)

    in_world(body)
    story = written.about("PodChaos/crash")
    order = ("is to hit", "ContainerDied", "Started container", "The pod is ready", "now has")
    assert told(story, *order) == list(order)
    dead, born = (next(line.fields["container_id"] for line in story if word in line.message)
                  for word in ("ContainerDied", "Started container"))
    assert dead != born and len({line.fields["pod_uid"] for line in story}) == 1


def test_a_lost_node_is_followed_to_the_pods_that_stand_elsewhere(in_world: Run, written: Written) -> None:
    async def body(world: World) -> None:
        await hurt(world, NODE_CHAOS, "lose", action="kill", duration="30s", **SELECTOR)

    in_world(body)
    story = written.about("NodeChaos/lose")
    node = next(line.fields["node"] for line in story if "is to hit" in line.message)
    order = ("is to hit", "NodeNotReady", "TaintManagerEviction", "Created pod: ", "Successfully assigned")
    assert told(story, *order) == list(order)
    assert {line.fields["node"] for line in story if line.message.startswith("Scheduled")} - {node}
