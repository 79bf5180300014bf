"""A project folder: where its files are, what they say, and whether they are right."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from olmoearth_nb.archive import is_archive, unpacked
from olmoearth_nb.config.check import check_project
from olmoearth_nb.config.dataset_json import DATASET_CONFIG_NAME, read_dataset
from olmoearth_nb.config.model_yaml import MODEL_CONFIG_NAME
from olmoearth_nb.config.renamed.notice import warn_of_renamed
from olmoearth_nb.config.report import ALL_STEPS, CheckReport, config_error, did_you_mean, one_of
from olmoearth_nb.config.runconfig import RunConfig, read_run_config
from olmoearth_nb.config.schema import RUN_CONFIG_NAME
from olmoearth_nb.config.single_file.schema import SINGLE_CONFIG_NAME
from olmoearth_nb.config.single_file.written import converted_folder
from olmoearth_nb.errors import InputFileError, ProjectError, UsageError
from olmoearth_nb.files import absolute_path, shown_path
from olmoearth_nb.legend import Legend
from olmoearth_nb.remote.fetching import fetched
from olmoearth_nb.remote.places import Place, place_of
from olmoearth_nb.tables import html_table, text_table
from olmoearth_nb.types import StepName

__all__ = ["Project"]

_COLUMNS = ("file", "what it is", "found")


class Project:
    """A folder of configuration, or a bundle of one.

    Files may be edited while the object lives: what it says is read anew when a file has changed.

    Args:
        path: The folder, or the bundle; a relative path is made absolute here. Either may be a URL (``s3://…``) or a
            ``UPath``: its files are fetched, those that have changed each time that the project is opened.

    Attributes:
        path: The folder; of a bundle, that in the cache which its verified files were unpacked to; of a URL, its
            working copy.
        bundle: The bundle; None if a folder was given.
        place: Where the project lies, if it does not lie on this machine.

    Raises:
        ProjectError: If there is no such folder, or the bundle is damaged.
        StorageError: If the URL can't be reached.

    Example:
        >>> Project("olmoearth_run_data/demo").check().raise_for("partition")  # doctest: +SKIP
    """

    REQUEST_NAME: ClassVar[str] = "prediction_request_geometry.geojson"
    REQUEST_FOLDER: ClassVar[str] = "prediction"

    def __init__(self, path: str | PathLike[str]) -> None:
        found = place_of(path)
        self.place = found if isinstance(found, Place) else None
        self.path = _fetched(found) if isinstance(found, Place) else absolute_path(found, what="project")
        self.bundle = self.path if is_archive(self.path) else None
        if self.bundle is not None:
            folder, manifest = unpacked(self.bundle)
            self.path = folder / manifest.name
        if not self.path.is_dir():
            raise ProjectError(
                "The project is a file." if self.path.exists() else "The project folder is missing.",
                where=str(self.path),
                expected=f"a folder with {DATASET_CONFIG_NAME}, {MODEL_CONFIG_NAME} and {RUN_CONFIG_NAME}, or with "
                f"{SINGLE_CONFIG_NAME}, or a bundle",
            )

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def data_path(self) -> Path:
        """What a relative ``src_dir`` is relative to, and where files are saved: the folder, or the bundle's."""
        return self.path if self.bundle is None else self.bundle.parent

    @property
    def search_path(self) -> tuple[Path, Path]:
        """Where custom modules are looked for, beside PYTHONPATH: the folder and the one above."""
        return self.path, self.path.parent

    @property
    def single_config_path(self) -> Path | None:
        """``olmoearth_config.yaml``, if the project is configured by it: none of the three other files is there."""
        others = (RUN_CONFIG_NAME, DATASET_CONFIG_NAME, MODEL_CONFIG_NAME)
        path = self.path / SINGLE_CONFIG_NAME
        return path if path.is_file() and not any((self.path / name).exists() for name in others) else None

    @property
    def config_folder(self) -> Path:
        """Where the three configuration files are: the project, or the cache if it has ``olmoearth_config.yaml``.

        Raises:
            ConfigError: If ``olmoearth_config.yaml`` is wrong; names every key.
            StorageError: If the cache can't be written.
        """
        single = self.single_config_path
        return self.path if single is None else converted_folder(single)

    @property
    def run_config_path(self) -> Path:
        """``olmoearth_run.yaml``, whether it is there or not."""
        return self.config_folder / RUN_CONFIG_NAME

    @property
    def dataset_config_path(self) -> Path:
        """``dataset.json``, whether it is there or not."""
        return self.config_folder / DATASET_CONFIG_NAME

    @property
    def model_config_path(self) -> Path:
        """``model.yaml``, whether it is there or not."""
        return self.config_folder / MODEL_CONFIG_NAME

    @property
    def annotation_paths(self) -> tuple[Path, Path]:
        """Tasks and annotations, whether they are there or not."""
        return self.path / "annotation_task_features.geojson", self.path / "annotation_features.geojson"

    @property
    def checkpoint_path(self) -> Path | None:
        """``checkpoint.ckpt``; None if it is not there."""
        path = self.path / "checkpoint.ckpt"
        return path if path.exists() else None

    @property
    def extra_files_path(self) -> Path | None:
        """``extra_model_files``; None if it is not there."""
        path = self.path / "extra_model_files"
        return path if path.is_dir() else None

    @property
    def requests(self) -> dict[str, Path]:
        """The requests by name: ``prediction_request_geometry.geojson`` and ``prediction/*.geojson``."""
        own = self.path / self.REQUEST_NAME
        found = {own.stem: own} if own.exists() else {}
        for path in sorted((self.path / self.REQUEST_FOLDER).glob("*.geojson")):
            found[path.stem if path.stem not in found else f"{self.REQUEST_FOLDER}/{path.stem}"] = path
        return found

    def request(self, name: str | None = None) -> Path:
        """The file of a request.

        Args:
            name: Its name; the project's own or only one if None.

        Raises:
            ProjectError: If there is none, no such one, or several to choose from.
        """
        requests = self.requests
        if not requests:
            raise ProjectError(
                "There is no request.",
                where=str(self.path),
                expected=f"{self.REQUEST_NAME}, or GeoJSON files in {self.REQUEST_FOLDER}/",
            )
        own = Path(self.REQUEST_NAME).stem
        if name is None and (own in requests or len(requests) == 1):
            return requests.get(own) or next(iter(requests.values()))
        if name is None:
            raise ProjectError(
                f"There are {len(requests)} requests.", where=str(self.path), fix=f"Name one: {one_of(requests)}."
            )
        if name not in requests:
            raise ProjectError(
                f"There is no request {name!r}.",
                where=str(self.path),
                expected=f"one of {one_of(requests)}",
                fix=did_you_mean(name, requests),
            )
        return requests[name]

    @property
    def run_config(self) -> RunConfig:
        """``olmoearth_run.yaml``; a section that is wrong raises when it is asked for with ``require``.

        Raises:
            ConfigError: If the file is missing or is not YAML.
        """
        path = self.run_config_path
        if not path.exists():
            return read_run_config(path)  # which says what is wrong
        stat = path.stat()
        return _read_run_config(path, stat.st_mtime_ns, stat.st_size)

    @property
    def legend(self) -> Legend | None:
        """What the results mean; None if the project does not say.

        Raises:
            ConfigError: If ``inference_results_config`` is wrong.
        """
        config = self.run_config
        absent = config.inference_results_config is None and not config.problems_of("inference_results_config")
        return None if absent else config.legend()

    def dataset_config(self) -> dict[str, Any]:
        """``dataset.json`` with the relative ``src_dir`` of each data source made absolute.

        Raises:
            ConfigError: If it is missing, is not JSON, or rslearn refuses it; names each key.
        """
        file = read_dataset(self.dataset_config_path)
        errors = [problem for problem in file.problems if problem.severity == "error"]
        if errors:
            raise config_error(errors)
        warn_of_renamed(self.dataset_config_path, file.modern)
        return file.with_absolute_paths(self.data_path)

    def refuse_editing(self) -> None:
        """Raises UsageError if the files here are copies, whose changes nobody would see."""
        if self.place is not None:
            raise UsageError(
                "The project lies on an object store and is only read.",
                where=self.place.url,
                fix="Download it, change it there, and upload it.",
            )

    def portable(self, value: Any) -> Any:
        """A value that says the same on every machine: the URL of the project in place of its working copy.

        Args:
            value: What JSON can say.
        """
        if self.place is None:
            return value
        return json.loads(json.dumps(value).replace(json.dumps(str(self.path))[1:-1], self.place.url))

    def check(
        self, steps: Iterable[StepName | str] | None = None, *, model: bool = True, random_weights: bool = False
    ) -> CheckReport:
        """Checks everything at once: files, syntax, classes and arguments, and whether they fit each other.

        Nothing of the user's is constructed and nothing is written.

        Args:
            steps: Steps that are of interest; all if None.
            model: Whether to import the classes that ``model.yaml`` names; the first time takes seconds.
            random_weights: Whether runs have random weights, so that no checkpoint is needed.

        Raises:
            UsageError: If a step has no such name.
        """
        try:
            given = [steps] if isinstance(steps, str) else steps
            wanted = ALL_STEPS if given is None else frozenset(StepName(step) for step in given)
        except (TypeError, ValueError) as error:
            raise UsageError(f"There is no such step: {error}.", expected=f"some of {one_of(StepName)}") from error
        problems = check_project(self, wanted, model=model, random_weights=random_weights)
        return CheckReport(project=self.name, checked=wanted, problems=problems)

    def _rows(self) -> list[tuple[str, str, str]]:
        tasks, annotations = self.annotation_paths
        configuration = [
            (self.path / RUN_CONFIG_NAME, "partitions, windows, postprocessing, legend"),
            (self.path / DATASET_CONFIG_NAME, "layers and data sources"),
            (self.path / MODEL_CONFIG_NAME, "model"),
        ]
        if self.single_config_path is not None:
            configuration = [(self.single_config_path, "the whole configuration")]
        single = [
            *configuration,
            (self.path / "checkpoint.ckpt", "weights"),
            (tasks, "annotation tasks"),
            (annotations, "annotations"),
            (self.path / "requirements.txt", "further packages"),
            (self.path / "extra_model_files", "further model files"),
        ]
        rows = [(path.name, what, "yes" if path.exists() else "no") for path, what in single]
        requests = [(path.relative_to(self.path).as_posix(), "request", "yes") for path in self.requests.values()]
        return rows + (requests or [(self.REQUEST_NAME, "request", "no")])

    def __repr__(self) -> str:
        return text_table(_COLUMNS, self._rows(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._rows(), caption=self._caption())

    def _caption(self) -> str:
        if self.place is not None:
            return f"Project {self.name}, fetched from {self.place.url}"
        return f"Project {self.name} in {shown_path(self.path.parent if self.bundle is None else self.bundle)}"


@functools.lru_cache(maxsize=16)
def _read_run_config(path: Path, _mtime_ns: int, _size: int) -> RunConfig:
    return read_run_config(path)


def _fetched(place: Place) -> Path:
    try:
        # Scratches that lie in a project are no part of it.
        return fetched(place, what="project", wanted=lambda path: not path.startswith("scratches/"))
    except InputFileError as error:
        raise ProjectError("The project folder is missing.", where=place.url, fix=error.fix) from error
