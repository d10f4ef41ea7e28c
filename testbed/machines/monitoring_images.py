"""The images of the stack that watches a cluster: the public ones where they can be had, else Debian's programs.

Decides the order: what is here is used as it is, then a registry is asked, then it is built. A registry that had
nothing is not asked again: where there is none, each question may take a minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from testbed.machines.monitoring_plan import Part
from testbed.machines.narration import Narrator
from testbed.runtime.images import Progress
from testbed.runtime.recipes import ON_DEMAND, Recipe

_RECIPES = {recipe.tag: recipe for recipe in ON_DEMAND}


class Source(Protocol):
    """What is asked of ``runtime.images.Images``."""

    def present(self, reference: str) -> bool: ...

    def missing(self, recipes: Iterable[Recipe]) -> tuple[Recipe, ...]: ...

    def pull(self, reference: str) -> bool: ...

    def base(self, progress: Progress) -> str: ...

    def build(self, recipe: Recipe, base: str, progress: Progress) -> None: ...


@dataclass(frozen=True)
class Had:
    """``images``: part to image. ``left_out``: a line for each part that cannot be had."""

    images: dict[str, str]
    left_out: tuple[str, ...] = ()


def have_images(parts: Iterable[Part], source: Source, narrator: Narrator) -> Had:
    """Raises: EngineUnavailable, EngineError, EnvironmentProblem (nothing to build from)."""
    found: dict[str, str] = {}
    left_out = []
    registry = True
    for part in parts:
        recipe = _RECIPES.get(part.own_image)
        if source.present(part.image):
            found[part.name] = part.image
        elif recipe is not None and not source.missing((recipe,)):
            found[part.name] = recipe.tag
        elif registry and (registry := _pulled(part.image, source, narrator)):
            found[part.name] = part.image
        elif recipe is not None:
            with narrator.task(f"image {recipe.tag}") as task:
                source.build(recipe, source.base(task.update), task.update)
            found[part.name] = recipe.tag
        else:
            left_out.append(f"{part.title} is left out: {part.image} is not here and cannot be pulled "
                            f"(an archive of it: testbed image load FILE)")
    return Had(found, tuple(left_out))


def _pulled(image: str, source: Source, narrator: Narrator) -> bool:
    with narrator.task(f"looking for {image}"):
        return source.pull(image)
