"""What a plan costs: areas, pixels, an estimate of the imagery, and what is odd about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from rslearn.config import LayerConfig
from rslearn.utils.geometry import Projection
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.geojson import PredictionRequestCollection, feature_shape
from olmoearth_nb.geometry import Shapes, equal_area, shape_array, valid_shapes, wgs84_outlines
from olmoearth_nb.lonlat import unwrap_antimeridian
from olmoearth_nb.planning.plan import Plan
from olmoearth_nb.planning.units import readable_bytes
from olmoearth_nb.planning.volume import imagery_volume
from olmoearth_nb.tables import html_table, text_table
from olmoearth_nb.types import PixelBounds

__all__ = ["PlanCosts", "costs_of", "doubts_about"]

# Cutting the request by more windows takes longer than people wait between two settings.
_MOST_CUT = 3000
_SLIVER = 0.01
_MANY_SLIVERS = 0.1
_MUCH_BESIDE = 4.0
_MUCH_OVERLAP = 1.5
_MUCH_SHARED = 0.5
# Outlines of windows are straight in degrees, those of the request too.
_ROUNDING = 1e-3
_MANY_WINDOWS = 100_000


@dataclass(frozen=True, kw_only=True, repr=False)
class PlanCosts:
    """What a plan costs.

    Attributes:
        partitions: Number of partitions.
        windows: Number of distinct windows.
        shared: Of these, windows that several partitions need.
        pixels: Pixels of all windows.
        requested_km2: Area of the request, square kilometres; 0 for points and lines.
        windows_km2: Area of all windows, overlaps as often as they are computed.
        covered: Share of the request that lies in a window; None where that was not worked out (no area, many windows).
        overlaid: How often the windows cover a place on average; None as above.
        slivers: Windows that hold less than 1 % of the request; None as above.
        imagery_bytes: Estimate of the imagery, not compressed; None if it is not known.
        assumptions: What the estimate assumes.
    """

    partitions: int
    windows: int
    shared: int
    pixels: int
    requested_km2: float
    windows_km2: float
    covered: float | None = None
    overlaid: float | None = None
    slivers: int | None = None
    imagery_bytes: int | None = None
    assumptions: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Name and text of each number."""
        ratio = self.windows_km2 / self.requested_km2 if self.requested_km2 else 0.0
        times = f" ({ratio:.3g} × the request)" if ratio else ""
        covered = "" if self.covered is None else f", {_percent(self.covered)} of it in windows"
        return [
            ("partitions", f"{self.partitions:,}"),
            ("windows", f"{self.windows:,}"),
            ("shared windows", f"{self.shared:,}"),
            ("area of the request", f"{self.requested_km2:,.4g} km²{covered}"),
            ("area of the windows", f"{self.windows_km2:,.4g} km²{times}"),
            ("pixels", f"{self.pixels:,}"),
            ("imagery, about", "not known" if self.imagery_bytes is None else readable_bytes(self.imagery_bytes)),
        ]

    def __repr__(self) -> str:
        return text_table(("", ""), self.rows, caption="What the plan costs")

    def _repr_html_(self) -> str:
        return html_table(("what", "how much"), self.rows, caption="What the plan costs")


def costs_of(
    plan: Plan, request: PredictionRequestCollection, layers: Mapping[str, LayerConfig] | None = None
) -> PlanCosts:
    """What a plan costs.

    Args:
        plan: The plan.
        request: What it was made for.
        layers: Those of ``dataset.json``; None if they are not known.
    """
    specs = plan.windows
    boxes = np.array([spec.bounds for spec in specs], dtype=np.int64).reshape(-1, 4)
    sizes = boxes[:, 2:] - boxes[:, :2]
    outlines, area = _one_side(
        _outlines([(spec.projection, spec.bounds) for spec in specs]),
        shape_array([feature_shape(feature) for feature in request.features]),
    )
    outlines, requested = equal_area(outlines), shapely.union_all(valid_shapes(equal_area(area)))
    covered, overlaid, slivers = _coverage(outlines, requested)
    uses = Counter((spec.group, spec.name) for partition in plan.partitions for spec in partition.windows)
    volume = None if layers is None else imagery_volume([(one.bounds, one.time_range) for one in specs], layers)
    return PlanCosts(
        partitions=len(plan.partitions),
        windows=len(specs),
        shared=sum(count > 1 for count in uses.values()),
        pixels=int(sizes.prod(axis=1).sum()),
        requested_km2=requested.area / 1e6,
        windows_km2=float(shapely.area(outlines).sum()) / 1e6,
        covered=covered,
        overlaid=overlaid,
        slivers=slivers,
        imagery_bytes=None if volume is None else volume.total_bytes,
        assumptions=() if volume is None else volume.assumptions,
    )


def doubts_about(costs: PlanCosts) -> tuple[str, ...]:
    """What is odd about a plan, one sentence each.

    Args:
        costs: What it costs.
    """
    overlaid, slivers = costs.overlaid or 1.0, costs.slivers or 0
    covered = 1.0 if costs.covered is None else costs.covered
    beside = costs.windows_km2 / costs.requested_km2 / overlaid if costs.requested_km2 else 0.0
    found = []
    if beside > _MUCH_BESIDE:
        found.append(
            f"The windows hold {beside:.3g} times the area of the request: most of what is computed lies beside it. "
            "Smaller windows fit closer."
        )
    if slivers > _MANY_SLIVERS * costs.windows:
        found.append(f"{slivers:,} of {costs.windows:,} windows are slivers: less than 1 % of them is requested.")
    if covered < 1 - _ROUNDING:
        found.append(f"{_percent(1 - covered)} of the request lies in no window.")
    if overlaid > _MUCH_OVERLAP:
        found.append(f"Windows lie over each other: a place is computed {overlaid:.2g} times on average.")
    if costs.shared > _MUCH_SHARED * costs.windows:
        found.append("Most windows are needed by more than one partition: larger partitions would share less.")
    if costs.windows > _MANY_WINDOWS:
        found.append(
            f"{costs.windows:,} windows: each is some files in the scratch and some milliseconds of every step. "
            "Larger windows do the same work with fewer."
        )
    return tuple(found)


# ---- areas -----------------------------------------------------------------------------------------------------


def _one_side(windows: Shapes, area: Shapes) -> tuple[Shapes, Shapes]:
    """Both next to each other, on whichever side of the antimeridian they are."""
    together = shapely.GeometryCollection([*windows, *area])
    parts = shape_array(list(shapely.get_parts(unwrap_antimeridian(together))))
    return parts[: len(windows)], parts[len(windows) :]


def _outlines(windows: Sequence[tuple[Projection, PixelBounds]]) -> Shapes:
    by_projection: dict[Projection, list[int]] = {}
    keys: dict[tuple[str, float, float], Projection] = {}
    for index, (projection, _) in enumerate(windows):
        key = (projection.crs.to_string(), projection.x_resolution, projection.y_resolution)
        by_projection.setdefault(keys.setdefault(key, projection), []).append(index)
    found: Shapes = np.empty(len(windows), dtype=object)
    for projection, members in by_projection.items():
        boxes = np.array([windows[index][1] for index in members], dtype=np.float64)
        found[members] = wgs84_outlines(projection, boxes)
    return found


def _coverage(windows: Shapes, requested: BaseGeometry) -> tuple[float | None, float | None, int | None]:
    """Share of the request in windows, how often they cover a place, and windows with next to nothing of it."""
    if not 0 < len(windows) <= _MOST_CUT:
        return None, None, None
    together = shapely.union_all(windows)
    overlaid = float(shapely.area(windows).sum() / together.area) if together.area else None
    if not requested.area:
        return None, overlaid, None
    shapely.prepare(requested)
    inside = shapely.area(shapely.intersection(windows, requested))
    slivers = int((inside < _SLIVER * shapely.area(windows)).sum())
    return float(shapely.intersection(together, requested).area / requested.area), overlaid, slivers


# ---- text ------------------------------------------------------------------------------------------------------


def _percent(share: float) -> str:
    """Never 0 or 100 where it is not quite."""
    return f"{share:.0%}" if share in (0, 1) or 0.01 <= share <= 0.99 else f"{share:.1%}"
