"""The components that a project's ``olmoearth_run.yaml`` names, and the check before the first step."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from olmoearth_nb.config import (
    ObjectSpec,
    PartitionStrategies,
    Project,
    build_object,
    custom_code,
    importable_from,
    role_for,
)
from olmoearth_nb.config.report import FINE_TUNE_STEPS, PREDICT_STEPS
from olmoearth_nb.config.requirements import REQUIREMENTS_NAME, requirement_files, shown_file
from olmoearth_nb.config.single_file.schema import SINGLE_CONFIG_NAME
from olmoearth_nb.errors import InputFileError
from olmoearth_nb.files import hash_json, read_json, write_json
from olmoearth_nb.runners.base import file_hash
from olmoearth_nb.store.workspace import make_folder
from olmoearth_nb.types import StepName

__all__ = ["Components", "check_once", "with_modules"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Runner(Protocol):
    @property
    def project(self) -> Project: ...


_RunnerT = TypeVar("_RunnerT", bound=_Runner)


def with_modules(method: Callable[Concatenate[_RunnerT, _P], _T]) -> Callable[Concatenate[_RunnerT, _P], _T]:
    """A method of a runner that calls custom classes: their project's modules can be imported all the while.

    Args:
        method: The method; what it calls may import a neighbour as late as it likes.
    """

    @functools.wraps(method)
    def called(runner: _RunnerT, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with importable_from(runner.project.search_path):
            return method(runner, *args, **kwargs)

    return called


@dataclass(frozen=True)
class Components:
    """Builds the configured objects of a project, each when it is asked for.

    Attributes:
        project: The project.
    """

    project: Project

    def _build(self, spec: ObjectSpec) -> Any:
        config = self.project.run_config.inference_results_config
        role = role_for(spec, config.data_type if config is not None else None)
        return build_object(spec, role, search_path=self.project.search_path)

    @property
    def data_type(self) -> str:
        """``RASTER`` or ``VECTOR``."""
        return self.project.run_config.require("inference_results_config", step=StepName.POSTPROCESS).data_type

    @property
    def is_raster(self) -> bool:
        """Whether results are rasters."""
        return self.data_type == "RASTER"

    def partitioners(self, strategies: PartitionStrategies | None = None) -> tuple[Any, Any]:
        """What splits the request into partitions, and a partition into windows.

        Args:
            strategies: Which ones; those of ``olmoearth_run.yaml`` if None.
        """
        section = strategies or self.project.run_config.require("partition_strategies", step=StepName.PARTITION)
        return self._build(section.partition_request_geometry), self._build(section.prepare_window_geometries)

    def window_postprocessor(self) -> Any:
        """What processes the output of a window."""
        section = self.project.run_config.require("postprocessing_strategies", step=StepName.POSTPROCESS)
        return self._build(section.process_window)

    def partition_postprocessor(self) -> Any:
        """What merges the windows of a partition."""
        section = self.project.run_config.require("postprocessing_strategies", step=StepName.POSTPROCESS)
        return self._with_legend(self._build(section.process_partition))

    def dataset_postprocessor(self) -> Any:
        """What merges the partitions of a request."""
        section = self.project.run_config.require("postprocessing_strategies", step=StepName.COMBINE)
        return self._with_legend(self._build(section.process_dataset))

    def _with_legend(self, postprocessor: Any) -> Any:
        if hasattr(postprocessor, "set_legend"):
            postprocessor.set_legend(self.project.legend)
        return postprocessor

    def postprocessing_fingerprint(self) -> str:
        """Changes when the postprocessing of windows or partitions is configured differently."""
        section = self.project.run_config.require("postprocessing_strategies", step=StepName.POSTPROCESS)
        legend = self.project.legend
        colors = None if legend is None else asdict(legend)  # they are in the files
        stages = [section.process_window.raw, section.process_partition.raw]
        code = custom_code(stages, search_path=self.project.search_path)
        return hash_json([self.data_type, *stages, colors, *([code] if code else [])])

    def partitioning_code(self) -> dict[str, str]:
        """Hashes of the custom classes among the partitioners, by name."""
        section = self.project.run_config.require("partition_strategies", step=StepName.PARTITION)
        stages = [section.partition_request_geometry.raw, section.prepare_window_geometries.raw]
        return custom_code(stages, search_path=self.project.search_path)

    def labelling_code(self) -> dict[str, str]:
        """Hashes of the custom classes among sampler, window preparer and splitter, by name."""
        section = self.project.run_config.require("window_prep", step=StepName.PREPARE_LABELED_WINDOWS)
        specs = [section.sampler, section.labeled_window_preparer, section.data_splitter]
        return custom_code([spec.raw for spec in specs if spec], search_path=self.project.search_path)

    def sampler(self) -> Any:
        """What chooses among the tasks, or None to keep all."""
        spec = self.project.run_config.require("window_prep", step=StepName.PREPARE_LABELED_WINDOWS).sampler
        return None if spec is None else self._build(spec)

    def window_preparer(self) -> Any:
        """What makes labelled windows of a task."""
        section = self.project.run_config.require("window_prep", step=StepName.PREPARE_LABELED_WINDOWS)
        return self._build(section.labeled_window_preparer)

    def data_splitter(self) -> Any:
        """What assigns splits."""
        section = self.project.run_config.require("window_prep", step=StepName.PREPARE_LABELED_WINDOWS)
        return self._build(section.data_splitter)


_LAYING_OUT = frozenset({StepName.PARTITION, StepName.PREPARE_LABELED_WINDOWS})


def check_once(project: Project, state: Path, steps: Sequence[StepName]) -> tuple[str, ...]:
    """Checks all that the configuration files say of a workflow, before one of its steps starts.

    Importing the classes of ``model.yaml`` takes seconds: steps that lay out windows leave that to those after them. A
    check that found nothing is noted in the scratch and made again only when a file has changed.

    Args:
        project: The project.
        state: Folder of what is remembered about the scratch.
        steps: The steps that are about to run, of one workflow.

    Returns:
        What will stop other steps of the workflow later on; of steps that take long it is a warning, too.

    Raises:
        ProjectError: Lists every problem that stops these steps.
    """
    note_path = state / "checked.json"
    files = [
        project.run_config_path,
        project.dataset_config_path,
        project.model_config_path,
        *requirement_files(project.path / REQUIREMENTS_NAME),
    ]
    workflow = PREDICT_STEPS if PREDICT_STEPS.issuperset(steps) else FINE_TUNE_STEPS
    model = not _LAYING_OUT.issuperset(steps)
    inputs = [sorted(workflow), *(file_hash(path) if path.is_file() else None for path in files)]
    if _noted(note_path) in ([True, *inputs], [model, *inputs]):
        return ()
    names = {SINGLE_CONFIG_NAME, *(shown_file(path, project.path) for path in files)}
    report = project.check(workflow, model=model)
    report = replace(report, problems=tuple(problem for problem in report.problems if problem.file in names))
    report.raise_for(*steps)
    later = tuple(f"{problem} This stops a later step." for problem in report.errors)
    for note in later if model else ():
        warnings.warn(note, stacklevel=2)  # before a step that takes long, not only in what it returns
    if not later:
        make_folder(state)
        write_json(note_path, {"files": [model, *inputs]})
    return later


def _noted(note: Path) -> object:
    """What the last check that found nothing looked at; a note that can't be read counts for none."""
    with contextlib.suppress(InputFileError):
        match read_json(note, what="note of the last check"):
            case {"files": files}:
                return files
    return None
