"""The model card: facts as JSON, and the same for people, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["CARD_NAME", "FACTS_NAME", "card_text"]

CARD_NAME = "MODEL_CARD.md"
FACTS_NAME = "model_card.json"

_UNSAID = "not said"


def card_text(facts: Mapping[str, Any]) -> str:
    """The model card in Markdown.

    Args:
        facts: As in ``model_card.json``.
    """
    parts = [
        f"# {_text(facts['name'])} {facts['version']}",
        _text(facts["description"] or ""),
        f"Licence: {_text(facts['licence'] or _UNSAID)}",
        *_section("What it predicts", _legend(facts["legend"])),
        *_section("Model", _model(facts["model"] or {})),
        *_section("Imagery", _imagery(facts["imagery"])),
        *_section("Training data", _training_data(facts)),
        *_section("Training", _training(facts["training"])),
        *_section("Metrics", _metrics(facts["metrics"])),
        *_section("Limits", [f"- {_text(one)}" for one in facts["limits"]]),
        *_section("Versions", _table(("package", "version"), facts["versions"].items())),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"## {title}"
    yield "\n".join(lines) or f"{_UNSAID.capitalize()}."


def _text(value: object) -> str:
    """A text from somebody's file: in one line, its signs no Markdown or HTML."""
    text = " ".join(str(value).split())
    for sign in "\\`*[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text


def _table(columns: tuple[str, ...], rows: Iterable[Iterable[object]]) -> list[str]:
    lines = [f"| {' | '.join(_text(cell) for cell in row)} |" for row in rows]
    return [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns), *lines] if lines else []


def _legend(legend: Mapping[str, Any] | None) -> Iterator[str]:
    if legend is None:
        return
    yield "Rasters." if legend["data_type"] == "RASTER" else "Features."
    for one in legend.get("classes", ()):
        yield f"\nClasses of {_text(one['property_name'])}:\n"
        yield from _table(("value", "label"), ((entry["value"], entry["label"]) for entry in one["entries"]))
    for one in legend.get("ranges", ()):
        yield f"\n{_text(one['property_name'])}: {one['min_value']:g} to {one['max_value']:g}"
    for one in legend.get("detections", ()):
        yield f"\nDetects {_text(one['name'])}"


def _model(model: Mapping[str, Any]) -> Iterator[str]:
    for key in ("encoder", "decoder", "task"):
        if model.get(key):
            yield f"- {key}: {_text(', '.join(model[key]))}"
    for name, one in model.get("inputs", {}).items():
        yield f"- input {_text(name)}: {_listed(one['bands'])} of {_listed(one['layers'])}"


def _imagery(imagery: Mapping[str, Any]) -> list[str]:
    def when(one: Mapping[str, Any]) -> str:
        times = {"offset": one["time_offset"], "duration": one["duration"], **one["query"]}
        return ", ".join(f"{key} {value}" for key, value in times.items() if value is not None)

    rows = (
        (name, one["source"].rpartition(".")[2], ", ".join(one["bands"]), when(one)) for name, one in imagery.items()
    )
    return _table(("layer", "source", "bands", "query"), rows)


def _training_data(facts: Mapping[str, Any]) -> Iterator[str]:
    windows, annotations = facts["training_windows"], facts["annotations"]
    if windows is not None:
        counts = ", ".join(f"{split} {number:,}" for split, number in windows["windows"].items())
        yield f"- labelled windows: {_text(counts)}, of {windows['tasks']:,} tasks"
        west, south, east, north = windows["extent_wgs84"]
        yield f"- extent: {west} to {east} degrees east, {south} to {north} degrees north"
        if windows["from"] is not None:
            yield f"- time: {windows['from']} to {windows['to']}"
    if annotations is not None:
        yield f"- annotations: {annotations['annotations']:,} in {annotations['tasks']:,} tasks"
        for name, values in annotations["labels"].items():
            yield f"- label {_text(name)}: {_text(', '.join(f'{value} ({n:,})' for value, n in values.items()))}"
        yield from (f"- SHA-256 of {name}: {digest}" for name, digest in annotations["sha256"].items())


def _training(training: Mapping[str, Any] | None) -> Iterator[str]:
    if training is None:
        return
    yield f"{training['epochs']} epochs{'' if training['finished'] else ' (not finished)'}."
    if training["best_epoch"] is not None:
        yield f"Best {_text(training['monitor'])}: {training['best_score']} in epoch {training['best_epoch']}.\n"
        yield from _table(("at the best epoch", "value"), training["best_epoch_metrics"].items())


def _metrics(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = ((split, name, value) for split, values in metrics.items() for name, value in values.items())
    return _table(("split", "metric", "value"), rows)


def _listed(values: Any) -> str:
    return _text(", ".join(map(str, values)) if isinstance(values, list) else values) or "all"
