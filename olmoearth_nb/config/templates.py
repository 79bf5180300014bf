"""Template variables, ``${NAME}``, of ``model.yaml`` and ``dataset.json``; and placeholders that nobody filled in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from olmoearth_nb.config.yamlfile import join

__all__ = ["KNOWN_VARIABLES", "Template", "fill_values", "placeholders", "walk"]

KNOWN_VARIABLES = (
    "DATASET_PATH",
    "EXTRA_FILES_PATH",
    "TRAINER_DATA_PATH",
    "NUM_WORKERS",
    "PREDICTION_OUTPUT_LAYER",
    "WANDB_PROJECT",
    "WANDB_NAME",
    "WANDB_ENTITY",
)
"""The variables that a run fills in."""

# As rslearn.template_params has it.
_VARIABLE = re.compile(r"\$\{([^}]+)\}")
_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Z][A-Z0-9_]*)\}")


@dataclass(frozen=True)
class Template:
    """A text with template variables.

    Attributes:
        text: The text as it is in the file.
        known: Variables that somebody fills in later.

    Example:
        >>> Template("a: ${NUM_WORKERS}", ("NUM_WORKERS",)).filled
        'a: 0'
    """

    text: str
    known: tuple[str, ...] = ()

    @property
    def filled(self) -> str:
        """The text with a value or a stand-in for each variable, so that it can be parsed as the run will see it."""
        return _VARIABLE.sub(lambda match: self._value(match.group(1)), self.text)

    def uses(self, value: object) -> dict[str, str]:
        """Variables without a value of their own yet -> path of the first place that uses them.

        Variables in comments are not used.

        Args:
            value: What the filled text says, parsed.
        """
        names = [name for name in dict.fromkeys(_VARIABLE.findall(self.text)) if name not in os.environ]
        texts = [(path, scalar) for path, scalar in walk(value) if isinstance(scalar, str)]
        return {
            name: path
            for name in names
            for path in [next((path for path, text in texts if _stand_in(name) in text), None)]
            if path is not None
        }

    def _value(self, name: str) -> str:
        if name == "NUM_WORKERS":
            return os.environ.get(name, "0")
        return os.environ.get(name, _stand_in(name))


def fill_values(value: Any) -> Any:
    """Nested data with a value or a stand-in for each variable in its texts.

    Args:
        value: Mappings, lists and scalars.
    """
    match value:
        case dict():
            return {key: fill_values(item) for key, item in value.items()}
        case list():
            return [fill_values(item) for item in value]
        case str():
            return Template(value).filled
        case _:
            return value


def _stand_in(name: str) -> str:
    return f"__{name}__"


def walk(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every scalar of nested data with its path, and every key of a mapping with an empty value.

    Args:
        value: Mappings, lists and scalars.
        path: Path of the value.
    """
    match value:
        case Mapping():
            for key, item in value.items():
                yield from walk(item, join(path, key if isinstance(key, str) else repr(key)))
        case list():
            for index, item in enumerate(value):
                yield from walk(item, join(path, index))
        case _:
            yield path, value


def placeholders(value: object) -> dict[str, str]:
    """Placeholders such as ``{PATCH_SIZE}`` -> path of the first place: the file is a template to be filled in.

    Args:
        value: What a YAML file says; without quotes it takes ``{PATCH_SIZE}`` for a mapping with an empty value.
    """
    found: dict[str, str] = {}
    for path, scalar in walk(value):
        names = _PLACEHOLDER.findall(scalar) if isinstance(scalar, str) else []
        above, _, last = path.rpartition(".")
        if scalar is None and _PLACEHOLDER.fullmatch(f"{{{last}}}"):
            names, path = [last], above
        for name in names:
            found.setdefault(name, path)
    return found
