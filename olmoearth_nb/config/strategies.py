"""``partition_strategies`` of a project as choices, and choices back into the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from olmoearth_nb.config.choices import StageChoice, choice_of, with_choice
from olmoearth_nb.config.edit import KeptFile, edited_yaml
from olmoearth_nb.config.project import Project
from olmoearth_nb.config.roles import role_for
from olmoearth_nb.config.schema import ObjectSpec, PartitionStrategies
from olmoearth_nb.errors import UsageError

__all__ = ["STAGES", "PartitionSettings", "PartitionStage"]

PartitionStage: TypeAlias = Literal["partition", "window"]
Choices: TypeAlias = Mapping[PartitionStage, StageChoice]

_SECTION = "partition_strategies"
_KEYS: Final[dict[PartitionStage, str]] = {
    "partition": "partition_request_geometry",
    "window": "prepare_window_geometries",
}
STAGES: Final = tuple(_KEYS)
"""A request becomes partitions, a partition windows."""


class PartitionSettings:
    """What ``olmoearth_run.yaml`` says of partitioning, as it was read.

    Args:
        project: The project.

    Attributes:
        file: The file.
        configured: Stage -> what it says.

    Raises:
        ConfigError: If the section is missing or wrong.
    """

    def __init__(self, project: Project) -> None:
        # Before what it says is read: a change in between is noticed when the file is written.
        self.file = KeptFile.read(project.run_config_path)
        self._bundle = project.bundle
        self._refuse = project.refuse_editing
        self._single = project.single_config_path
        section = project.run_config.require("partition_strategies", step="of planning")
        self._specs: dict[PartitionStage, ObjectSpec] = {stage: getattr(section, key) for stage, key in _KEYS.items()}
        self.configured: dict[PartitionStage, StageChoice] = {
            stage: choice_of(spec, search_path=project.search_path) for stage, spec in self._specs.items()
        }

    def own_class(self, stage: PartitionStage) -> str | None:
        """The configured class with its arguments as written, if it is none of this package; else None.

        Args:
            stage: The stage.
        """
        spec = self._specs[stage]
        if self.configured[stage].partitioner in self.builtin(stage):
            return None
        arguments = ", ".join(f"{key}={value!r}" for key, value in spec.arguments.items())
        return f"{spec.target}({arguments})"

    def builtin(self, stage: PartitionStage) -> tuple[str, ...]:
        """Classes of this package for a stage.

        Args:
            stage: The stage.
        """
        role = role_for(self._specs[stage])
        return role.builtin if role is not None else ()

    def classes(self, stage: PartitionStage) -> tuple[str, ...]:
        """Classes to choose from, the configured one first.

        Args:
            stage: The stage.
        """
        return tuple(dict.fromkeys([self.configured[stage].partitioner, *self.builtin(stage)]))

    def strategies(self, choices: Choices) -> PartitionStrategies:
        """The section for other choices.

        Args:
            choices: One for each stage.
        """
        return PartitionStrategies(**{_KEYS[stage]: self._spec(stage, choices) for stage in STAGES})

    def diff(self, choices: Choices) -> str:
        """What the file would say differently, as a unified diff.

        Args:
            choices: One for each stage.

        Raises:
            ConfigError: If it is written in a way that can't be changed at one place only.
        """
        return self.file.diff(self._text(choices))

    def write(self, choices: Choices) -> None:
        """Writes choices into the file, see :class:`olmoearth_nb.config.edit.KeptFile`.

        Args:
            choices: One for each stage.

        Raises:
            UsageError: If the file has changed since it was read, is in a bundle or on an object store, or is made of
                ``olmoearth_config.yaml``.
            ConfigError: If it is written in a way that can't be changed at one place only.
            StorageError: If it can't be written.
        """
        if self._bundle is not None:
            raise UsageError(
                "A bundle is not edited.",
                where=str(self._bundle),
                fix="Unbundle it, and take the folder as the project.",
            )
        if self._single is not None:
            raise UsageError(
                "The project is configured by this file, which is not changed here.",
                where=str(self._single),
                fix="Change prediction_requests.partitioners there by hand, or go on with three files: "
                "olmoearth-nb convert PROJECT PROJECT.",
            )
        self._refuse()
        self.file.write(self._text(choices))

    def _spec(self, stage: PartitionStage, choices: Choices) -> ObjectSpec:
        return with_choice(self._specs[stage], self.configured[stage], choices[stage], windows=stage == "window")

    def _text(self, choices: Choices) -> str:
        text = self.file.text
        for stage in STAGES:
            spec = self._spec(stage, choices)
            if spec is not self._specs[stage]:
                text = edited_yaml(text, [_SECTION, _KEYS[stage]], spec.raw, where=self.file.path.name)
        return text
