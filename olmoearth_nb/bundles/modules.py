"""The custom modules that a project's configuration names and that lie beside its folder."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from olmoearth_nb.config import Project
from olmoearth_nb.config.dataset_json import read_dataset
from olmoearth_nb.config.model_yaml import read_model
from olmoearth_nb.errors import OlmoEarthError

__all__ = ["configured_modules", "custom_modules", "modules_elsewhere"]


def configured_modules(project: Project) -> set[str]:
    """First names of the modules that the configuration files name: ``rslearn`` of ``rslearn.models.swin.Swin``.

    Args:
        project: The project.
    """
    return {name.split(".")[0] for raw in _configurations(project) for name in _targets(raw) if "." in name}


def custom_modules(project: Project, files: Sequence[Path]) -> list[Path]:
    """Python files beside the project folder that the configuration or the project's own modules import.

    Args:
        project: The project.
        files: Python files of the project folder.
    """
    todo = sorted(configured_modules(project) | _imports_of(files))
    seen, found = set(todo), set[Path]()
    while todo:
        new = set(_files_beside(todo.pop(), project)) - found
        found |= new
        further = _imports_of(new) - seen
        seen |= further
        todo += sorted(further)
    return sorted(found)


def modules_elsewhere(project: Project) -> dict[str, Path]:
    """Configured modules that no package brings and that lie neither in nor beside the project: name -> folder.

    Args:
        project: The project.
    """
    found = {}
    for top in sorted(configured_modules(project)):
        spec = _spec(top, project)
        places = _places(spec) if spec is not None else []
        inside = any(place.is_relative_to(project.path.resolve().parent) for place in places)
        if places and not inside and top not in _installed() and not _is_of_python(top, places[0]):
            found[top] = places[0].parent
    return found


def _configurations(project: Project) -> Iterator[Any]:
    for read in (
        lambda: [spec.raw for spec in project.run_config.specs().values()],
        lambda: read_dataset(project.dataset_config_path).raw,
        lambda: read_model(project.model_config_path, has_extra_files=True).value,
    ):
        try:
            yield read()
        except OlmoEarthError:
            continue  # the check of the project says what is wrong with it


def _targets(value: Any) -> Iterator[str]:
    match value:
        case dict():
            yield from (value[key] for key in ("class_path", "_module_") if isinstance(value.get(key), str))
            if isinstance(value.get("name"), str):
                yield value["name"]  # a data source of an older rslearn
            for item in value.values():
                yield from _targets(item)
        case list():
            for item in value:
                yield from _targets(item)
        case _:
            pass


def _imports_of(files: Iterable[Path]) -> set[str]:
    found = set()
    for file in files:
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError, OSError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found


def _files_beside(top: str, project: Project) -> Iterator[Path]:
    """Files of a module that lies in the folder above the project, and not in the project."""
    parent = project.path.parent
    spec = _spec(top, project)
    for place in _places(spec) if spec is not None else []:
        if place.parent != parent.resolve() or place == project.path.resolve() or top in _installed():
            continue
        if place.is_dir():
            inner = (path.relative_to(parent.resolve()) for path in place.rglob("*.py"))
            yield from (parent / path for path in inner if not any(part.startswith(".") for part in path.parts))
        else:
            yield parent / place.name


def _spec(top: str, project: Project) -> ModuleSpec | None:
    # As Python finds it: what is installed comes first.
    if top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return None
    return PathFinder.find_spec(top) or PathFinder.find_spec(top, [str(folder) for folder in project.search_path])


def _places(spec: ModuleSpec) -> list[Path]:
    if spec.submodule_search_locations is not None:
        return [Path(place).resolve() for place in spec.submodule_search_locations]
    return [Path(spec.origin).resolve()] if spec.origin else []


def _is_of_python(top: str, place: Path) -> bool:
    return top == "olmoearth_nb" or place.is_relative_to(Path(sys.prefix).resolve())


@functools.cache
def _installed() -> Mapping[str, Sequence[str]]:
    return packages_distributions()
