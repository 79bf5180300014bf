"""Calls postprocessors, which may be anybody's, and checks what they give before it becomes a result.

Paths are given as UPath, which is a Path: rslearn's readers and writers of rasters take nothing else.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ValidationError
from upath import UPath

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import PostprocessError
from olmoearth_nb.files import atomic_path
from olmoearth_nb.geojson import PredictionRequestFeature, PredictionResultCollection, PredictionResultFeature
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.types import TimeRange

__all__ = [
    "Merging",
    "merged_features",
    "merged_rasters",
    "process_raster",
    "processed_features",
    "takes_windows",
]

Merging: TypeAlias = Literal["process_partition", "process_dataset"]
"""The method of the two stages that make one result of several."""


def process_raster(process: Any, request: PredictionRequestFeature, source: Path, target: Path, *, where: str) -> None:
    """Processes a copy of a window's GeoTIFF.

    Args:
        process: The postprocessor of windows.
        request: The request feature that the window was made for.
        source: What the model wrote.
        target: Where the processed copy goes; complete or not there at all.
        where: Which window, for errors.

    Raises:
        PostprocessError: If it fails, or removes the file.
    """
    with atomic_path(target) as beside:
        shutil.copyfile(source, beside)
        with foreign_code(PostprocessError, f"{_name(process)}.process_window failed", where=where):
            process.process_window(request, UPath(beside))
        if not beside.is_file():
            raise PostprocessError(f"{_name(process)}.process_window removed the file of the window.", where=where)


def merged_rasters(
    merge: Any,
    method: Merging,
    rasters: Mapping[Path, TimeRange | None],
    folder: Path,
    *,
    mask: Mask | None = None,
    where: str,
) -> list[Path]:
    """Merges GeoTIFFs; a postprocessor with ``set_times()`` is told when each of them is.

    Args:
        merge: The postprocessor.
        method: Which stage it is.
        rasters: The GeoTIFFs, those that win first, and the time ranges of their windows; None for a partition.
        folder: Where to; it exists.
        mask: Valid area of the result, or None.
        where: Which partition or scratch, for errors.

    Returns:
        The files written.

    Raises:
        PostprocessError: If it fails, or names files that it did not write there.
    """
    masks_itself = mask is not None and hasattr(merge, "set_mask")
    if masks_itself:
        merge.set_mask(mask)
    with foreign_code(PostprocessError, f"{_name(merge)}.{method} failed", where=where):
        if hasattr(merge, "set_times"):
            merge.set_times({str(path): times for path, times in rasters.items()})
        written = getattr(merge, method)([UPath(path) for path in rasters], UPath(folder))
    files = _checked_files(written, merge, folder)
    if mask is not None and not masks_itself:
        for path in files:
            mask.apply(path)
    return files


def takes_windows(merge: Any) -> bool:
    """Whether a postprocessor makes the result of the request of the windows' GeoTIFFs instead of the partitions'.

    Args:
        merge: The postprocessor of the dataset stage.
    """
    return bool(getattr(merge, "from_windows", False))


def processed_features(
    process: Any,
    requests: Sequence[PredictionRequestFeature],
    collection: PredictionResultCollection,
    *,
    mask: Mask | None,
    seen: Collection[str] = (),
    where: str,
) -> PredictionResultCollection:
    """Results of a window, for every request feature that it was made for, each once.

    Args:
        process: The postprocessor of windows.
        requests: Those request features.
        collection: What the model found in the window.
        mask: Valid area of the result, or None.
        seen: Features, as JSON, that are in the result of another partition already.
        where: Which window, for errors.

    Raises:
        PostprocessError: If it fails, or gives no feature collection.
    """
    features: list[PredictionResultFeature] = []
    known = set(seen)
    for request in requests:
        with foreign_code(PostprocessError, f"{_name(process)}.process_window failed", where=where):
            result = process.process_window(request, collection.model_copy(deep=True))
        result = _checked_collection(result, process)
        if mask is not None:
            result = mask.keep_features(result)
        with foreign_code(PostprocessError, f"{_name(process)}.process_window gave what is no JSON", where=where):
            texts = [feature.model_dump_json() for feature in result.features]
        features += [feature for feature, text in zip(result.features, texts, strict=True) if text not in known]
        known |= set(texts)
    return PredictionResultCollection(type="FeatureCollection", features=features)


def merged_features(
    merge: Any, method: Merging, results: Sequence[PredictionResultCollection], *, where: str
) -> PredictionResultCollection:
    """Merges feature collections.

    Args:
        merge: The postprocessor.
        method: Which stage it is.
        results: The collections, in order.
        where: Which partition or scratch, for errors.

    Raises:
        PostprocessError: If it fails, or gives no feature collection.
    """
    with foreign_code(PostprocessError, f"{_name(merge)}.{method} failed", where=where):
        combined = getattr(merge, method)(list(results))
    return _checked_collection(combined, merge)


def _name(component: Any) -> str:
    return type(component).__name__


def _checked_files(written: Any, component: Any, folder: Path) -> list[Path]:
    if not isinstance(written, list | tuple | None):
        raise PostprocessError(
            f"{_name(component)} did not return a list of files.", expected="a list of paths", found=repr(written)[:200]
        )
    paths = [Path(str(path)) for path in written or ()]
    bad = [path for path in paths if path.parent.resolve() != folder.resolve() or not path.is_file()]
    if bad:
        raise PostprocessError(
            f"{_name(component)} returned files that it did not write to the folder it was given.",
            expected=f"files in {folder}",
            found=", ".join(map(str, bad[:3])),
        )
    return paths


def _checked_collection(result: Any, component: Any) -> PredictionResultCollection:
    if isinstance(result, PredictionResultCollection):  # type: ignore[misc]  # pydantic makes it a class
        return result
    try:
        # Custom classes may return the equal model of another package.
        return PredictionResultCollection.model_validate(
            result.model_dump() if isinstance(result, BaseModel) else result
        )
    except ValidationError as error:
        raise PostprocessError(
            f"{_name(component)} did not return a feature collection.",
            expected="a PredictionResultCollection",
            found=type(result).__name__,
        ) from error
