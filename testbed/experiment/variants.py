"""What one command runs side by side: values of a matrix, a second experiment, several platforms.

Each variant is a whole experiment of its own; the first one is what the others are compared with: of a second file that
file. All have the same seed, so that run 3 of each is disturbed at the same moment of its periods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from testbed.errors import UsageError
from testbed.experiment.documents import read_file
from testbed.experiment.loading import LoadedExperiment
from testbed.experiment.matrix import Setting, combinations, name_of, with_settings

MOST_VARIANTS = 50
OWN_PLATFORM = "testbed"


@dataclass(frozen=True)
class Variant:
    """``settings``: what its matrix gave it, by key."""

    name: str
    loaded: LoadedExperiment
    platform: str = OWN_PLATFORM
    settings: tuple[Setting, ...] = ()


def alone(loaded: LoadedExperiment) -> tuple[Variant, ...]:
    """Nothing to compare."""
    return (Variant(loaded.experiment.metadata.name, loaded),)


def variants_of(
    loaded: LoadedExperiment, *, against: LoadedExperiment | None = None, platforms: Sequence[str] = (OWN_PLATFORM,),
) -> tuple[Variant, ...]:
    """All variants of one command, the reference first: what the others are compared with.

    Raises: InvalidInput (a key of the matrix fits nowhere), UsageError (too many, or a matrix and a second file).
    """
    if against is not None and (loaded.experiment.spec.matrix or against.experiment.spec.matrix):
        raise UsageError("a matrix and --against are two ways to say what is compared", hint="keep one of them")
    experiments = _against(loaded, against) if against is not None else _of_matrix(loaded)
    if len(experiments) * len(platforms) > MOST_VARIANTS:
        raise UsageError(f"{len(experiments) * len(platforms)} variants are more than {MOST_VARIANTS}",
                         hint="sweep fewer values at a time")
    return tuple(
        replace(item, platform=platform, name=_name(item.name, platform, len(experiments), len(platforms)))
        for item in experiments for platform in platforms)


def _name(name: str, platform: str, experiments: int, platforms: int) -> str:
    if platforms == 1:
        return name
    return f"{platform}, {name}" if experiments > 1 else platform


def _of_matrix(loaded: LoadedExperiment) -> list[Variant]:
    matrix = loaded.experiment.spec.matrix
    if not matrix:
        return list(alone(loaded))
    document = read_file(loaded.file)[0]
    return [Variant(name_of(settings),
                    replace(loaded, manifests=with_settings(loaded.manifests, settings, document)), settings=settings)
            for settings in combinations(matrix)]


def _against(loaded: LoadedExperiment, other: LoadedExperiment) -> list[Variant]:
    """``other`` is what ``loaded`` is held against, and so comes first; with the seed and the runs of ``loaded``."""
    spec = loaded.experiment.spec
    same = other.experiment.spec.model_copy(update={"seed": spec.seed, "runs": spec.runs})
    other = replace(other, experiment=other.experiment.model_copy(update={"spec": same}))
    both = other, loaded
    return [Variant(name, item) for name, item in zip(_apart(*both), both, strict=True)]


def _apart(one: LoadedExperiment, other: LoadedExperiment) -> tuple[str, str]:
    """What tells two experiments apart: their files' names, their own, where the files lie."""
    both = one, other
    ways = ([item.file.stem for item in both], [item.experiment.metadata.name for item in both],
            [_short(item.file) for item in both], [str(item.file) for item in both])
    first, second = next((names for names in ways if names[0] != names[1]), ways[-2])
    return first, second if first != second else f"{second} (2)"


def _short(file: Path) -> str:
    """As it was typed; of a long way the end."""
    return "/".join(file.parts[-2:]) if file.is_absolute() else str(file)
