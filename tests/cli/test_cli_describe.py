"""``testbed describe``: whatever an object says, it is text in words and never steers the terminal."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from testbed.api.resources import PODS
from testbed.cli.describe import _described

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n"
TEXTS = st.sampled_from([HOSTILE, "a\nb", "\u202ex", "plain"]) | st.text(max_size=5)
VALUES = st.recursive(TEXTS | st.integers() | st.booleans() | st.none(),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
                      max_leaves=8)


class OneAnswer:
    """An API whose every list of events holds this one."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._event = event

    def json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        return {"items": [self._event]}


@given(status=st.dictionaries(TEXTS, VALUES, max_size=3), text=TEXTS)
def test_nothing_of_an_object_steers_the_terminal(status: dict[str, Any], text: str) -> None:
    event = {"metadata": {"name": "e"}, "type": "Normal", "reason": "Said", "message": text}
    obj = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "uid": "u", "labels": {"a": text},
                     "annotations": {text: text}},
        "spec": {"containers": [{"name": text, "command": [text]}]},
        "status": {**status, "conditions": [{"type": "Ready", "status": "False", "message": text}]},
    }
    shown = _described(OneAnswer(event), PODS, obj)  # type: ignore[arg-type]
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "Ready" in shown and "Said" in shown
