"""What a trial gave, as HTML: numbers, changes, files; whatever comes from data is text there, never markup."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import pandas as pd

from olmoearth_nb.legend import Legend
from olmoearth_nb.postprocess.trial import StageTrial
from olmoearth_nb.tables import html_table

__all__ = ["changes_html", "counts_html", "files_html"]

_MOST_ROWS = 100
_SMALL = "font:12px/1.5 sans-serif"


def counts_html(trial: StageTrial) -> str:
    """Numbers of pixels or features, sizes of files, and what is left out.

    Args:
        trial: The trial.
    """
    counts = trial.changes.counts
    shown = [(name, count) for name, count in counts.items() if count or name.endswith(("before", "after"))]
    cells = "".join(
        f'<tr><td style="padding:0 12px 0 0">{html.escape(name)}</td><td style="text-align:right">{count:,}</td></tr>'
        for name, count in shown
    )
    notes = "".join(f'<div style="color:#8a4b00">{html.escape(note)}</div>' for note in trial.notes)
    size = int(trial.files.loc[trial.files["side"] == "after", "bytes"].sum())
    files = f"{len(trial.after):,} file{'' if len(trial.after) == 1 else 's'} after, {size:,} bytes"
    return f'<div style="{_SMALL};margin-top:8px"><table>{cells}</table>{files}{notes}</div>'


def changes_html(trial: StageTrial, legend: Legend | None = None) -> str:
    """The first changes as a table.

    Args:
        trial: The trial.
        legend: What the values of pixels mean.
    """
    table = pd.DataFrame(trial.changes.table.drop(columns="geometry"))
    if not len(table):
        return f'<div style="{_SMALL}">Nothing changed.</div>'
    there = [name for name in table.columns if not table[name].isna().all()]
    labels = _labels(legend) if "band" in there else {}
    rows = [
        [_cell(name, cell, labels) for name, cell in zip(there, row, strict=True)]
        for row in table[there].head(_MOST_ROWS).itertuples(index=False)
    ]
    more = f"{len(table):,} changes, the first {_MOST_ROWS}" if len(table) > _MOST_ROWS else ""
    return _scrolled(html_table([name.replace("_", " ") for name in there], rows, caption=more))


def files_html(trial: StageTrial) -> str:
    """Files before and after.

    Args:
        trial: The trial.
    """
    files = trial.files
    cells = [(side, of, file, f"{size:,}") for side, of, file, size in files.itertuples(index=False)]
    return _scrolled(html_table(list(files.columns), cells[:_MOST_ROWS]))


def _scrolled(table: str) -> str:
    return f'<div style="max-height:280px;overflow:auto;{_SMALL}">{table}</div>'


def _labels(legend: Legend | None) -> Mapping[float, str]:
    """Names of the values of the first band."""
    first = next((one for one in legend.classes if one.band_index == 1), None) if legend else None
    entries = first.entries if first is not None else ()
    return {float(entry.value): entry.label for entry in entries if isinstance(entry.value, int)}


def _cell(name: str, value: Any, labels: Mapping[float, str]) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if name in ("before", "after") and value in labels:
        return f"{value:g} {labels[value]}"
    if name == "share":
        return f"{value:.1%}"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)
