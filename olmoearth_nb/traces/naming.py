"""Bands and dates of inputs by what they are called."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from olmoearth_nb.errors import UsageError
from olmoearth_nb.traces.attribution import time_labels

__all__ = ["find_places", "places_of"]


def find_places(inputs: Mapping[str, xr.DataArray], wanted: str | int, dim: str) -> dict[str, list[int]]:
    """Which bands or time steps of some inputs are meant.

    Args:
        inputs: Name -> (time, band, y, x).
        wanted: ``band`` or ``input/band``; a date as text, its number in series, or ``input/date``.
        dim: ``band`` or ``time``.

    Returns:
        Input -> their numbers; inputs without them are left out.

    Raises:
        UsageError: If there are none.
    """
    found = places_of(inputs, wanted, dim)
    if found:
        return found
    what = "date" if dim == "time" else "band"
    names = {
        name: [str(one) for one in array["band"].values] if dim == "band" else time_labels(array)
        for name, array in inputs.items()
    }
    near = difflib.get_close_matches(str(wanted), [one for ones in names.values() for one in ones], n=1)
    known = "; ".join(
        f"{name}: {', '.join(ones[:16])}{', …' if len(ones) > 16 else ''}" for name, ones in names.items()
    )
    raise UsageError(
        f"No input has such a {what}.",
        expected=known,
        found=repr(wanted),
        fix=f"Did you mean {near[0]!r}?" if near else None,
    )


def places_of(inputs: Mapping[str, xr.DataArray], wanted: str | int, dim: str) -> dict[str, list[int]]:
    """The same without an error: nothing if there are none.

    Args:
        inputs: See :func:`find_places`.
        wanted: See :func:`find_places`.
        dim: See :func:`find_places`.
    """
    chosen = dict(inputs)
    if isinstance(wanted, str) and wanted.split("/")[0] in inputs and "/" in wanted:
        name, wanted = wanted.split("/", 1)
        chosen = {name: inputs[name]}
        wanted = int(wanted) if dim == "time" and wanted.isdigit() and len(wanted) < 4 else wanted
    elif isinstance(wanted, int):
        # What has one time step is no series: a mask, a height.
        chosen = {name: array for name, array in chosen.items() if array.sizes["time"] > 1}
    found = {}
    for name, array in chosen.items():
        places = _steps(array, wanted) if dim == "time" else _bands(array, wanted)
        if places:
            found[name] = places
    return found


def _bands(array: xr.DataArray, wanted: str | int) -> list[int]:
    return [index for index, band in enumerate(array["band"].values) if str(band) == str(wanted)]


def _steps(array: xr.DataArray, wanted: str | int) -> list[int]:
    count = array.sizes["time"]
    if isinstance(wanted, int | np.integer):
        return [int(wanted) % count] if -count <= wanted < count else []
    if "time" not in array.coords:
        return []
    try:
        period = pd.Period(str(wanted))
    except ValueError:
        return []
    times: npt.NDArray[np.datetime64] = array["time"].values
    low, high = (np.datetime64(edge.to_datetime64()) for edge in (period.start_time, period.end_time))
    return np.flatnonzero((times >= low) & (times <= high)).tolist()
