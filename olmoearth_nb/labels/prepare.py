"""Tasks to labelled windows with their split: sampler, window preparer and splitter, of this package or one's own."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import ConfigError, OlmoEarthError
from olmoearth_nb.files import is_folder_name
from olmoearth_nb.protocols import DataSplitter, Sampler, WindowPreparer
from olmoearth_nb.types import AnnotationTask, DataSplitType, LabeledSTGeometry, LabeledWindow, RasterLabel

__all__ = ["PreparedWindow", "PreparedWindows", "prepare_task", "prepare_windows"]

_SAMPLER = "window_prep.sampler"
_PREPARER = "window_prep.labeled_window_preparer"
_SPLITTER = "window_prep.data_splitter"


@dataclass(frozen=True, kw_only=True)
class PreparedWindow:
    """A labelled window that is ready to be written.

    Attributes:
        window: The window with its labels.
        split: The split it belongs to.
        source_task_id: Id of the task it was made of.
    """

    window: LabeledWindow[Any]
    split: DataSplitType
    source_task_id: uuid.UUID


class PreparedWindows(Iterator[PreparedWindow]):
    """Windows of many tasks, made one task at a time while it is iterated.

    Attributes:
        tasks: Tasks that the sampler kept.
        empty_tasks: Ids of the tasks that gave no window, as far as the iteration has come.
        done_tasks: Number of tasks that all windows were made of, as far as the iteration has come.

    Args:
        tasks: Tasks to make windows of.
        preparer: Makes the windows.
        splitter: Assigns the splits.
    """

    def __init__(self, tasks: Sequence[AnnotationTask], *, preparer: WindowPreparer, splitter: DataSplitter) -> None:
        self.tasks = list(tasks)
        self.empty_tasks: list[uuid.UUID] = []
        self.done_tasks = 0
        self._preparer = preparer
        self._splitter = splitter
        self._owners: dict[str, uuid.UUID] = {}
        self._windows = self._generate()

    def __next__(self) -> PreparedWindow:
        return next(self._windows)

    def _generate(self) -> Iterator[PreparedWindow]:
        for task in self.tasks:
            prepared = prepare_task(task, preparer=self._preparer, splitter=self._splitter)
            if not prepared:
                self.empty_tasks.append(task.task_id)
            for window in prepared:
                _check_window(window, self._preparer)
                self._check_name(window)
                yield window
            self.done_tasks += 1

    def _check_name(self, prepared: PreparedWindow) -> None:
        name = prepared.window.name
        if name in self._owners:
            raise ConfigError(
                f"Two windows are named {name!r}: the second would replace the first.",
                where=f"{_PREPARER} ({_class_name(self._preparer)})",
                expected="a name of its own for each window, such as one with the task's id and a number",
                found=f"that name for task {self._owners[name]} and for task {prepared.source_task_id}",
            )
        self._owners[name] = prepared.source_task_id


def _check_window(prepared: PreparedWindow, preparer: WindowPreparer) -> None:
    """Refuses what can't be a folder of the dataset, or holds no pixel."""
    window = prepared.window
    x0, y0, x1, y1 = window.bounds
    if not is_folder_name(window.name) or x0 >= x1 or y0 >= y1:
        raise ConfigError(
            "The window preparer made a window that can't be written.",
            where=f"{_PREPARER} ({_class_name(preparer)}), task {prepared.source_task_id}",
            expected="a name that a folder can have, and at least one pixel",
            found=f"the name {window.name!r:.200} and the bounds {window.bounds}",
        )


def prepare_windows(
    tasks: Sequence[AnnotationTask], *, sampler: Sampler | None, preparer: WindowPreparer, splitter: DataSplitter
) -> PreparedWindows:
    """Labelled windows of annotation tasks, with their splits.

    Nothing is written. The windows are made while the result is iterated; it knows which tasks it works on and which
    gave no windows.

    Args:
        tasks: All tasks.
        sampler: Chooses among them; None keeps all.
        preparer: Makes the windows of a task.
        splitter: Assigns a split to a window.

    Raises:
        ConfigError: If a component fails or gives something else than it should; names its class and the task.
        InputFileError: If an annotation does not suit the preparer.

    Example:
        >>> from olmoearth_nb.labels import PointToPixelWindowPreparer, RandomDataSplitter
        >>> splitter = RandomDataSplitter(0.8, 0.2, 0.0, seed=1)
        >>> list(prepare_windows([], sampler=None, preparer=PointToPixelWindowPreparer(), splitter=splitter))
        []
    """
    # Custom classes may take annotations out of a task: not out of the caller's.
    chosen = [task.model_copy(update={"annotations": list(task.annotations)}) for task in tasks]
    if sampler is not None:
        name = _class_name(sampler)
        with foreign_code(ConfigError, f"{name} could not sample the tasks", where=_SAMPLER):
            chosen = sampler.sample(chosen)
        if not isinstance(chosen, list | tuple) or not all(hasattr(task, "task_id") for task in chosen):
            raise ConfigError(
                f"{name} gave no list of tasks.", where=_SAMPLER, expected="a list", found=repr(chosen)[:200]
            )
    return PreparedWindows(chosen, preparer=preparer, splitter=splitter)


def prepare_task(task: AnnotationTask, *, preparer: WindowPreparer, splitter: DataSplitter) -> list[PreparedWindow]:
    """Labelled windows of one task, with their splits; depends on nothing but the task and the two components.

    Args:
        task: The task.
        preparer: Makes the windows.
        splitter: Assigns a split to a window.

    Raises:
        ConfigError: If a component fails or gives something else than it should; names its class and the task.
        InputFileError: If an annotation does not suit the preparer.
    """
    name = _class_name(preparer)
    with _running(f"{name} failed", _PREPARER, task):
        windows: Any = preparer.prepare_labeled_windows(task)
    if windows is None:
        return []
    if not isinstance(windows, list | tuple):
        raise ConfigError(
            f"{name} gave no list of windows for task {task.task_id}.",
            where=_PREPARER,
            expected="a list of LabeledWindow",
            found=repr(windows),
        )
    with _running(f"{name} made a window that can't be used", _PREPARER, task):
        prepared = [_as_window(window, name, task) for window in windows]
    return [
        PreparedWindow(window=window, split=_split(window, splitter, task), source_task_id=task.task_id)
        for window in prepared
    ]


def _as_window(window: Any, preparer: str, task: AnnotationTask) -> LabeledWindow[Any]:
    """The window as this package's class: a preparer may have made it with a class of the same shape."""
    if isinstance(window, LabeledWindow):
        return window
    where = f"{_PREPARER} ({preparer}), task {task.task_id}"
    try:
        return LabeledWindow(
            name=window.name, st_geometry=window.st_geometry, labels=[_as_label(label) for label in window.labels]
        )
    except (AttributeError, TypeError) as error:
        raise ConfigError(
            "The window preparer made something that is not a labelled window.",
            where=where,
            expected="LabeledWindow(name, st_geometry, labels)",
            found=f"{type(window).__name__} ({error})",
        ) from error


def _as_label(label: Any) -> RasterLabel | LabeledSTGeometry:
    if isinstance(label, RasterLabel | LabeledSTGeometry):
        return label
    if hasattr(label, "key"):
        return RasterLabel(key=label.key, value=label.value)
    return LabeledSTGeometry(st_geometry=label.st_geometry, labels=label.labels)


def _split(window: LabeledWindow[Any], splitter: DataSplitter, task: AnnotationTask) -> DataSplitType:
    name = _class_name(splitter)
    with _running(f"{name} failed for window {window.name}", _SPLITTER, task):
        split: Any = splitter.choose_split_for_window(window)
    try:
        # Members of another enumeration, and plain text, mean the split of the same name.
        return DataSplitType(getattr(split, "value", split))
    except ValueError as error:
        raise ConfigError(
            f"{name} gave no split for window {window.name} of task {task.task_id}.",
            where=_SPLITTER,
            expected=f"one of {', '.join(DataSplitType)}",
            found=repr(split),
        ) from error


@contextlib.contextmanager
def _running(what: str, where: str, task: AnnotationTask) -> Iterator[None]:
    """Every error of the block says which component failed for which task."""
    where = f"{where}, task {task.task_id}"
    try:
        with foreign_code(ConfigError, what, where=where):
            yield
    except OlmoEarthError as error:
        if str(task.task_id) in str(error):
            raise
        where = f"{where}, {error.where}" if error.where else where
        raise type(error)(
            f"{what}: {error.what}", where=where, expected=error.expected, found=error.found, fix=error.fix
        ) from error


def _class_name(component: object) -> str:
    return f"{type(component).__module__}.{type(component).__qualname__}"
