"""Parts of the kernel are asked for by name."""

from __future__ import annotations

import pytest

from testbed.runtime.kernel_families import has_family


@pytest.mark.parametrize(("name", "there"), [("nlctrl", True), ("no-such", False), ("much-too-long-a-name", False)])
def test_what_the_kernel_has_is_told_from_what_it_lacks(name: str, there: bool) -> None:
    assert has_family(name) is there
