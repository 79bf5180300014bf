"""Writes a proposed project: all files or none, read back and checked."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from olmoearth_nb.border import foreign_code
from olmoearth_nb.config import CheckReport, Project
from olmoearth_nb.errors import ConfigError, StorageError, UsageError
from olmoearth_nb.files import absolute_path, shown_path, write_json, write_text
from olmoearth_nb.geojson import read_request
from olmoearth_nb.labels.annotations import make_annotations
from olmoearth_nb.newproject.classes import named_classes
from olmoearth_nb.newproject.dataset import dataset_config
from olmoearth_nb.newproject.model import model_text
from olmoearth_nb.newproject.proposal import Proposal
from olmoearth_nb.newproject.readme import readme_text, requirements_of
from olmoearth_nb.newproject.request import request_of
from olmoearth_nb.newproject.run import run_text
from olmoearth_nb.tables import html_table, text_table

__all__ = ["NewProject", "write_project"]

_COLUMNS = ("next", "what it does")


@dataclass(frozen=True, kw_only=True, repr=False)
class NewProject:
    """A project that was written; shows itself with the commands to go on with.

    Attributes:
        path: Its folder.
        proposal: What it was made of.
        report: What a check finds; a missing checkpoint is no error of it.
        sample: What building some windows gave, if that was wanted.
    """

    path: Path
    proposal: Proposal
    report: CheckReport
    sample: Any = None

    @property
    def project(self) -> Project:
        """The project."""
        return Project(self.path)

    @property
    def ok(self) -> bool:
        """Whether the check finds nothing wrong, and a sample that was wanted could be built."""
        wrong = [one for one in self.report.problems if one.severity == "error" and one.file != "checkpoint.ckpt"]
        return not wrong and getattr(self.sample, "ok", True)

    def check(self) -> CheckReport:
        """Checks it again, as it is now."""
        return self.project.check()

    def next_steps(self) -> list[tuple[str, str]]:
        """Commands to go on with, and what each does."""
        shown = shown_path(self.path)
        needs = "" if self.proposal.imagery.is_local else ", over the internet"
        return [
            (f"olmoearth-nb prepare {shown}", f"annotations to {self.proposal.window_count} labelled windows"),
            (f"olmoearth-nb build {shown}", f"their imagery{needs}"),
            (f"olmoearth-nb finetune {shown}", "trains, and names the best checkpoint"),
            (f"olmoearth-nb predict {shown} --checkpoint-path BEST.ckpt", "all steps of the first request"),
        ]

    def _caption(self) -> str:
        return f"{shown_path(self.path)}: a new project for {self.proposal.task.value} of {self.proposal.label_name}"

    def __repr__(self) -> str:
        parts = [repr(self.proposal), text_table(_COLUMNS, self.next_steps(), caption=self._caption())]
        if not self.ok:
            parts.append(repr(self.report))
        return "\n\n".join(parts + ([repr(self.sample)] if self.sample is not None else []))

    def _repr_html_(self) -> str:
        parts = [self.proposal._repr_html_(), html_table(_COLUMNS, self.next_steps(), caption=self._caption())]
        if not self.ok:
            parts.append(self.report._repr_html_())
        return "".join(parts + ([self.sample._repr_html_()] if self.sample is not None else []))

    def to_dict(self) -> dict[str, Any]:
        """Path, proposal, check and sample as plain data."""
        return {
            "path": str(self.path),
            **self.proposal.to_dict(),
            "check": self.report.to_dict(),
            "next": [command for command, _ in self.next_steps()],
            "sample": None if self.sample is None else self.sample.to_dict(),
        }


def check_target(directory: str | PathLike[str]) -> Path:
    """The folder of a new project, if it can be made.

    Args:
        directory: Where it shall be.

    Raises:
        UsageError: If something is there already.
    """
    path = absolute_path(directory, what="project")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(
            "There is something at the place of the new project.",
            where=str(shown_path(path)),
            expected="a folder that is empty or not there",
            fix="Choose another folder.",
        )
    return path


def write_project(proposal: Proposal, directory: str | PathLike[str]) -> NewProject:
    """Writes the files of a project.

    Args:
        proposal: The project.
        directory: Its folder, which is made; an empty one may be there.

    Raises:
        ConfigError: If what was written is not what was meant.
        StorageError: If the folder can't be written.
        UsageError: If something is there already.
    """
    path = check_target(directory)
    with foreign_code(StorageError, "The project can't be written", where=str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that relative paths hold and the move is one step.
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        _write_files(proposal, beside, name=path.name)
        _check_written(proposal, beside)
        with foreign_code(StorageError, "The project can't be written", where=str(path)):
            beside.chmod(0o755)
            beside.replace(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return NewProject(path=path, proposal=proposal, report=Project(path).check())


def _write_files(proposal: Proposal, folder: Path, *, name: str) -> None:
    write_json(folder / "dataset.json", dataset_config(proposal))
    write_text(folder / "model.yaml", model_text(proposal) + "\n")
    write_text(folder / "olmoearth_run.yaml", run_text(proposal))
    write_json(folder / Project.REQUEST_NAME, request_of(proposal))
    write_text(folder / "README.md", readme_text(proposal, name))
    if needed := requirements_of(proposal):
        write_text(folder / "requirements.txt", "\n".join(needed) + "\n")
    frame = proposal.annotations
    make_annotations(
        frame,
        folder,
        class_column="value",
        label_name=proposal.label_name,
        start_time=frame["start"],
        end_time=frame["end"],
        task_column="task_area" if proposal.task.is_raster else None,
        resolution=proposal.resolution,
    )


def _check_written(proposal: Proposal, folder: Path) -> None:
    """Reads back what names and numbers from outside went into."""
    model = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
    run = yaml.safe_load((folder / "olmoearth_run.yaml").read_text(encoding="utf-8"))
    read_request(folder / Project.REQUEST_NAME)
    task = model["data"]["init_args"]["task"]["init_args"]
    results = run["inference_results_config"]
    pairs: list[tuple[str, Any, Any]] = [
        ("bands", [*next(iter(model["data"]["init_args"]["inputs"].values()))["bands"]], [*proposal.imagery.bands]),
        ("grid_size", run["window_prep"]["data_splitter"]["init_args"]["grid_size"], proposal.split.grid_size),
    ]
    if proposal.classes:
        allowed = results["classification_fields"][0]["allowed_values"]
        meant = [{"value": one.value, "label": one.name, "color": list(one.color)} for one in proposal.classes]
        names = task.get("class_names", task.get("classes"))
        pairs += [("allowed_values", allowed, meant), ("class names", names, named_classes(proposal.classes))]
    elif proposal.values is not None:
        field = results["regression_fields"][0]
        meant_range = [proposal.values.low, proposal.values.high]
        pairs.append(("values", [field["min_value"], field["max_value"]], meant_range))
    for name, written, meant in pairs:
        if json.dumps(written) != json.dumps(meant) and written != meant:
            raise ConfigError(
                "The file does not say what was meant.", where=name, expected=str(meant), found=str(written)
            )
