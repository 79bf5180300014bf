"""Choose among annotation tasks."""

from __future__ import annotations

import hashlib

from olmoearth_nb.labels.rasterize import whole_number
from olmoearth_nb.types import AnnotationTask

__all__ = ["ChooseNSampler", "NoopSampler"]


class NoopSampler:
    """Keeps every task.

    Example:
        >>> NoopSampler().sample([])
        []
    """

    def sample(self, annotation_tasks: list[AnnotationTask]) -> list[AnnotationTask]:
        """All tasks, in their order.

        Args:
            annotation_tasks: All tasks.
        """
        return list(annotation_tasks)


class ChooseNSampler:
    """Keeps a random choice of tasks; the same tasks whatever the order they come in.

    A task's rank is a hash of the seed and its id, and the lowest ranks are kept. So a larger ``n`` keeps what a
    smaller one kept, and a task more or less in the input changes the choice by one at most.

    Args:
        n: Number of tasks to keep; all if there are fewer.
        seed: Another seed makes another choice.

    Raises:
        ConfigError: If ``n`` is not a whole number of at least 0.

    Example:
        >>> ChooseNSampler(n=3, seed=7).sample([])
        []
    """

    def __init__(self, n: int, seed: int = 0) -> None:
        self.n = whole_number(n, where="ChooseNSampler.n", at_least=0)
        self.seed = seed

    def sample(self, annotation_tasks: list[AnnotationTask]) -> list[AnnotationTask]:
        """The chosen tasks, in the order of the input.

        Args:
            annotation_tasks: All tasks.
        """
        ranked = sorted(range(len(annotation_tasks)), key=lambda i: self._rank(annotation_tasks[i]))
        return [annotation_tasks[i] for i in sorted(ranked[: self.n])]

    def _rank(self, task: AnnotationTask) -> bytes:
        return hashlib.sha256(f"{self.seed}_{task.task_id}".encode()).digest()
