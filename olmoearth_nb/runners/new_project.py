"""A new project in one call: from a file of labels to a folder that can be run, with some imagery to look at."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from olmoearth_nb.newproject.propose import propose_project
from olmoearth_nb.newproject.reading import Labels
from olmoearth_nb.newproject.writing import NewProject, check_target, write_project
from olmoearth_nb.progress import Progress
from olmoearth_nb.runners.base import spread
from olmoearth_nb.runners.finetune import OlmoEarthRunFineTuneRunner
from olmoearth_nb.runners.summaries import BuildSummary
from olmoearth_nb.store.materialize import BuildOptions

__all__ = ["build_sample", "new_project"]


def new_project(
    directory: str | PathLike[str],
    labels: Labels,
    *,
    task: str,
    source: str = "sentinel2",
    encoder: str | None = None,
    sample: int | None = None,
    progress: Progress = None,
    **choices: Any,
) -> NewProject:
    """Writes a complete, checked project for labels.

    What is not given is proposed: :func:`olmoearth_nb.propose_project` shows it with reasons, and writes nothing.

    Args:
        directory: Folder of the project; must be empty or not there.
        labels: Any vector file that geopandas reads, in any CRS; a table (CSV, TSV, Parquet) with longitude and
            latitude, or x and y; or a frame of either.
        task: ``segmentation``, ``classification``, ``regression`` or ``per-pixel-regression``.
        source: ``sentinel2``, ``sentinel1``, ``landsat``, or ``local:`` and a glob of raster files.
        encoder: ``olmoearth-nano``, ``-tiny``, ``-small``, ``-base`` or ``unet``.
        sample: Prepare the labelled windows, and build so many of them, to look at.
        progress: Of the sample, see :mod:`olmoearth_nb.progress`.
        **choices: ``column``, ``label_name``, ``colors``, ``start_time``, ``end_time``, ``window_size``,
            ``resolution``, ``grid_size``, ``split``, ``epochs``, ``layer``, ``crs``: see
            :class:`olmoearth_nb.newproject.choices.Choices`.

    Returns:
        The project; it shows itself, with the commands to go on with.

    Raises:
        InputFileError: If the labels or the imagery can't be read or used.
        StorageError: If the folder can't be written.
        UsageError: If something is at the folder's place, or an argument makes no sense.
        BuildError: If no window of the sample got its imagery.

    Example:
        >>> new_project("mine", "fields.gpkg", task="segmentation", source="local:imagery/*.tif")  # doctest: +SKIP
    """
    path = check_target(directory)
    spread((), sample)  # says at once what is wrong with it
    proposal = propose_project(labels, task=task, source=source, encoder=encoder, project_dir=path, **choices)
    written = write_project(proposal, path)
    if sample is None:
        return written
    return replace(written, sample=build_sample(written.path, sample, progress=progress))


def build_sample(project_path: str | PathLike[str], count: int, *, progress: Progress = None) -> BuildSummary:
    """Prepares the labelled windows of a project, and builds some of them.

    Args:
        project_path: The project.
        count: How many, spread over all.
        progress: See :mod:`olmoearth_nb.progress`.

    Raises:
        BuildError: If no window got its imagery.
    """
    runner = OlmoEarthRunFineTuneRunner(
        project_path,
        Path(project_path) / "scratches" / "finetune",
        build=BuildOptions(workers=0),
        progress=progress,
    )
    runner.prepare_labeled_windows()
    return runner.build_dataset_from_windows(limit=count)
