"""From ``class_path`` and ``init_args`` to objects, checked before anything is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from olmoearth_nb.border import foreign_code
from olmoearth_nb.config.annotations import coerce, item_type, value_type
from olmoearth_nb.config.arguments import ArgumentChecker
from olmoearth_nb.config.imports import import_object
from olmoearth_nb.config.modules import importable_from
from olmoearth_nb.config.report import Problem, config_error
from olmoearth_nb.config.roles import Role
from olmoearth_nb.config.schema import ObjectSpec
from olmoearth_nb.config.signatures import parameters_of
from olmoearth_nb.config.theirs import with_their_models
from olmoearth_nb.config.yamlfile import join
from olmoearth_nb.errors import ConfigError, OlmoEarthError

__all__ = ["build_object", "check_object"]


def build_object(spec: ObjectSpec, role: Role | None = None, *, search_path: Sequence[Path] = ()) -> Any:
    """Makes the object that a configuration describes, with everything nested in it.

    Names of OlmoEarth Run and bare class names mean this package's classes; a custom class is looked for on
    PYTHONPATH and in ``search_path``. A text for a CRS, an enum or a path becomes one.

    Args:
        spec: The object.
        role: What it is for; see :func:`olmoearth_nb.config.roles.role_for`.
        search_path: Folders to look in for custom modules, usually the project folder and the one above.

    Raises:
        ConfigError: If a class does not import or can't have the role, an argument is unknown, missing or of the
            wrong kind, or a constructor refuses a value; names the YAML path.

    Example:
        >>> spec = ObjectSpec({"class_path": "NoopSampler"}, "window_prep.sampler")
        >>> type(build_object(spec)).__name__
        'NoopSampler'
    """
    errors = _errors(_checked(spec, role, search_path))
    if errors:
        raise config_error(errors)
    with importable_from(search_path):
        made = _make(spec, search_path)
    if role is not None and not callable(getattr(made, role.method, None)):
        raise ConfigError(
            f"What {spec.target} gives has no {role.method}().",
            where=f"{spec.file}: {spec.path}",
            expected=role.expected,
        )
    return made


def check_object(spec: ObjectSpec, role: Role | None = None, *, search_path: Sequence[Path] = ()) -> list[Problem]:
    """Everything that :func:`build_object` would refuse, without raising.

    Classes of this package are tried out, because their constructors know which values they take; custom classes
    are imported but never made.

    Args:
        spec: The object.
        role: What it is for.
        search_path: Folders to look in for custom modules.
    """
    problems = _checked(spec, role, search_path)
    if _errors(problems) or not _all_ours(spec.raw, search_path):
        return problems
    try:
        _make(spec, search_path)
    except OlmoEarthError as error:
        key = (error.where or "").removeprefix(f"{spec.file}: ")
        found = f"{error.what} Found {error.found}." if error.found else error.what
        wrong = Problem(file=spec.file, key=key or spec.path, found=found, expected=error.expected, fix=error.fix)
        return [*problems, wrong]
    return problems


def _errors(problems: Sequence[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]


def _checked(spec: ObjectSpec, role: Role | None, search_path: Sequence[Path]) -> list[Problem]:
    checker = ArgumentChecker(file=spec.file, search_path=search_path)
    target = checker.check_object(spec)
    if role is not None and isinstance(target, type):
        refusal = role.refusal(target)
        if refusal is not None:
            # What it takes does not matter if it is the wrong class.
            return [Problem(file=spec.file, key=spec.path, found=refusal, expected=role.expected)]
    return checker.problems


def _all_ours(value: object, search_path: Sequence[Path]) -> bool:
    """Whether making an object runs no code of the user's."""
    match value:
        case Mapping() if ObjectSpec.is_spec(value):
            spec = ObjectSpec(value, "")
            module = getattr(import_object(spec.target, search_path=search_path), "__module__", None) or ""
            known = module.partition(".")[0] in ("olmoearth_nb", "rslearn", "rasterio")
            return known and all(_all_ours(argument, search_path) for argument in spec.arguments.values())
        case Mapping():
            return all(_all_ours(item, search_path) for item in value.values())
        case list():
            return all(_all_ours(item, search_path) for item in value)
        case _:
            return True


def _make(spec: ObjectSpec, search_path: Sequence[Path]) -> object:
    target = import_object(spec.target, search_path=search_path)
    types = parameters_of(target).types
    arguments = {
        key: _value(value, types.get(key, object), join(spec.arguments_path, key), spec.file, search_path)
        for key, value in spec.arguments.items()
    }
    name = getattr(target, "__qualname__", spec.target)
    where = f"{spec.file}: {spec.arguments_path if arguments else spec.path}"
    made: Any = with_their_models(target) if isinstance(target, type) else target
    with foreign_code(ConfigError, f"{name} can't be made", where=where):
        try:
            return made(**arguments)
        except OlmoEarthError as error:
            raise _located(error, spec, name, where) from error


def _located(error: OlmoEarthError, spec: ObjectSpec, name: str, where: str) -> ConfigError:
    """The same error at the YAML path of the argument, which our classes name as ``Class.argument``."""
    argument = (error.where or "").removeprefix(f"{name}.")
    if argument.partition(".")[0] in spec.arguments:
        where = f"{spec.file}: {join(spec.arguments_path, argument)}"
    return ConfigError(error.what, where=where, expected=error.expected, found=error.found, fix=error.fix)


def _value(value: object, annotation: object, path: str, file: str, search_path: Sequence[Path]) -> object:
    match value:
        case Mapping() if ObjectSpec.is_spec(value):
            return _make(ObjectSpec(value, path, file), search_path)
        case Mapping():
            inner = value_type(annotation) or object
            return {key: _value(item, inner, join(path, key), file, search_path) for key, item in value.items()}
        case list():
            inner = item_type(annotation) or object
            items = enumerate(value)
            return [_value(item, inner, join(path, index), file, search_path) for index, item in items]
        case _:
            return coerce(value, annotation)
