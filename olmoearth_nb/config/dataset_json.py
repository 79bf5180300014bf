"""``dataset.json``: read it, make its paths absolute, check it."""

from __future__ import annotations

import copy
import functools
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rslearn.config import DatasetConfig, LayerConfig

from olmoearth_nb.border import foreign_code
from olmoearth_nb.config.arguments import ArgumentChecker
from olmoearth_nb.config.renamed import Modern, modern_dataset
from olmoearth_nb.config.renamed.notice import renamed_problems
from olmoearth_nb.config.report import ALL_STEPS, Problem
from olmoearth_nb.config.schema import ObjectSpec
from olmoearth_nb.config.templates import Template, fill_values
from olmoearth_nb.config.yamlfile import join
from olmoearth_nb.errors import ConfigError, InputFileError
from olmoearth_nb.files import parse_json, read_text
from olmoearth_nb.types import StepName

__all__ = ["BUILD_STEPS", "DATASET_CONFIG_NAME", "DATASET_STEPS", "DatasetFile", "check_sources", "read_dataset"]

DATASET_CONFIG_NAME = "dataset.json"

DATASET_STEPS = ALL_STEPS - {StepName.COMBINE}
"""The steps that create, build or read windows."""

BUILD_STEPS = frozenset({StepName.DATASET_BUILD, StepName.BUILD_DATASET_FROM_WINDOWS})
"""The steps that use data sources."""


@dataclass(frozen=True)
class DatasetFile:
    """``dataset.json``.

    Attributes:
        raw: What it says, older spellings translated.
        problems: What is wrong with it, and what was translated.
        modern: How it was translated.
    """

    raw: dict[str, Any]
    problems: tuple[Problem, ...]
    modern: Modern

    @functools.cached_property
    def layers(self) -> dict[str, LayerConfig]:
        """The layers that are right, by name."""
        found = {}
        for name, layer in _mapping(fill_values(self.raw).get("layers")).items():
            try:
                found[name] = _validate(LayerConfig, layer)
            except (ConfigError, ValidationError):
                continue  # it is among the problems
        return found

    def local_folders(self, folder: Path) -> dict[str, Path]:
        """The local folders that data sources read: as written -> absolute.

        Args:
            folder: What relative ones are relative to.
        """
        found: dict[str, Path] = {}
        for layer in _mapping(self.raw.get("layers")).values():
            _find_folders(_mapping(layer).get("data_source"), folder, found)
        return dict(sorted(found.items()))

    def with_absolute_paths(self, folder: Path) -> dict[str, Any]:
        """The same with each data source's relative ``src_dir`` made absolute.

        The configuration moves to the dataset in the scratch, and what was relative to the project would be
        relative to that. URLs and paths that begin with a variable stay.

        Args:
            folder: The project folder.
        """
        config = copy.deepcopy(self.raw)
        for layer in _mapping(config.get("layers")).values():
            _resolve(_mapping(layer).get("data_source"), folder)
        return config


def read_dataset(path: Path) -> DatasetFile:
    """Reads ``dataset.json`` and validates it as rslearn does.

    Args:
        path: The file.

    Raises:
        ConfigError: If it is missing or no JSON object.
    """
    duplicates: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        duplicates.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return dict(pairs)

    try:
        text = read_text(path, what="dataset configuration")
        raw = parse_json(text, object_pairs_hook=keep)
    except InputFileError as error:
        raise ConfigError(error.what, where=error.where) from error
    except ValueError as error:
        raise ConfigError(f"It is not JSON: {error}.", where=str(path)) from error
    if not isinstance(raw, dict):
        raise ConfigError("It is not a JSON object.", where=str(path), found=type(raw).__name__)
    problems = [_duplicate(key) for key in duplicates]
    modern = modern_dataset(raw)
    raw = modern.value
    problems += renamed_problems(modern, DATASET_CONFIG_NAME, text, DATASET_STEPS)
    return DatasetFile(raw, (*problems, *_variables(raw), *_schema(raw), *_repeated_bands(raw)), modern)


def check_sources(dataset: DatasetFile, *, search_path: Sequence[Path] = ()) -> list[Problem]:
    """Checks every class that the layers name, and its arguments, without making anything.

    Args:
        dataset: The file.
        search_path: Folders to look in for custom modules.
    """
    problems: list[Problem] = []
    for name, layer in dataset.layers.items():
        path = join("layers", name)
        source = layer.data_source
        if source is not None:
            checker = ArgumentChecker(
                file=DATASET_CONFIG_NAME, search_path=search_path, plain_call=False, given=frozenset({"context"})
            )
            raw = {"class_path": source.class_path, "init_args": source.init_args}
            checker.check_object(ObjectSpec(raw, join(path, "data_source"), DATASET_CONFIG_NAME))
            problems += [problem.for_steps(BUILD_STEPS) for problem in checker.problems]
        checker = ArgumentChecker(file=DATASET_CONFIG_NAME, search_path=search_path, plain_call=False)
        others = {key: value for key, value in _mapping(dataset.raw["layers"][name]).items() if key != "data_source"}
        checker.check_value(others, object, path)
        problems += [problem.for_steps(DATASET_STEPS) for problem in checker.problems]
    checker = ArgumentChecker(file=DATASET_CONFIG_NAME, search_path=search_path, plain_call=False)
    for key in ("tile_store", "storage", "window_data_storage"):
        checker.check_value(dataset.raw.get(key), object, key)
    return problems + [problem.for_steps(DATASET_STEPS) for problem in checker.problems]


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _resolve(value: object, folder: Path) -> None:
    match value:
        case dict():
            source = value.get("src_dir")
            if isinstance(source, str) and "://" not in source and not source.startswith(("/", "~", "${")):
                value["src_dir"] = str((folder / source).absolute())
            for item in value.values():
                _resolve(item, folder)
        case list():
            for item in value:
                _resolve(item, folder)
        case _:
            pass


def _find_folders(value: object, folder: Path, found: dict[str, Path]) -> None:
    match value:
        case dict():
            source = value.get("src_dir")
            if isinstance(source, str) and "://" not in source and not source.startswith("${"):
                found[source] = folder / Path(source).expanduser()
            for item in value.values():
                _find_folders(item, folder, found)
        case list():
            for item in value:
                _find_folders(item, folder, found)
        case _:
            pass


def _variables(raw: dict[str, Any]) -> Iterator[Problem]:
    for name, path in Template(json.dumps(raw)).uses(fill_values(raw)).items():
        yield Problem(
            file=DATASET_CONFIG_NAME,
            key=path,
            found=f"The variable {name} has no value.",
            fix=f"Set it in the environment: export {name}=…",
            steps=DATASET_STEPS,
        )


def _validate(model: type[Any], value: object) -> Any:
    with warnings.catch_warnings(), foreign_code(ConfigError, "rslearn refuses it"):
        warnings.simplefilter("ignore")  # older spellings, which still work
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise ConfigError("rslearn refuses it.") from error


def _schema(raw: dict[str, Any]) -> Iterator[Problem]:
    try:
        _validate(DatasetConfig, fill_values(raw))
    except ConfigError as error:
        cause = error.__cause__
        if not isinstance(cause, ValidationError):
            yield Problem(file=DATASET_CONFIG_NAME, found=error.what, steps=DATASET_STEPS)
            return
        for detail in cause.errors(include_url=False):
            key = ""
            for part in detail["loc"]:
                key = join(key, part)
            message = detail["msg"].removeprefix("Value error, ")
            given = "" if isinstance(detail["input"], dict | list) else f" It is {detail['input']!r}."
            yield Problem(file=DATASET_CONFIG_NAME, key=key, found=f"{message}.{given}", steps=DATASET_STEPS)


def _duplicate(key: str) -> Problem:
    return Problem(
        file=DATASET_CONFIG_NAME,
        key=key,
        found="This key is written twice in the same object; the last one counts.",
        fix="Remove or rename one of them.",
        severity="warning",
    )


def _repeated_bands(raw: dict[str, Any]) -> Iterator[Problem]:
    for name, layer in _mapping(raw.get("layers")).items():
        band_sets = _mapping(layer).get("band_sets")
        bands = [band for band_set in _list(band_sets) for band in _list(_mapping(band_set).get("bands"))]
        repeated = [str(band) for band, count in Counter(map(str, bands)).items() if count > 1]
        if repeated:
            yield Problem(
                file=DATASET_CONFIG_NAME,
                key=f"layers.{name}.band_sets",
                found=f"Bands that occur twice: {', '.join(repeated)}.",
                fix="Keep each band in one band set.",
                severity="warning",
            )
