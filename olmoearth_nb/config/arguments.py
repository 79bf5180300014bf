"""Checks what a configuration gives to classes, all of it, without making anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from olmoearth_nb.config.annotations import (
    accepts_anything,
    classes_of,
    describe,
    fits,
    is_plain,
    item_type,
    value_type,
)
from olmoearth_nb.config.imports import import_object, import_short
from olmoearth_nb.config.report import Problem, Severity, did_you_mean, one_of
from olmoearth_nb.config.schema import ObjectSpec
from olmoearth_nb.config.signatures import parameters_of, result_class
from olmoearth_nb.config.yamlfile import join
from olmoearth_nb.errors import ConfigError

__all__ = ["ArgumentChecker"]

_PARSER_KEYS = {"class_path", "init_args", "dict_kwargs"}


@dataclass(kw_only=True)
class ArgumentChecker:
    """Walks through a configuration and collects what is wrong with it.

    Attributes:
        file: Name of the file, for problems.
        search_path: Folders to look in for custom modules.
        plain_call: True where arguments go to the class as they are (``olmoearth_run.yaml``): their types are checked.
            False where rslearn's parser converts them (``model.yaml``, ``dataset.json``): only names are checked,
            those of mappings that stand for an object without a class path as well.
        given: Names that are filled in by somebody else, at any depth.
        problems: What was found.
    """

    file: str
    search_path: Sequence[Path] = ()
    plain_call: bool = True
    given: frozenset[str] = frozenset()
    problems: list[Problem] = field(default_factory=list)

    def check_object(self, spec: ObjectSpec, expected: object = object) -> object | None:
        """Checks an object with all that is nested in it.

        Args:
            spec: The object.
            expected: Annotation that it has to fit.

        Returns:
            The class or callable, or None if it can't be imported.
        """
        try:
            target = self.resolve(spec)
        except ConfigError as error:
            where = spec.path if spec.is_callable else join(spec.path, "class_path")
            self.add(where, error.what, expected=error.expected, fix=error.fix)
            return None
        self._check_kind(spec, target, expected)
        if self._check_form(spec):
            self.check_call(target, spec.arguments, spec.arguments_path)
        return target

    def resolve(self, spec: ObjectSpec) -> object:
        """The class or callable that an object names.

        Args:
            spec: The object.

        Raises:
            ConfigError: If it can't be imported.
        """
        if not isinstance(spec.raw.get("class_path", ""), str):
            raise ConfigError(f"It is {spec.raw['class_path']!r}.", expected="a dotted name, package.module.Class")
        if not self.plain_call and "." not in spec.target:
            return import_short(spec.target)
        target = import_object(spec.target, search_path=self.search_path)
        if not callable(target):
            raise ConfigError(f"{spec.target} is a {type(target).__name__}.", expected="a class or a callable")
        return target

    def check_call(self, target: object, arguments: Mapping[str, object], path: str) -> None:
        """Checks arguments against a signature.

        Args:
            target: Class or callable.
            arguments: Arguments by name.
            path: Where they stand.
        """
        parameters = parameters_of(target, through_bases=not self.plain_call)
        name = getattr(target, "__qualname__", str(target))
        for key, value in arguments.items():
            if key in parameters.types:
                self.check_value(value, parameters.types[key], join(path, key))
            elif parameters.open:
                self.check_value(value, object, join(path, key))
            else:
                options = sorted(parameters.types)
                self.add(
                    join(path, key),
                    f"{name} takes no argument {key!r}.",
                    fix=did_you_mean(str(key), options) or f"It takes: {one_of(options)}.",
                )
        for missing in sorted(parameters.required - arguments.keys() - self.given):
            self.add(
                join(path, missing),
                f"{name} needs the argument {missing!r}, which is missing.",
                expected=None if accepts_anything(parameters.types[missing]) else describe(parameters.types[missing]),
            )

    def check_value(self, value: object, annotation: object, path: str) -> None:
        """Checks a value, whatever it is.

        Args:
            value: Plain data, or objects nested in lists and mappings.
            annotation: What it has to fit.
            path: Where it stands.
        """
        match value:
            case Mapping() if ObjectSpec.is_spec(value):
                self.check_object(ObjectSpec(value, path, self.file), annotation)
            case Mapping() | list() if self.plain_call and is_plain(annotation) and not _holds_object(value):
                self._check_plain(value, annotation, path)
            case Mapping():
                self._check_mapping(value, annotation, path)
            case list():
                inner = item_type(annotation)
                if inner is None and self.plain_call:
                    self._misfit(value, annotation, path)
                for index, item in enumerate(value):
                    self.check_value(item, object if inner is None else inner, join(path, index))
                if inner is str and not self.plain_call and not all(isinstance(item, str) for item in value):
                    self._misfit(value, annotation, path)  # of other things the parser makes what it can
            case _ if self.plain_call:
                self._check_plain(value, annotation, path)

    def _check_mapping(self, value: Mapping[str, object], annotation: object, path: str) -> None:
        inner = value_type(annotation)
        classes = [one for one in classes_of(annotation) if not self.plain_call or _is_record(one)]
        if inner is None and len(classes) == 1:
            # The parser fills a class without a class path from a mapping: split configurations, inputs.
            self.check_call(classes[0], value, path)
            return
        if inner is None and self.plain_call:
            self._misfit(value, annotation, path)
        for key, item in value.items():
            self.check_value(item, object if inner is None else inner, join(path, key))

    def _check_plain(self, value: object, annotation: object, path: str) -> None:
        if not fits(value, annotation):
            self._misfit(value, annotation, path)

    def _misfit(self, value: object, annotation: object, path: str) -> None:
        self.add(path, f"It is {_short(value)}.", expected=describe(annotation))

    def _check_kind(self, spec: ObjectSpec, target: object, expected: object) -> None:
        made, classes = result_class(target), classes_of(expected)
        if made is None or accepts_anything(expected):
            return
        if not classes and not fits(0, expected) and not fits("", expected):
            return  # something else than classes and plain data: a callable, say
        if not any(_is_subclass(made, one) for one in classes):
            self.add(spec.path, f"It is a {made.__name__}.", expected=describe(expected))

    def _check_form(self, spec: ObjectSpec) -> bool:
        arguments = spec.raw.get("init_args")
        if not spec.is_callable and arguments is not None and not isinstance(arguments, Mapping):
            self.add(spec.arguments_path, f"It is {_short(arguments)}.", expected="a mapping of arguments")
            return False
        self._check_keys(spec)
        return True

    def _check_keys(self, spec: ObjectSpec) -> None:
        # Those of the components themselves are among the unknown keys of their section already.
        if self.plain_call and spec.path.count(".") == 1:
            return
        for key in spec.extra_keys:
            if key not in _PARSER_KEYS:
                self.add(
                    join(spec.path, key),
                    "This key is neither class_path nor init_args.",
                    fix=did_you_mean(key, _PARSER_KEYS) or "Arguments belong below init_args.",
                    # Nobody looks at it in a plain call; the parser refuses it.
                    severity="warning" if self.plain_call else "error",
                )

    def add(
        self,
        key: str,
        found: str,
        *,
        expected: str | None = None,
        fix: str | None = None,
        severity: Severity = "error",
    ) -> None:
        """Notes a problem.

        Args:
            key: Where it is.
            found: What it is.
            expected: What would be right.
            fix: What to do.
            severity: Whether it stops anything.
        """
        self.problems.append(
            Problem(file=self.file, key=key, found=found, expected=expected, fix=fix, severity=severity)
        )


def _holds_object(value: object) -> bool:
    match value:
        case Mapping():
            return ObjectSpec.is_spec(value) or any(map(_holds_object, value.values()))
        case list():
            return any(map(_holds_object, value))
        case _:
            return False


def _is_record(one: type) -> bool:
    return dataclasses.is_dataclass(one) or hasattr(one, "model_fields")


def _is_subclass(made: type, one: type) -> bool:
    # A protocol can't be asked about a class; what has its methods shows only when they are called.
    return True if getattr(one, "_is_protocol", False) else issubclass(made, one)


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
