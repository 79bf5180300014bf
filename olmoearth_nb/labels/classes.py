"""Class values of a table's column: numbers as they are, names as numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from olmoearth_nb.errors import InputFileError, UsageError

__all__ = ["class_numbers", "plain_value"]

Number: TypeAlias = int | float

_NUMERIC = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*")


def plain_value(value: Any) -> Any:
    """A cell as plain Python: None for null, NaN and blank text, whole floats as integers, booleans as 0 and 1.

    Text goes without the spaces around it, which nobody sees.

    Args:
        value: A cell of a data frame.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() else value
    return value


def class_numbers(
    cells: Iterable[Any], class_values: Mapping[Any, Number] | None, *, where: str
) -> tuple[list[Number | None], dict[str, Number]]:
    """Label values of a column's cells.

    Numbers are kept. Names get 0, 1, 2 … in sorted order, or what ``class_values`` says.

    Args:
        cells: Cells, row by row.
        class_values: Class (as text or number) -> number; if given, it has to have every class.
        where: File and column, for errors.

    Returns:
        A number for each cell, None for null cells; and the number of each class name, empty for a column of numbers.

    Raises:
        InputFileError: Names the row whose cell is neither a number nor a name, mixes both, or has an unknown class.
        UsageError: If ``class_values`` gives something else than numbers.
    """
    values = [plain_value(cell) for cell in cells]
    if class_values is not None:
        return _mapped(values, _checked_mapping(class_values), where)
    _check_kinds(values, where)
    names = sorted({value for value in values if isinstance(value, str)})
    if not names:
        return values, {}
    numbers: dict[str, Number] = {name: number for number, name in enumerate(names)}
    return [None if value is None else numbers[value] for value in values], numbers


def _checked_mapping(class_values: Mapping[Any, Number]) -> dict[str, Number]:
    for name, number in class_values.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise UsageError(
                "A class needs a number.", where=f"class_values[{name!r}]", expected="a number", found=repr(number)
            )
    return {str(name).strip(): number for name, number in class_values.items()}


def _mapped(
    values: Sequence[Any], mapping: dict[str, Number], where: str
) -> tuple[list[Number | None], dict[str, Number]]:
    missing = {str(value): row for row, value in reversed(list(enumerate(values))) if value is not None}
    missing = {name: row for name, row in missing.items() if name not in mapping}
    if missing:
        rows = ", ".join(f"{name!r} (row {row})" for name, row in sorted(missing.items(), key=lambda item: item[1])[:5])
        raise InputFileError(
            f"{len(missing)} classes have no number.",
            where=where,
            expected=f"one of class_values ({', '.join(mapping)})",
            found=rows,
            fix="Add them to class_values, or set the column to null where a feature shall be left out.",
        )
    return [None if value is None else mapping[str(value)] for value in values], mapping


def _check_kinds(values: Sequence[Any], where: str) -> None:
    """Refuses a column that is neither all numbers nor all names.

    GDAL reads a GeoJSON column of numbers with one text in it as text, so text that looks like a number counts as one
    here, unless all of it does.
    """
    rows: dict[bool, list[int]] = {True: [], False: []}
    for row, value in enumerate(values):
        if value is None:
            continue
        if not isinstance(value, (int, float, str)) or value in (math.inf, -math.inf):
            raise InputFileError(
                "Not a class.", where=f"{where}, row {row}", expected="a number or a name", found=repr(value)
            )
        rows[not isinstance(value, str) or _NUMERIC.fullmatch(value) is not None].append(row)
    if rows[True] and rows[False]:
        odd, other = (rows[False], "numbers") if len(rows[False]) <= len(rows[True]) else (rows[True], "names")
        raise InputFileError(
            "The class column has both numbers and names.",
            where=f"{where}, row {odd[0]}",
            expected=f"{other}, as in the other rows",
            found=repr(values[odd[0]]),
            fix=f"Correct {len(odd)} row(s), or say with class_values which number each class has.",
        )
