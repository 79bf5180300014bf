"""What is labelled how often: classes and measurements, in all and in each split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from olmoearth_nb.labels.report.bounds import DOMINANT_SHARE, DRIFT, FEWEST, OUTLIER_REACH, RAREST_SHARE
from olmoearth_nb.labels.report.facts import LabelFacts
from olmoearth_nb.labels.report.findings import LabelFinding, Verdict, named, percent, plural
from olmoearth_nb.labels.report.planned import SplitWindows
from olmoearth_nb.legend import ClassEntry, ClassLegend, RangeLegend

__all__ = ["are_classes", "check_legend", "check_splits", "check_values"]

Field = ClassLegend | RangeLegend | None
Numbers = npt.NDArray[np.float64]

_MOST_CLASSES = 64
_SPLITS = ("train", "val", "test")


def are_classes(values: Numbers, field: Field) -> bool:
    """Whether a label has classes: as the legend says; without one, if it has few values, all of them whole.

    Args:
        values: Its values, without NaN.
        field: What the legend says of it.
    """
    if field is not None:
        return isinstance(field, ClassLegend)
    return bool((values % 1 == 0).all()) and len(np.unique(values)) <= _MOST_CLASSES


def check_values(facts: LabelFacts, fields: Mapping[str, Field], *, nodata: float | None) -> Iterator[LabelFinding]:
    """How often each class is labelled, or how measurements are spread.

    Args:
        facts: What is labelled.
        fields: What the legend says of each label.
        nodata: Value that stands for no label.
    """
    for name in map(str, facts.values.columns):
        column = facts.values[name].to_numpy()
        there = np.isfinite(column) & (column != nodata if nodata is not None else True)
        if are_classes(column[np.isfinite(column)], fields.get(name)):
            yield _balance(name, facts, there, fields.get(name), nodata)
        elif there.any():
            yield _spread(name, facts, there)


# ---- classes -----------------------------------------------------------------------------------------------------


def _title(value: float, field: Field) -> str:
    return field.label_of(value) if isinstance(field, ClassLegend) else f"{value:g}"


def _balance(
    name: str, facts: LabelFacts, there: npt.NDArray[np.bool_], field: Field, nodata: float | None
) -> LabelFinding:
    column = facts.values[name].to_numpy()[there]
    values, counts = np.unique(column, return_counts=True)
    shares = counts / max(counts.sum(), 1)
    effective = float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0
    titles = {value: _title(value, field) for value in values.tolist()}
    entries = field.entries if isinstance(field, ClassLegend) else ()
    wanted = [entry for entry in entries if nodata is None or str(entry.value) != f"{nodata:g}"]
    missing = [entry.label for entry in wanted if not any(_entry(field, value) is entry for value in titles)]
    rare = [titles[value] for value, count, share in zip(values.tolist(), counts, shares, strict=True)
            if count < FEWEST or share < RAREST_SHARE]  # fmt: skip
    verdict: Verdict = "good"
    if len(values) < 2:
        verdict = "bad"
    elif rare or missing or shares.max() > DOMINANT_SHARE:
        verdict = "look"
    listed = [f"{titles[v]} {c:,} ({percent(s)})" for v, c, s in zip(values.tolist(), counts, shares, strict=True)]
    found = f"{plural(len(values), 'class', 'classes')}: {named(listed, most=12)}; as even as {effective:.1f} of them."
    found += f" Rare: {named(rare)}." if rare else ""
    found += f" Never labelled: {named(missing)}." if missing else ""
    return LabelFinding(
        code="balance",
        check=f"class balance of {name}",
        verdict=verdict,
        found=found + _area_words(facts, there, column, titles),
        advice=_balance_advice(len(values), bool(rare), bool(missing)),
        numbers={
            "label": name,
            "counts": {titles[value]: int(count) for value, count in zip(values.tolist(), counts, strict=True)},
            "rarest_share": float(shares.min(initial=1.0)),
            "effective_classes": effective,
            "never_labelled": missing,
        },
    )


def _entry(field: Field, value: float) -> ClassEntry | None:
    return field.entry_of(value) if isinstance(field, ClassLegend) else None


def _balance_advice(classes: int, rare: bool, missing: bool) -> str:
    if classes < 2:
        return "A model can't learn to tell one class from nothing: label others."
    advice = ["Label more of the rare classes, or weigh them in the loss."] if rare else []
    advice += ["Label what is missing, or take it out of the legend."] if missing else []
    return " ".join(advice)


def _area_words(facts: LabelFacts, there: npt.NDArray[np.bool_], column: Numbers, titles: dict[float, str]) -> str:
    """Of polygons the share of the area: what counts for a segmentation."""
    areas = shapely.area(facts.equal_area[there])
    if not areas.sum() > 0:
        return ""
    shares = pd.Series(areas).groupby(column).sum() / areas.sum()
    return f" By area: {named([f'{titles[float(v)]} {percent(float(s))}' for v, s in shares.items()], most=12)}."


# ---- measurements ------------------------------------------------------------------------------------------------


def _spread(name: str, facts: LabelFacts, there: npt.NDArray[np.bool_]) -> LabelFinding:
    rows = np.flatnonzero(there)
    values = facts.values[name].to_numpy()[rows]
    low, first, middle, third, high = np.percentile(values, (0, 25, 50, 75, 100)).tolist()
    reach = OUTLIER_REACH * (third - first)
    far = rows[(values < first - reach) | (values > third + reach)] if reach > 0 else rows[:0]
    constant = low == high
    found = f"{len(values):,} values from {low:g} to {high:g}, half of them {first:g} to {third:g}, median {middle:g}, "
    found += f"standard deviation {values.std():.3g}; {plural(len(far), 'outlier')}."
    return LabelFinding(
        code="distribution",
        check=f"distribution of {name}",
        verdict="bad" if constant else "look" if len(far) else "good",
        found="All values are the same: " + f"{low:g}." if constant else found,
        advice="There is nothing to learn from one value: is it the right column?"
        if constant
        else "Are they errors, another unit, or values for missing data (-9999)?" * bool(len(far)),
        numbers={
            "label": name,
            "min": low,
            "quartiles": [first, middle, third],
            "max": high,
            "std": float(values.std()),
            "outliers": len(far),
        },
        where=facts.frame(far) if len(far) else None,
    )


# ---- legend ------------------------------------------------------------------------------------------------------


def check_legend(facts: LabelFacts, fields: Mapping[str, Field], *, nodata: float | None) -> Iterator[LabelFinding]:
    """Values that the legend lacks, and those that stand for no label.

    Args:
        facts: What is labelled.
        fields: What the legend says of each label.
        nodata: Value that stands for no label.
    """
    for name in map(str, facts.values.columns):
        column, field = facts.values[name].to_numpy(), fields.get(name)
        there = np.isfinite(column)
        lost = there & (column == nodata) if nodata is not None else np.zeros(len(column), dtype=bool)
        outside = there & ~lost & _outside(column, field)
        if field is None and not lost.any():
            continue
        yield _legend_finding(name, facts, field, outside, lost, nodata)


def _legend_finding(
    name: str,
    facts: LabelFacts,
    field: Field,
    outside: npt.NDArray[np.bool_],
    lost: npt.NDArray[np.bool_],
    nodata: float | None,
) -> LabelFinding:
    is_class = lost.any() and nodata is not None and _entry(field, nodata) is not None
    strange = np.unique(facts.values[name].to_numpy()[outside])
    parts = []
    if len(strange):
        listed = named(f"{value:g}" for value in strange)
        parts.append(f"{plural(int(outside.sum()), 'annotation')} outside the legend: {listed}.")
    if lost.any():
        parts.append(
            f"{plural(int(lost.sum()), 'annotation')} of {nodata:g}, which stands for no label (nodata_value)."
        )
    advice = "Are they meant? Correct them, or add them to inference_results_config."
    if is_class:
        advice = "These are never learned: give nodata_value a value that no class has."
    return LabelFinding(
        code="legend",
        check=f"values of {name}",
        verdict="bad" if is_class else "look" if parts else "good",
        found=" ".join(parts) or "All values are in the legend.",
        advice=advice * bool(parts),
        numbers={"label": name, "outside": int(outside.sum()), "values": strange.tolist(), "nodata": int(lost.sum())},
        where=facts.frame(np.flatnonzero(outside | lost)) if parts else None,
    )


def _outside(column: Numbers, field: Field) -> npt.NDArray[np.bool_]:
    if isinstance(field, ClassLegend):
        known = [value for value in np.unique(column[np.isfinite(column)]) if field.entry_of(value) is not None]
        return ~np.isin(column, known)
    if isinstance(field, RangeLegend):
        return (column < field.min_value) | (column > field.max_value)
    return np.zeros(len(column), dtype=bool)


# ---- splits ------------------------------------------------------------------------------------------------------


def check_splits(windows: SplitWindows, fields: Mapping[str, Field]) -> Iterator[LabelFinding]:
    """How large the splits are, and whether each has every class.

    Args:
        windows: With their splits and labels.
        fields: What the legend says of each label.
    """
    counts = windows.table["split"].value_counts()
    sizes = {split: int(counts.get(split, 0)) for split in _SPLITS}
    empty = [split for split, size in sizes.items() if not size]
    total = max(sum(sizes.values()), 1)
    verdict: Verdict = "bad" if {"train", "val"} & set(empty) else "look" if empty else "good"
    yield LabelFinding(
        code="splits",
        check="sizes of splits",
        verdict=verdict,
        found=", ".join(f"{split} {size:,} ({percent(size / total)})" for split, size in sizes.items()) + " windows.",
        advice=f"Nothing is left for {named(empty)}: change the shares or the grid of data_splitter." if empty else "",
        numbers=sizes,
    )
    for name in sorted(set(windows.labels["label"])):
        cells = windows.splits_of(name)
        field = fields.get(name)
        if are_classes(cells["value"].to_numpy(dtype=np.float64), field):
            yield _classes_of_splits(name, cells, field, [split for split in _SPLITS if sizes[split]])
        else:
            yield _drift(name, cells)


def _classes_of_splits(name: str, cells: pd.DataFrame, field: Field, splits: list[str]) -> LabelFinding:
    seen = cells.drop_duplicates(["window", "value"])
    table = pd.crosstab(seen["value"], seen["split"]).reindex(columns=splits, fill_value=0)
    table.index = pd.Index([_title(float(value), field) for value in table.index])
    missing = {split: [str(title) for title in table.index[table[split] == 0]] for split in splits}
    words = [f"{split} lacks {named(titles)}" for split, titles in missing.items() if titles]
    few = {split: int(table[split].min()) for split in splits}
    return LabelFinding(
        code="split-classes",
        check=f"classes of {name} in splits",
        verdict="bad" if missing.get("train") else "look" if words else "good",
        found="; ".join(words) + "."
        if words
        else "Each split has every class; fewest windows of one: "
        + ", ".join(f"{split} {count:,}" for split, count in few.items())
        + ".",
        advice="What train lacks is never learned, what val or test lack never measured: another seed or smaller cells."
        * bool(words),
        numbers={"label": name, "windows": {split: _plain(table[split]) for split in splits}},
    )


def _plain(column: pd.Series[Any]) -> dict[str, int]:
    return {str(title): int(count) for title, count in column.items()}


def _drift(name: str, cells: pd.DataFrame) -> LabelFinding:
    weights = cells["pixels"].to_numpy(dtype=float)
    values = cells["value"].to_numpy(dtype=float)
    means = {
        str(split): float(np.average(values[rows], weights=weights[rows]))
        for split, rows in cells.groupby("split", sort=False).indices.items()
    }
    spread = float(np.sqrt(np.cov(values, aweights=weights))) if len(values) > 1 else 0.0
    train = means.get("train", float(np.average(values, weights=weights)))
    away = max((abs(mean - train) / spread for mean in means.values() if spread), default=0.0)
    return LabelFinding(
        code="split-means",
        check=f"{name} in splits",
        verdict="look" if away > DRIFT else "good",
        found=f"Means: {', '.join(f'{split} {mean:.4g}' for split, mean in means.items())}; "
        f"at most {away:.2g} standard deviations from train.",
        advice="The splits are of different places or times: more, smaller cells make them alike." * (away > DRIFT),
        numbers={"label": name, "means": means, "away": away},
    )
