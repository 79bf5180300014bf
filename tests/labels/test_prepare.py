import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shapely
from rslearn.utils.geometry import Projection, STGeometry

from olmoearth_nb.errors import ConfigError, GeometryError, InputFileError
from olmoearth_nb.geometry import WGS84_PROJECTION
from olmoearth_nb.labels import (
    ChooseNSampler,
    NoopSampler,
    PointToPixelWindowPreparer,
    PointToRasterWindowPreparer,
    RandomDataSplitter,
    SpatialDataSplitter,
    prepare_task,
    prepare_windows,
)
from olmoearth_nb.types import AnnotationTask, DataSplitType, LabeledWindow, RasterLabel

MakeTask = Callable[..., AnnotationTask]

SPLITTER = RandomDataSplitter(0.5, 0.25, 0.25, seed=4)


def _component(**methods: Any) -> Any:
    """An object of a class of its own, with the given methods."""
    return type("Custom", (), {name: staticmethod(method) for name, method in methods.items()})()


def _window(name: str = "w", **others: Any) -> LabeledWindow[Any]:
    labels = [RasterLabel(key="a", value=np.zeros((2, 3)))]
    return LabeledWindow(
        **{"name": name, "st_geometry": STGeometry(WGS84_PROJECTION, shapely.box(0, 0, 3, 2), None), "labels": labels}
        | others
    )


@pytest.fixture
def tasks(make_task: MakeTask) -> list[AnnotationTask]:
    points = [shapely.Point(20 + i / 50, 30) for i in range(6)]
    return [
        *(make_task((point, {"a": i}), (point, {"a": i + 1}), number=i) for i, point in enumerate(points)),
        make_task(area=shapely.box(20, 30, 21, 31), number=9),
    ]


def test_windows_of_all_tasks_with_split_and_source(tasks: list[AnnotationTask]) -> None:
    prepared = prepare_windows(tasks, sampler=None, preparer=PointToPixelWindowPreparer(), splitter=SPLITTER)
    windows = list(prepared)

    assert [window.source_task_id.int for window in windows] == [i for i in range(6) for _ in range(2)]
    assert [window.window.labels[0].labels["a"] for window in windows] == [i + j for i in range(6) for j in (0, 1)]
    assert all(window.split is SPLITTER.choose_split_for_window(window.window) for window in windows)
    assert prepared.empty_tasks == [uuid.UUID(int=9)]
    assert prepared.done_tasks == len(prepared.tasks) == 7


def test_windows_are_made_while_iterating(tasks: list[AnnotationTask]) -> None:
    prepared = prepare_windows(tasks, sampler=NoopSampler(), preparer=PointToPixelWindowPreparer(), splitter=SPLITTER)
    assert prepared.done_tasks == 0
    for _ in range(3):
        next(prepared)
    assert prepared.done_tasks == 1
    assert prepared.empty_tasks == []


def test_the_sampler_chooses_tasks(tasks: list[AnnotationTask]) -> None:
    sampler = ChooseNSampler(2, seed=1)
    prepared = prepare_windows(tasks, sampler=sampler, preparer=PointToPixelWindowPreparer(), splitter=SPLITTER)
    assert prepared.tasks == sampler.sample(tasks)
    assert {window.source_task_id for window in prepared} <= {task.task_id for task in prepared.tasks}


@pytest.mark.parametrize("splitter", [SPLITTER, SpatialDataSplitter(0.4, 0.3, 0.3, 100)])
def test_a_window_is_the_same_alone_and_among_others(tasks: list[AnnotationTask], splitter: Any) -> None:
    preparer = PointToRasterWindowPreparer(2)
    together = {
        prepared.window.name: prepared
        for prepared in prepare_windows(tasks[::-1], sampler=None, preparer=preparer, splitter=splitter)
    }
    for task in tasks:
        for alone in prepare_task(task, preparer=preparer, splitter=splitter):
            other = together[alone.window.name]
            assert (alone.split, alone.window.bounds) == (other.split, other.window.bounds)
            np.testing.assert_array_equal(alone.window.labels[0].value, other.window.labels[0].value)


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_a_preparer_may_give_nothing(tasks: list[AnnotationTask], nothing: Any) -> None:
    preparer = _component(prepare_labeled_windows=lambda task: nothing)
    prepared = prepare_windows(tasks, sampler=None, preparer=preparer, splitter=SPLITTER)
    assert list(prepared) == []
    assert prepared.empty_tasks == [task.task_id for task in tasks]


@pytest.mark.parametrize("split", ["val", DataSplitType.VAL, SimpleNamespace(value="val")])
def test_a_splitter_may_name_the_split(tasks: list[AnnotationTask], split: Any) -> None:
    splitter = _component(choose_split_for_window=lambda window: split)
    prepared = prepare_task(tasks[0], preparer=PointToPixelWindowPreparer(), splitter=splitter)
    assert [window.split for window in prepared] == [DataSplitType.VAL] * 2


@pytest.mark.parametrize("split", ["training", None, 1])
def test_a_splitter_that_gives_no_split_is_named(tasks: list[AnnotationTask], split: Any) -> None:
    splitter = _component(choose_split_for_window=lambda window: split)
    with pytest.raises(
        ConfigError, match=rf"data_splitter: .*Custom gave no split.*{tasks[0].task_id}.*one of train, val, test; found"
    ):
        prepare_task(tasks[0], preparer=PointToPixelWindowPreparer(), splitter=splitter)


def _fail(_: Any) -> Any:
    raise KeyError("height")


def test_a_failing_component_is_named_with_the_task(tasks: list[AnnotationTask]) -> None:
    broken = _component(prepare_labeled_windows=_fail, choose_split_for_window=_fail, sample=_fail)
    fine = PointToPixelWindowPreparer()
    task = tasks[1].task_id
    with pytest.raises(
        ConfigError, match=rf"labeled_window_preparer, task {task}: .*Custom failed.*KeyError: 'height'"
    ):
        prepare_task(tasks[1], preparer=broken, splitter=SPLITTER)
    with pytest.raises(ConfigError, match=rf"data_splitter, task {task}: .*Custom failed for window task_.*'height'"):
        prepare_task(tasks[1], preparer=fine, splitter=broken)
    with pytest.raises(ConfigError, match=r"window_prep\.sampler: .*Custom could not sample the tasks: KeyError"):
        prepare_windows(tasks, sampler=broken, preparer=fine, splitter=SPLITTER)


def test_our_own_errors_in_a_custom_component_get_its_name(tasks: list[AnnotationTask]) -> None:
    preparer = _component(prepare_labeled_windows=lambda task: [_window(labels=[])])
    with pytest.raises(
        GeometryError, match=rf"preparer, task {tasks[0].task_id}, window w: .*Custom failed: .*has no labels"
    ):
        prepare_task(tasks[0], preparer=preparer, splitter=SPLITTER)


def test_errors_that_name_the_task_stay_as_they_are(make_task: MakeTask) -> None:
    task = make_task((shapely.Point(1, 1), {"a": 999}))
    with pytest.raises(InputFileError, match=rf"^task {task.task_id}, annotation 0, label 'a': "):
        prepare_task(task, preparer=PointToRasterWindowPreparer(1), splitter=SPLITTER)


@pytest.mark.parametrize(
    ("result", "found"), [(3, "found 3"), ([3], "int"), ([SimpleNamespace(name="w")], "Namespace")]
)
def test_a_preparer_that_makes_no_windows_is_named(tasks: list[AnnotationTask], result: Any, found: str) -> None:
    preparer = _component(prepare_labeled_windows=lambda task: result)
    with pytest.raises(ConfigError, match=rf"labeled_window_preparer.*{tasks[0].task_id}.*LabeledWindow.*{found}"):
        prepare_task(tasks[0], preparer=preparer, splitter=SPLITTER)


def test_a_sampler_that_gives_no_list_is_named(tasks: list[AnnotationTask]) -> None:
    with pytest.raises(ConfigError, match=r"window_prep\.sampler: .*Custom gave no list of tasks.*found 5"):
        prepare_windows(
            tasks,
            sampler=_component(sample=lambda tasks: 5),
            preparer=PointToPixelWindowPreparer(),
            splitter=SPLITTER,
        )


def test_windows_of_classes_of_the_same_shape_are_taken(tasks: list[AnnotationTask]) -> None:
    projection = Projection(WGS84_PROJECTION.crs, 1, -1)
    geometry = STGeometry(projection, shapely.box(5, 6, 8, 8), None)
    raster = SimpleNamespace(key="a", value=np.arange(6).reshape(2, 3))
    vector = SimpleNamespace(st_geometry=STGeometry(projection, shapely.Point(5, 6), None), labels={"a": 1})
    foreign = [SimpleNamespace(name=f"w{i}", st_geometry=geometry, labels=[x]) for i, x in enumerate((raster, vector))]

    prepared = prepare_task(
        tasks[0], preparer=_component(prepare_labeled_windows=lambda task: foreign), splitter=SPLITTER
    )

    assert [window.window.bounds for window in prepared] == [(5, 6, 8, 8)] * 2
    np.testing.assert_array_equal(prepared[0].window.labels[0].value, raster.value)
    assert prepared[1].window.labels[0].labels == {"a": 1}


def test_windows_of_one_name_are_refused(tasks: list[AnnotationTask]) -> None:
    preparer = _component(prepare_labeled_windows=lambda task: [_window("same")])
    prepared = prepare_windows(tasks, sampler=None, preparer=preparer, splitter=SPLITTER)
    with pytest.raises(
        ConfigError, match=rf"Custom\).*'same'.*task {tasks[0].task_id} and for task {tasks[1].task_id}"
    ):
        list(prepared)
