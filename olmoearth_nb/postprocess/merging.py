"""Merges vector results into a file.

A polygon of 13 vertices takes 6 kB as a feature, and 0.6 kB each as the JSON that is written of it and as a geometry.
The postprocessors here that only choose features need no more than those two of each.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, compress
from pathlib import Path
from typing import Any

from shapely.geometry.base import BaseGeometry

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import PostprocessError
from olmoearth_nb.geojson import (
    PredictionResultCollection,
    PredictionResultFeature,
    collection_text,
    feature_shape,
    read_result,
    stream_result,
    write_collection,
)
from olmoearth_nb.geojson_text import write_features
from olmoearth_nb.many import rarely_collected
from olmoearth_nb.postprocess.calls import Merging, merged_features
from olmoearth_nb.postprocess.vector import CombineAndDeduplicateGeojson, CombineGeojson

__all__ = ["write_merged"]


def write_merged(
    target: Path, merge: Any, method: Merging, results: Iterable[PredictionResultCollection | Path], *, where: str
) -> None:
    """Merges results and writes what comes of them; the file is complete or not there at all.

    Args:
        target: Where to.
        merge: The postprocessor.
        method: Which stage it is.
        results: The results, in order, or the files that they are in.
        where: Which partition or scratch, for errors.

    Raises:
        InputFileError: If a file can't be read.
        PostprocessError: If the postprocessor fails, or gives no feature collection.
        StorageError: If the place can't be written, or a property is nothing that JSON can hold.
    """
    if type(merge) not in (CombineGeojson, CombineAndDeduplicateGeojson):  # what derives from them may do anything
        collections = [read_result(one) if isinstance(one, Path) else one for one in results]
        write_collection(target, merged_features(merge, method, collections, where=where))
    else:
        write_features(target, _merged_texts(merge, method, results, target=target, where=where))


@rarely_collected()
def _merged_texts(
    merge: CombineGeojson | CombineAndDeduplicateGeojson,
    method: Merging,
    results: Iterable[PredictionResultCollection | Path],
    *,
    target: Path,
    where: str,
) -> list[bytes]:
    texts: list[bytes] = []
    shapes: list[BaseGeometry] = []
    for feature in chain.from_iterable(map(_features, results)):
        if isinstance(merge, CombineAndDeduplicateGeojson):
            if feature.geometry is None:
                continue
            shapes.append(feature_shape(feature))
        texts.append(collection_text(feature, where=str(target)).encode())
    if not isinstance(merge, CombineAndDeduplicateGeojson):
        return texts
    with foreign_code(PostprocessError, f"{type(merge).__name__}.{method} failed", where=where):
        return list(compress(texts, merge.kept(shapes)))


def _features(result: PredictionResultCollection | Path) -> Iterable[PredictionResultFeature]:
    return stream_result(result) if isinstance(result, Path) else result.features
