"""Which platform a run without ``--platform`` is on."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.api.instance import TESTBED, Instance
from testbed.api.instance_files import instance_directory, save_instance
from testbed.cli.platforms import platforms_asked
from testbed.errors import UsageError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def there_is(name: str, supervisor: str, **options: str) -> None:
    directory = instance_directory(name)
    directory.mkdir(parents=True)
    save_instance(Instance(
        name, "abc", directory, "10.0.0.0/16", 1, (), supervisor=supervisor,
        supervisor_options={key.replace("_", "-"): value for key, value in options.items()}))


@pytest.mark.usefixtures("state")
def test_what_runs_the_named_cluster_is_meant_when_no_platform_is_said() -> None:
    there_is("c", "compose", autoheal="true", equal_timers="false")
    there_is("own", TESTBED)
    assert platforms_asked("", "c") == ("compose-autoheal",)
    assert platforms_asked("", "own") == platforms_asked("", "not-there") == (TESTBED,)
    assert platforms_asked("swarm,testbed", "c") == ("swarm", "testbed")


@pytest.mark.usefixtures("state")
def test_a_cluster_that_no_experiment_knows_by_name_is_refused_with_what_to_type() -> None:
    there_is("odd", "compose", autoheal="false", equal_timers="true")
    with pytest.raises(UsageError, match="run by compose-equal-timers") as refused:
        platforms_asked("", "odd")
    assert "--platform" in str(refused.value.hint)
