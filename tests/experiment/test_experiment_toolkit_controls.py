"""Controls are called around every part, by Chaos Toolkit's names; they may change what comes and end the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toolkit_world import action, exists, experiment, process, python, run, write

from testbed.errors import InvalidInput
from testbed.experiment.toolkit.controls import chosen
from testbed.experiment.toolkit.loading import load_toolkit, read_controls
from testbed.experiment.toolkit.values import Control, Options

LEVELS = ("experiment", "hypothesis", "method", "rollback", "activity")
RECORDING = '''
calls = []
def configure_control(experiment, configuration, secrets, settings, word="-"): calls.append(f"configure {word}")
def cleanup_control(): calls.append("cleanup")
'''+"".join(f'''
def {when}_{level}_control(context, **kwargs):
    calls.append("{when} {level} " + context.get("name", "-"))
''' for level in LEVELS for when in ("before", "after"))


@pytest.fixture
def recorder(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A control module of this test's own."""
    name = f"control_of_{abs(hash(request.node.name))}"
    file = tmp_path / f"{name}.py"
    file.write_text(RECORDING)
    return name, file


def control(module: str, name: str = "rec", **more: Any) -> dict[str, Any]:
    return {"name": name, "provider": {"type": "python", "module": module, **more.pop("provider", {})}, **more}


def calls(module: str) -> list[str]:
    import sys

    found: list[str] = sys.modules[module].calls
    return found


async def test_each_level_in_order(tmp_path: Path, recorder: tuple[str, Path]) -> None:
    module = recorder[0]
    ran = await run(tmp_path, experiment(
        hypothesis=exists(tmp_path), method=[action("act", process("true"))],
        rollbacks=[action("undo", process("true"))],
        runtime={"hypothesis": {"strategy": "before-method-only"}},
        controls=[control(module, provider={"arguments": {"word": "hi"}})]))
    assert ran.ended == (0, "completed", False)
    assert calls(module) == [
        "configure hi", "before experiment -", "before hypothesis -", "before activity there", "after activity there",
        "after hypothesis -", "before method -", "before activity act", "after activity act", "after method -",
        "before rollback -", "before activity undo", "after activity undo", "after rollback -", "after experiment -",
        "cleanup"]


async def test_scope_own_and_automatic(tmp_path: Path, recorder: tuple[str, Path]) -> None:
    module = recorder[0]
    await run(tmp_path, experiment(
        controls=[control(module, "manual", automatic=False, scope="after")],
        method=[action("one", process("true"), controls=[{"ref": "manual"}]), action("two", process("true"))]))
    assert [call for call in calls(module) if "activity" in call or "method" in call] == ["after activity one"]


def test_which_controls_belong_to_a_part() -> None:
    top = [Control("a", "m"), Control("b", "m", automatic=False), Control("c", "m")]
    own, everywhere = [Control("c", "other")], [Control("g", "m")]
    assert [item.name for item in chosen("activity", own, top, everywhere)] == ["a", "g", "c"]
    assert [item.name for item in chosen("method", (), top, everywhere)] == ["a", "c", "g"]
    assert [item.name for item in chosen("experiment", top, top, everywhere)] == ["g", "a", "b", "c"]


async def test_a_control_can_change_configuration_and_see_the_state(tmp_path: Path, recorder: tuple[str, Path]) -> None:
    module, file = recorder
    file.write_text("seen = []\n"
                    "def before_experiment_control(context, configuration): configuration['word'] = 'new'\n"
                    "def after_activity_control(context, state): seen.append(state['output']['stdout'])\n"
                    "def after_experiment_control(context, state): seen.append(state['status'])\n"
                    "calls = seen\n")
    await run(tmp_path, experiment(controls=[control(module)], configuration={"word": "old"},
                                   method=[action("say", process("echo", "${word}"))]))
    assert calls(module) == ["new\n", "completed"]


async def test_a_control_that_fails_is_told_and_does_not_stop_the_run(
    tmp_path: Path, recorder: tuple[str, Path]
) -> None:
    """Upstream says nothing of it but in its debug log."""
    module, file = recorder
    file.write_text("def before_activity_control(context): raise ValueError('oops')\n")
    ran = await run(tmp_path, experiment(controls=[control(module)], method=[action("act", process("true"))]))
    assert ran.ended == (0, "completed", False)
    assert any("before_activity_control failed: ValueError('oops')" in note for note in ran.result.notes)


async def test_a_control_that_hangs_does_not_hold_the_run(tmp_path: Path, recorder: tuple[str, Path]) -> None:
    module, file = recorder
    file.write_text("import time\ndef before_method_control(context): time.sleep(60)\n")
    ran = await run(tmp_path, experiment(controls=[control(module)], method=[action("act", process("true"))]),
                    limit_s=1.0)
    assert ran.ended == (0, "completed", False)
    assert any("before_method_control failed: took longer than 1 s" in note for note in ran.result.notes)


@pytest.mark.parametrize(("where", "rolled_back"), [
    ("before_experiment_control", False), ("before_method_control", True), ("before_activity_control", True)])
async def test_a_control_can_end_the_run(
    tmp_path: Path, recorder: tuple[str, Path], where: str, rolled_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module, file = recorder
    file.write_text("class InterruptExecution(Exception): pass\n"
                    f"def {where}(context):\n"
                    "    if context.get('name') != 'undo': raise InterruptExecution('unsafe')\n")
    ran = await run(tmp_path, experiment(
        controls=[control(module)], method=[action("act", process("touch", "acted"))],
        rollbacks=[action("undo", process("touch", "undone"))]))
    assert ran.ended == (130, "interrupted", False) and "unsafe" in ran.result.reason
    assert not (tmp_path / "acted").exists() and (tmp_path / "undone").exists() == rolled_back


def test_a_control_that_is_not_there_or_refuses_is_a_mistake(tmp_path: Path, recorder: tuple[str, Path]) -> None:
    """Upstream goes on without it, and so without what it safeguards."""
    module, file = recorder
    file.write_text("def validate_control(control): raise ValueError('not so')\n")
    for wrong, word in ((control("surely_no_such_module"), "cannot be imported"), (control(module), "not so"),
                        ({"ref": "nobody"}, "no control 'nobody'")):
        with pytest.raises(InvalidInput, match=word):
            load_toolkit(write(tmp_path, experiment(controls=[wrong])))


async def test_controls_of_a_file_of_their_own_also_stand_around_the_reading(
    tmp_path: Path, recorder: tuple[str, Path]
) -> None:
    module, file = recorder
    file.write_text(RECORDING + "def before_loading_experiment_control(context): calls.append('reads')\n"
                    "def after_loading_experiment_control(context, state): calls.append(state['title'])\n")
    (tmp_path / "controls.yaml").write_text(f"rec: {{provider: {{type: python, module: {module}}}}}\n")
    everywhere = read_controls([tmp_path / "controls.yaml"])
    await run(tmp_path, experiment(method=[action("act", python("os", "getcwd"))]), global_controls=everywhere)
    assert calls(module)[:4] == ["reads", "small", "configure -", "before experiment -"]
    assert "before activity act" in calls(module)
    file.write_text("")
    (tmp_path / "controls.yaml").write_text("rec: {scope: middle}\n")
    with pytest.raises(InvalidInput, match="rec.scope"):
        read_controls([tmp_path / "controls.yaml"])
    assert Options().global_controls == ()
