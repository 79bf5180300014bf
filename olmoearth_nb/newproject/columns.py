"""Which column has the class or the value, and which the dates: found where it is clear, asked for where it is not."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import geopandas as gpd
import pandas as pd

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.labels.classes import plain_value
from olmoearth_nb.labels.sources import require_column
from olmoearth_nb.newproject.reading import column_examples

__all__ = ["Found", "find_class_column", "find_dates", "find_names_column", "find_value_column", "to_times"]

_CLASS_NAMES = re.compile(
    r"class|label|categor|land_?cover|land_?use|lulc|^lc(_|$)|species|crop|habitat|^type$|_type$|klasse|clase|classe",
    re.I,
)
_VALUE_NAMES = re.compile(
    r"value|height|biomass|agb|moisture|yield|cover|lai|ndvi|ndre|fraction|percent|^y$|target|density|volume|carbon",
    re.I,
)
_IDS = re.compile(r"(^|_)(id|fid|ogc_fid|objectid|gid|uuid|index|unnamed.*)$|^unnamed", re.I)
_PLACES = re.compile(r"^(lon|lat|long|lng|longitude|latitude|x|y|z|easting|northing|elevation|altitude)$", re.I)
_MEASURES = re.compile(r"(shape_)?(area|leng(th)?|perimeter)(_.*)?$", re.I)
_DATE_NAMES = re.compile(r"date|time|year|datum|fecha|jahr|observed|acquired|day$", re.I)
_STARTS, _ENDS = re.compile(r"start|begin|from|since", re.I), re.compile(r"end|until|stop|(^|_)to$", re.I)
_MOST_CLASSES = 100
_YEARS = (1972, 2100)  # from the first Landsat on
_MOSTLY = 0.95


@dataclass(frozen=True)
class Found:
    """A column, and why it was taken."""

    column: str
    reason: str


def find_class_column(frame: gpd.GeoDataFrame, given: str | None, *, where: str) -> Found:
    """The column of the classes.

    Args:
        frame: The labels.
        given: The column, if somebody named it.
        where: The source, for errors.

    Raises:
        InputFileError: If there is no such column, or it is not clear which one it is: lists what there is.
    """
    if given is not None:
        return _given(frame, given, role="class_column", where=where)
    usable = [name for name in _columns(frame) if _could_be_class(frame[name], name)]
    named = [name for name in usable if _CLASS_NAMES.search(name)]
    return _only(frame, named or usable, named=bool(named), role="class_column", where=where)


def find_value_column(frame: gpd.GeoDataFrame, given: str | None, *, where: str) -> Found:
    """The column of the values of a regression.

    Args:
        frame: The labels.
        given: The column, if somebody named it.
        where: The source, for errors.

    Raises:
        InputFileError: If there is no such column, or it is not clear which one it is: lists what there is.
    """
    if given is not None:
        return _given(frame, given, role="value_column", where=where)
    usable = [
        name
        for name in _columns(frame)
        if pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name])
        if not _IDS.search(name)
        and not _MEASURES.match(name)
        and frame[name].nunique() > 1
        and not _is_dates(frame, name)
    ]
    named = [name for name in usable if _VALUE_NAMES.search(name)]
    return _only(frame, named or usable, named=bool(named), role="value_column", where=where)


def find_names_column(frame: gpd.GeoDataFrame, column: str) -> str | None:
    """The column that has the name of each class, where ``column`` has its number, or the other way round.

    Args:
        frame: The labels.
        column: The column of the classes.

    Returns:
        A column of the other kind with one value for each class and no two classes sharing one; or None.
    """
    values = _keys(frame[column])
    is_number = pd.api.types.is_numeric_dtype(frame[column])
    for name in _columns(frame):
        if name == column or pd.api.types.is_numeric_dtype(frame[name]) == is_number:
            continue
        pairs = pd.DataFrame({"a": values, "b": _keys(frame[name])}).dropna().drop_duplicates()
        complete = set(pairs["a"]) == set(values.dropna())
        if complete and len(pairs) > 1 and pairs["a"].is_unique and pairs["b"].is_unique:
            return name
    return None


def find_dates(frame: gpd.GeoDataFrame) -> list[str]:
    """Columns that say when: one of dates, or one of starts and one of ends; none if it is not clear.

    Args:
        frame: The labels.
    """
    dates = [name for name in _columns(frame) if _is_dates(frame, name)]
    starts = [name for name in dates if _STARTS.search(name)]
    ends = [name for name in dates if _ENDS.search(name) and name not in starts]
    if len(starts) == len(ends) == 1:
        return [starts[0], ends[0]]
    return dates if len(dates) == 1 else []


def _given(frame: gpd.GeoDataFrame, column: str, *, role: str, where: str) -> Found:
    require_column(frame, column, role=role, where=where)
    if column == frame.active_geometry_name:
        raise InputFileError(
            f"Column {column!r} has the shapes.", where=f"{where} ({role})", found=column_examples(frame)
        )
    return Found(column, "given")


def _columns(frame: gpd.GeoDataFrame) -> Iterator[str]:
    for name in frame.columns:
        if isinstance(name, str) and name != frame.active_geometry_name and not _PLACES.match(name):
            yield name


def _keys(cells: pd.Series) -> pd.Series:
    return cells.map(plain_value).map(lambda value: None if value is None else str(value))


def _could_be_class(cells: pd.Series, name: str) -> bool:
    values = cells.dropna()
    if pd.api.types.is_float_dtype(values) and not (values % 1 == 0).all():
        return False
    if pd.api.types.is_datetime64_any_dtype(values) or (_DATE_NAMES.search(name) and _all_years(values)):
        return False
    distinct = values.map(str).nunique()
    # An identifier differs from row to row; classes come back.
    return 1 < distinct <= min(_MOST_CLASSES, max(len(values) // 2, 2)) and not (
        _IDS.search(name) and not _CLASS_NAMES.search(name)
    )


def _only(frame: gpd.GeoDataFrame, names: list[str], *, named: bool, role: str, where: str) -> Found:
    """The one that is left; a number and a name of the same classes count as one, the name stands for both."""
    for name in list(names):
        other = find_names_column(frame, name) if role == "class_column" else None
        if other in names and name in names and pd.api.types.is_numeric_dtype(frame[name]):
            names = [one for one in names if one != name]
    what = "classes" if role == "class_column" else "values"
    if len(names) == 1:
        looks = "its name and values look like classes" if what == "classes" else "its name looks like that of values"
        return Found(names[0], looks if named else "no other column could be it")
    options = role.replace("_", "-")
    raise InputFileError(
        f"It is not clear which column has the {what}." if names else f"No column looks as if it had the {what}.",
        where=where,
        expected=f"one of {', '.join(map(repr, names))}" if names else None,
        found=column_examples(frame),
        fix=f"Name it with {role} (--{options}).",
    )


def _all_years(values: pd.Series) -> bool:
    if not pd.api.types.is_numeric_dtype(values) or not len(values):
        return False
    return bool((values % 1 == 0).all() and values.between(*_YEARS).all())


def _is_dates(frame: gpd.GeoDataFrame, name: str) -> bool:
    values = frame[name].dropna()
    if pd.api.types.is_datetime64_any_dtype(values):
        return True
    if not len(values) or not _DATE_NAMES.search(name):
        return False
    if pd.api.types.is_numeric_dtype(values):
        return _all_years(values)
    return to_times(values).notna().mean() >= _MOSTLY


def to_times(cells: pd.Series) -> pd.Series:
    """Cells as moments in UTC, the first of a year for years; NaT where there is none.

    Args:
        cells: Dates in any spelling that pandas reads, or years.
    """
    if pd.api.types.is_datetime64_any_dtype(cells):
        aware: pd.Series = cells.dt.tz_localize("UTC") if cells.dt.tz is None else cells.dt.tz_convert("UTC")
        return aware
    if pd.api.types.is_numeric_dtype(cells):
        text = cells.map(lambda year: None if pd.isna(year) else f"{int(year):04d}-01-01")
    else:
        text = cells.map(lambda cell: cell if pd.isna(cell) else str(cell))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a column of mixed spellings is read cell by cell
        moments: pd.Series = pd.to_datetime(text, utc=True, errors="coerce", format="mixed")
        return moments
