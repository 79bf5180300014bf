"""Checks everything in a project folder at once, without running anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rslearn.config import LayerConfig

from olmoearth_nb.config.build import check_object
from olmoearth_nb.config.crosscheck import (
    check_label_layer,
    check_legend,
    check_model_inputs,
    check_output_layer,
    check_splits,
)
from olmoearth_nb.config.datafiles import check_annotations, check_checkpoint, check_request
from olmoearth_nb.config.dataset_json import BUILD_STEPS, DATASET_STEPS, DatasetFile, check_sources, read_dataset
from olmoearth_nb.config.model_yaml import MODEL_STEPS, ModelFile, check_classes, read_model
from olmoearth_nb.config.overlaps import check_overlaps
from olmoearth_nb.config.report import ALL_STEPS, Problem
from olmoearth_nb.config.requirements import check_requirements
from olmoearth_nb.config.roles import role_for
from olmoearth_nb.config.runconfig import SECTION_STEPS, RunConfig, read_run_config
from olmoearth_nb.config.schema import DataType
from olmoearth_nb.config.single_file.check import check_single
from olmoearth_nb.errors import ConfigError
from olmoearth_nb.types import StepName

if TYPE_CHECKING:
    from olmoearth_nb.config.project import Project

__all__ = ["check_project"]

_ReadT = TypeVar("_ReadT")

_OBJECT_STEPS: Mapping[str, frozenset[StepName]] = {
    "postprocessing_strategies.process_window": frozenset({StepName.POSTPROCESS}),
    "postprocessing_strategies.process_partition": frozenset({StepName.POSTPROCESS}),
    "postprocessing_strategies.process_dataset": frozenset({StepName.COMBINE}),
    "window_prep.sampler": frozenset({StepName.PREPARE_LABELED_WINDOWS}),
    "window_prep.labeled_window_preparer": frozenset({StepName.PREPARE_LABELED_WINDOWS}),
    "window_prep.data_splitter": frozenset({StepName.PREPARE_LABELED_WINDOWS}),
}


def check_project(
    project: Project, steps: frozenset[StepName], *, model: bool, random_weights: bool = False
) -> tuple[Problem, ...]:
    """Everything that is wrong with a project, errors first.

    Args:
        project: The project.
        steps: The steps that are of interest; what concerns others only is left out.
        model: Whether to import the classes that ``model.yaml`` names, which takes seconds.
        random_weights: Whether no checkpoint is needed.
    """
    single = check_single(project)
    problems = single.problems
    if single.is_right:
        checks = _Checks(project, steps)
        checks.run_config()
        checks.dataset()
        checks.model(classes=model)
        checks.data_files(checkpoint=not random_weights)
        problems = [*problems, *(single.at_origin(problem) for problem in checks.problems)]
    wanted = [problem for problem in problems if not problem.steps.isdisjoint(steps)]
    return tuple(sorted(_merged(wanted), key=lambda problem: problem.severity != "error"))


class _Checks:
    """One check of one project; each method adds to the problems."""

    def __init__(self, project: Project, steps: frozenset[StepName]) -> None:
        self.project = project
        self.steps = steps
        self.problems: list[Problem] = []
        self.run: RunConfig | None = self._read(read_run_config, project.run_config_path, ALL_STEPS)
        self.dataset_file: DatasetFile | None = self._read(read_dataset, project.dataset_config_path, DATASET_STEPS)
        self.label_names: tuple[str, ...] | None = None

    def _read(self, read: Callable[[Path], _ReadT], path: Path, steps: frozenset[StepName]) -> _ReadT | None:
        try:
            return read(path)
        except ConfigError as error:
            # Line and column stand behind the path.
            key = (error.where or "").removeprefix(str(path)).lstrip(", ")
            found = f"{error.what} Found {error.found}." if error.found else error.what
            fix = error.fix or (None if path.exists() else self._elsewhere(path.name))
            self.problems.append(
                Problem(file=path.name, key=key, found=found, expected=error.expected, fix=fix, steps=steps)
            )
            return None

    def _elsewhere(self, name: str) -> str | None:
        """Where a file lies that is missing: published projects have some in folders for training and inference."""
        folder = self.project.path
        found = [f"{path.parent.name}/{name}" for path in sorted(folder.glob(f"*/{name}"))]
        found += [f"../{name}"] if (folder.parent / name).exists() else []
        return f"Copy {' or '.join(found)} here, if that is the one." if found else None

    def _concerns(self, steps: Iterable[StepName]) -> bool:
        return not self.steps.isdisjoint(steps)

    @property
    def _data_type(self) -> DataType | None:
        results = self.run.inference_results_config if self.run else None
        return results.data_type if results else None

    @property
    def _layers(self) -> dict[str, LayerConfig | None] | None:
        if self.dataset_file is None or not isinstance(self.dataset_file.raw.get("layers"), dict):
            return None
        return {name: self.dataset_file.layers.get(name) for name in self.dataset_file.raw["layers"]}

    def run_config(self) -> None:
        """Checks ``olmoearth_run.yaml``: sections, components, legend."""
        if self.run is None:
            return
        self.problems += self.run.problems
        for section, steps in SECTION_STEPS.items():
            if getattr(self.run, section) is None and not self.run.problems_of(section):
                found = "The section is missing."
                file = self.project.run_config_path.name
                self.problems.append(Problem(file=file, key=section, found=found, steps=steps))
        for path, spec in self.run.specs().items():
            found_here = check_object(spec, role_for(spec, self._data_type), search_path=self.project.search_path)
            section_steps = next(steps for name, steps in SECTION_STEPS.items() if path.startswith(f"{name}."))
            steps = _OBJECT_STEPS.get(path, section_steps)
            self.problems += [problem.for_steps(steps) for problem in found_here]
        if self.run.inference_results_config is not None:
            self.problems += check_legend(self.run.inference_results_config)

    def dataset(self) -> None:
        """Checks ``dataset.json``, and its layers against ``olmoearth_run.yaml``."""
        self._annotations()
        if self.dataset_file is None:
            return
        self.problems += self.dataset_file.problems
        if self._concerns(BUILD_STEPS | DATASET_STEPS):
            self.problems += check_sources(self.dataset_file, search_path=self.project.search_path)
            self.problems += self._absent_folders(self.dataset_file)
        layers = self._layers
        if layers is None:
            return
        if self.run is not None and self.run.window_prep is not None:
            self.problems += check_label_layer(
                self.run.window_prep, layers, self.label_names, search_path=self.project.search_path
            )

    def _absent_folders(self, file: DatasetFile) -> Iterator[Problem]:
        """Imagery that a bundle does not bring, and that does not lie beside it."""
        for written, folder in file.local_folders(self.project.data_path).items():
            if self.project.bundle is not None and not folder.is_dir():
                yield Problem(
                    file=self.project.dataset_config_path.name,
                    found=f"The folder of imagery {written} is not part of the bundle, and is not there.",
                    expected=str(folder),
                    fix="Put the folder there; whoever made the bundle has it.",
                    steps=BUILD_STEPS,
                )

    def _annotations(self) -> None:
        if not self._concerns({StepName.PREPARE_LABELED_WINDOWS}):
            return
        window_prep = self.run.window_prep if self.run else None
        tasks, annotations = self.project.annotation_paths
        found, self.label_names = check_annotations(
            tasks,
            annotations,
            label_property=window_prep.label_property if window_prep else None,
            folder=self.project.path,
            legend=self.project.legend if self.run and self.run.inference_results_config else None,
        )
        self.problems += found

    def model(self, *, classes: bool) -> None:
        """Checks ``model.yaml``, and its inputs against ``dataset.json``.

        Args:
            classes: Whether to import what it names.
        """
        if not self._concerns(MODEL_STEPS):
            return
        has_extra_files = self.project.extra_files_path is not None
        model: ModelFile | None = self._read(
            lambda path: read_model(path, has_extra_files=has_extra_files), self.project.model_config_path, MODEL_STEPS
        )
        if self._layers is not None:
            results = self.run.inference_results_config if self.run else None
            self.problems += check_output_layer(results, self._layers, model)
        if self.run is not None:
            self.problems += check_overlaps(self.run, (self._layers or {}).get("output"), model)
        if model is None:
            return
        self.problems += model.problems
        if classes:
            self.problems += check_classes(model, search_path=self.project.search_path)
        if self._layers is not None:
            self.problems += check_model_inputs(model, self._layers)
        if self.run is not None and self.run.window_prep is not None:
            self.problems += check_splits(model, self.run.window_prep)

    def data_files(self, *, checkpoint: bool) -> None:
        """Checks requests, checkpoint and requirements.

        Args:
            checkpoint: Whether one is needed.
        """
        if self._concerns({StepName.PARTITION, StepName.POSTPROCESS}):
            for path in self.project.requests.values():
                self.problems += check_request(path, folder=self.project.path)
            if not self.project.requests:
                fix = f"Put it there, files into the folder {self.project.REQUEST_FOLDER}, or give the path of another."
                self.problems.append(
                    Problem(
                        file=self.project.REQUEST_NAME,
                        found="There is no request.",
                        fix=fix,
                        steps=frozenset({StepName.PARTITION}),
                    )
                )
        if checkpoint and self._concerns({StepName.INFERENCE}):
            self.problems += check_checkpoint(self.project.checkpoint_path)
        requirements = self.project.path / "requirements.txt"
        if requirements.exists():
            self.problems += check_requirements(requirements, folder=self.project.path)


def _merged(problems: Iterable[Problem]) -> list[Problem]:
    """Problems without repetition: the same in several places is one, with the number of the others."""
    groups: dict[tuple[object, ...], list[Problem]] = {}
    for problem in problems:
        same = (problem.file, problem.found, problem.expected, problem.fix, problem.severity, problem.steps)
        groups.setdefault(same, []).append(problem)
    merged = []
    for group in groups.values():
        keys = list(dict.fromkeys(problem.key for problem in group))
        key = keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
        merged.append(replace(group[0], key=key))
    return merged
