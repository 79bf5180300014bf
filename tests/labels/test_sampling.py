from collections.abc import Callable
from typing import Any

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from olmoearth_nb.errors import ConfigError
from olmoearth_nb.labels import ChooseNSampler, NoopSampler
from olmoearth_nb.types import AnnotationTask

MakeTask = Callable[..., AnnotationTask]


def _tasks(make_task: MakeTask, count: int) -> list[AnnotationTask]:
    return [make_task((shapely.Point(i / 10, 10), {"a": 1}), number=i) for i in range(count)]


def test_noop_keeps_every_task_in_order(make_task: MakeTask) -> None:
    tasks = _tasks(make_task, 4)
    kept = NoopSampler().sample(tasks)
    assert kept == tasks
    assert kept is not tasks


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(order=st.permutations(range(9)), n=st.integers(0, 12), seed=st.integers())
def test_the_choice_does_not_depend_on_the_order(make_task: MakeTask, order: list[int], n: int, seed: int) -> None:
    tasks = _tasks(make_task, 9)
    shuffled = [tasks[i] for i in order]

    kept = ChooseNSampler(n, seed).sample(shuffled)

    assert {task.task_id for task in kept} == {task.task_id for task in ChooseNSampler(n, seed).sample(tasks)}
    assert len(kept) == min(n, 9)
    positions = [shuffled.index(task) for task in kept]
    assert positions == sorted(positions)


def test_a_larger_choice_has_the_smaller_one(make_task: MakeTask) -> None:
    tasks = _tasks(make_task, 20)
    small, large = (ChooseNSampler(n, seed=3).sample(tasks) for n in (5, 12))
    assert all(task in large for task in small)


def test_seeds_make_different_choices_and_every_task_has_a_chance(make_task: MakeTask) -> None:
    tasks = _tasks(make_task, 10)
    chosen = [ChooseNSampler(1, seed=seed).sample(tasks)[0].task_id for seed in range(120)]
    assert len(set(chosen)) == 10


@pytest.mark.parametrize("n", [-1, 2.0, "3", None, True])
def test_a_number_of_tasks_that_is_none_is_refused(n: Any) -> None:
    with pytest.raises(ConfigError, match=r"ChooseNSampler\.n: .*whole number, at least 0; found"):
        ChooseNSampler(n)
