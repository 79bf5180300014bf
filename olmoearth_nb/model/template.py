"""``model.yaml`` with its template variables filled in; the process's environment stays as it is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from olmoearth_nb.config.renamed import modern_model
from olmoearth_nb.config.renamed.notice import warn_of_renamed
from olmoearth_nb.config.yamlfile import parse_yaml
from olmoearth_nb.errors import ConfigError, InputFileError
from olmoearth_nb.files import read_text

__all__ = ["read_model_config", "template_variables"]

# As rslearn's own substitution reads them.
_VARIABLE = re.compile(r"\$\{([^}]+)\}")


def template_variables(
    *,
    dataset_path: Path,
    extra_files_path: Path | None,
    trainer_data_path: Path,
    num_workers: int,
    output_layer: str = "output",
) -> dict[str, str]:
    """Values of the template variables of a run.

    What the user has set in the environment wins for ``NUM_WORKERS`` and ``WANDB_*``. ``EXTRA_FILES_PATH`` has no
    value if there is no such folder, so that a configuration that needs it is told so.

    Args:
        dataset_path: The rslearn dataset.
        extra_files_path: Folder of further weights and files, if there is one.
        trainer_data_path: Where training keeps its checkpoints.
        num_workers: Processes that read data.
        output_layer: Dataset layer that the model writes.
    """
    values = {
        "DATASET_PATH": str(dataset_path),
        "TRAINER_DATA_PATH": str(trainer_data_path),
        "PREDICTION_OUTPUT_LAYER": output_layer,
        "NUM_WORKERS": str(num_workers),
        # Only used by runs that log to Weights & Biases; an empty entity is the user's default one there.
        "WANDB_PROJECT": "olmoearth_nb",
        "WANDB_NAME": trainer_data_path.absolute().parent.name,
        "WANDB_ENTITY": "",
    }
    if extra_files_path is not None:
        values["EXTRA_FILES_PATH"] = str(extra_files_path)
    for name in ("NUM_WORKERS", "WANDB_PROJECT", "WANDB_NAME", "WANDB_ENTITY"):
        if os.environ.get(name):
            values[name] = os.environ[name]
    return values


def read_model_config(model_yaml: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """Reads ``model.yaml``, fills in its template variables and translates older spellings.

    A variable that is not among ``variables`` is taken from the environment. Variables in comments don't count. A
    value that consists of a variable without text is null, as it would be if the text were replaced in the file.

    Args:
        model_yaml: The file.
        variables: Template variable -> value.

    Raises:
        ConfigError: If the file is missing or is not YAML, or if a variable occurs that has no value.
    """
    try:
        text = read_text(model_yaml, what="model configuration")
    except InputFileError as error:
        raise ConfigError(error.what, where=error.where) from error
    # Variables become plain words before parsing: "${A}" is no valid scalar inside brackets, and a value with a colon
    # or a hash in it (a path, say) must not change what the YAML means.
    tag = "OE0VARIABLE"
    while tag in text:
        tag += "0"
    found = list(_VARIABLE.finditer(text))
    numbers = iter(range(len(found)))
    value = parse_yaml(_VARIABLE.sub(lambda _: f"{tag}{next(numbers)}E", text), str(model_yaml)).value
    filler = _Filler(re.compile(f"{tag}([0-9]+)E"), text, found, {**os.environ, **variables}, str(model_yaml))
    modern = modern_model(filler.fill(value))
    warn_of_renamed(model_yaml, modern)
    config: dict[str, Any] = modern.value
    return config


class _Filler:
    """Puts values where words stand for variables."""

    def __init__(
        self,
        word: re.Pattern[str],
        text: str,
        found: list[re.Match[str]],
        values: Mapping[str, str],
        where: str,
    ) -> None:
        self.word = word
        self.text = text
        self.found = found
        self.values = values
        self.where = where

    def fill(self, value: Any) -> Any:
        """The value with every variable in it replaced, at any depth."""
        match value:
            case dict():
                return {self.fill(key): self.fill(item) for key, item in value.items()}
            case list():
                return [self.fill(item) for item in value]
            case str() if self.word.search(value):
                return self.word.sub(self._value, value) or None
            case _:
                return value

    def _value(self, word: re.Match[str]) -> str:
        variable = self.found[int(word.group(1))]
        name = variable.group(1)
        if name not in self.values:
            line = self.text.count("\n", 0, variable.start()) + 1
            raise ConfigError(
                f"The variable ${{{name}}} has no value.",
                where=f"{self.where}, line {line}",
                fix="Put an extra_model_files folder into the project."
                if name == "EXTRA_FILES_PATH"
                else f"Set it in the environment (os.environ[{name!r}] = …), or write the value into the file.",
            )
        return self.values[name]
