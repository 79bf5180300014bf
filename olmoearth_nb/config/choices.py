"""How the two stages of partitioning are set up, as a few values that people turn, and back to configuration.

What has no value here (``clip``, ``limit``, the arguments of a class of one's own) stays as it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rslearn.utils.geometry import Projection

from olmoearth_nb.config.build import build_object
from olmoearth_nb.config.imports import import_object
from olmoearth_nb.config.roles import role_for
from olmoearth_nb.config.schema import ObjectSpec

__all__ = ["SIZED", "StageChoice", "choice_of", "with_choice"]

_GRID, _CHUNK = "GridPartitioner", "ChunkPartitioner"
SIZED = {_GRID: "grid_size", "FixedWindowPartitioner": "window_size"}
"""Partitioners with a size, and the argument that is the size."""

_HOME = "olmoearth_nb.partitioners"
_CHUNKS = "num_geometries_per_partition"
_COMMON = ("output_projection", "use_utm", "limit")
_PROJECTION = "rslearn.utils.geometry.Projection"


@dataclass(frozen=True, kw_only=True)
class StageChoice:
    """One stage.

    Attributes:
        partitioner: Class of this package by its bare name, or the dotted name of another one.
        size: Of a cell or window, in degrees (partitions) or pixels (windows).
        overlap: How far a cell is grown on all sides, in the same unit.
        chunk: Features to a partition, of ``ChunkPartitioner``.
        use_utm: Whether windows are in the UTM zone of each place.
        crs: Else in this one.
        resolution: Size of a pixel in units of the projection, above 0.
    """

    partitioner: str
    size: float = 0.0
    overlap: float = 0.0
    chunk: int = 1
    use_utm: bool = False
    crs: str = "EPSG:4326"
    resolution: float = 1.0


def choice_of(spec: ObjectSpec, *, search_path: Sequence[Path] = ()) -> StageChoice:
    """What a configuration says.

    Args:
        spec: The object of ``partition_strategies``.
        search_path: Folders to look in for custom modules.

    Raises:
        ConfigError: If it is wrong.
    """
    made = build_object(spec, role_for(spec), search_path=search_path)
    name = type(made).__name__ if _is_ours(spec, search_path) else spec.target
    projection = getattr(made, "output_projection", None)
    if not isinstance(projection, Projection):
        return StageChoice(partitioner=name)
    return StageChoice(
        partitioner=name,
        size=getattr(made, SIZED.get(name, ""), 0.0),
        overlap=getattr(made, "overlap_size", 0.0) if name == _GRID else 0.0,
        chunk=getattr(made, _CHUNKS, 1) if name == _CHUNK else 1,
        use_utm=bool(getattr(made, "use_utm", False)),
        crs=projection.crs.to_string(),
        resolution=abs(projection.x_resolution),
    )


def with_choice(spec: ObjectSpec, before: StageChoice, after: StageChoice, *, windows: bool) -> ObjectSpec:
    """The configuration of another choice; only what differs from the choice before is written.

    Args:
        spec: The object as it is configured.
        before: What it says, see :func:`choice_of`.
        after: What it shall say.
        windows: Whether it makes windows; partitions have no projection.
    """
    if after == before:
        return spec
    raw, arguments = dict(spec.raw), spec.arguments
    if after.partitioner != before.partitioner:
        raw = {"class_path": _class_path(spec.target, after.partitioner)}
        arguments = {key: arguments[key] for key in _COMMON if key in arguments}
        before = replace(before, partitioner=after.partitioner, size=0, overlap=0, chunk=0)
    arguments |= _sizes(before, after)
    if windows and after.use_utm != before.use_utm:
        arguments["use_utm"] = after.use_utm
    if windows and (after.crs, after.resolution) != (before.crs, before.resolution):
        arguments["output_projection"] = _projection(arguments.get("output_projection"), before, after)
    if "class_path" in raw:
        raw.pop("init_args", None)
        return ObjectSpec({**raw, **({"init_args": arguments} if arguments else {})}, spec.path, spec.file)
    return ObjectSpec({**{key: raw[key] for key in ("_module_", "_callable_")}, **arguments}, spec.path, spec.file)


def _is_ours(spec: ObjectSpec, search_path: Sequence[Path]) -> bool:
    target = import_object(spec.target, search_path=search_path)
    return isinstance(target, type) and target.__module__ == _HOME


def _class_path(old: str, name: str) -> str:
    """Dotted if the class before was."""
    return f"{_HOME}.{name}" if old.startswith(f"{_HOME}.") else name


def _sizes(before: StageChoice, after: StageChoice) -> dict[str, Any]:
    name, arguments = after.partitioner, {}
    if name in SIZED and after.size != before.size:
        arguments[SIZED[name]] = _tidy(after.size)
    if name == _GRID and after.overlap != before.overlap:
        arguments["overlap_size"] = _tidy(after.overlap)
    if name == _CHUNK and after.chunk != before.chunk:
        arguments[_CHUNKS] = after.chunk
    return arguments


def _projection(raw: object, before: StageChoice, after: StageChoice) -> dict[str, Any]:
    """The projection as it is written, with what changed; a new one where it is written in some other way."""
    arguments = raw.get("init_args") if isinstance(raw, Mapping) else None
    wanted = {"crs": after.crs, "x_resolution": _tidy(after.resolution), "y_resolution": _tidy(-after.resolution)}
    if not (isinstance(raw, Mapping) and isinstance(arguments, Mapping) and wanted.keys() <= arguments.keys()):
        return {"class_path": _PROJECTION, "init_args": wanted}
    if after.crs == before.crs:
        del wanted["crs"]
    if after.resolution == before.resolution:
        del wanted["x_resolution"], wanted["y_resolution"]
    return {**raw, "init_args": {**arguments, **wanted}}


def _tidy(number: float) -> float:
    """A number as people write it: 128, not 128.0."""
    return int(number) if number == int(number) else number
