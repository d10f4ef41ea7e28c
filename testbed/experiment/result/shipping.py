"""What a way of shipping a version costs while it ships: pods beyond the usual, and who met which version."""

from __future__ import annotations

from pydantic import Field

from testbed.experiment.result.value import Value


class Shipping(Value):
    """From the beginning of the method to the end of what was watched.

    Attributes:
        peak_pods: most pods that existed at a time; ``usual_pods``: as the method began.
        container_s: container-seconds that ran; ``extra_container_s``: of them, more than the usual number's.
        answers: right and wrong answers by the image of the pod that gave them.
        wrong_answers: of them, with a status that was not expected.
        last_answer_s: when each image's last one came.
    """

    peak_pods: int = 0
    usual_pods: int = 0
    container_s: float = 0.0
    extra_container_s: float = 0.0
    answers: dict[str, int] = Field(default_factory=dict)
    wrong_answers: dict[str, int] = Field(default_factory=dict)
    last_answer_s: dict[str, float] = Field(default_factory=dict)
