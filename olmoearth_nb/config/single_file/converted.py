"""``olmoearth_config.yaml`` into what the three other files say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from olmoearth_nb.config.dataset_json import DATASET_CONFIG_NAME
from olmoearth_nb.config.model_yaml import MODEL_CONFIG_NAME
from olmoearth_nb.config.report import Problem, config_error
from olmoearth_nb.config.schema import RUN_CONFIG_NAME
from olmoearth_nb.config.single_file.consistency import inconsistencies
from olmoearth_nb.config.single_file.rendered import json_text, yaml_text
from olmoearth_nb.config.single_file.schema import SINGLE_CONFIG_NAME, Places, SingleConfig, read_single
from olmoearth_nb.config.single_file.to_dataset import to_dataset
from olmoearth_nb.config.single_file.to_model import to_model
from olmoearth_nb.config.single_file.to_run import to_run

__all__ = ["ConvertedProject", "convert", "examine"]


@dataclass(frozen=True, kw_only=True)
class ConvertedProject:
    """What ``olmoearth_config.yaml`` says, as the three other files say it.

    Attributes:
        config: The file.
        places: Lines of its keys.
        dataset: Value of ``dataset.json``.
        model: Value of ``model.yaml``; None if the file describes no model.
        run: Value of ``olmoearth_run.yaml``.
        warnings: What looks wrong.
    """

    config: SingleConfig
    places: Places
    dataset: dict[str, Any]
    model: dict[str, Any] | None
    run: dict[str, Any]
    warnings: tuple[Problem, ...]

    @property
    def texts(self) -> dict[str, str]:
        """The three files by name; two if there is no model."""
        texts = {DATASET_CONFIG_NAME: json_text(self.dataset), RUN_CONFIG_NAME: yaml_text(self.run)}
        return {**texts, MODEL_CONFIG_NAME: yaml_text(self.model)} if self.model is not None else texts


def convert(text: str, *, where: str = SINGLE_CONFIG_NAME) -> ConvertedProject:
    """Converts ``olmoearth_config.yaml``.

    Args:
        text: What it says.
        where: The file, for errors.

    Returns:
        The same as three files.

    Raises:
        ConfigError: If it is not YAML, or anything in it is wrong; names every key.

    Example:
        >>> convert("config_version: 0.1.0")  # doctest: +SKIP
        Traceback (most recent call last):
        ...
        olmoearth_nb.errors.ConfigError: olmoearth_config.yaml: data: This key is missing.
    """
    config, places, problems = examine(text, where=where)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors or config is None:
        raise config_error(errors)
    return ConvertedProject(
        config=config,
        places=places,
        dataset=to_dataset(config),
        model=to_model(config),
        run=to_run(config),
        warnings=tuple(problems),
    )


def examine(text: str, *, where: str = SINGLE_CONFIG_NAME) -> tuple[SingleConfig | None, Places, list[Problem]]:
    """What is wrong with ``olmoearth_config.yaml``, in itself and between its sections.

    Args:
        text: What it says.
        where: The file, for errors.

    Returns:
        What it says, or None if it does not have the form; where it says so; errors and warnings.

    Raises:
        ConfigError: If it is not YAML (with line and column) or no mapping.
    """
    config, places, problems = read_single(text, where=where)
    return config, places, problems if config is None else [*problems, *inconsistencies(config, places)]
