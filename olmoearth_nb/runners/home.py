"""Runners whose scratch lies on an object store: what each method fetches, and that steps send what they make."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from rslearn.dataset import Window

from olmoearth_nb.config import Project
from olmoearth_nb.errors import OlmoEarthError, UsageError
from olmoearth_nb.files import absolute_path
from olmoearth_nb.remote.fetching import fetched
from olmoearth_nb.remote.home import Home
from olmoearth_nb.remote.layout import Kind, Needs
from olmoearth_nb.remote.mirror import working_folder
from olmoearth_nb.remote.places import Place, place_of
from olmoearth_nb.runners.base import Ids, scratch_folder
from olmoearth_nb.runners.summaries import StepSummary

__all__ = ["EVERYTHING", "at_home", "fetch_window", "input_path", "open_scratch", "shown", "sources_of"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

EVERYTHING: tuple[Kind, ...] = ("imagery", "tiles", "output", "merged", "results", "training")
"""What can be looked at."""


class _Workspace(Protocol):
    @property
    def root(self) -> Path: ...


class _Runner(Protocol):
    @property
    def project(self) -> Project: ...

    @property
    def workspace(self) -> _Workspace: ...

    @property
    def home(self) -> Home | None: ...

    def needed(self, kinds: frozenset[Kind], ids: Ids) -> Needs:
        """What a call with these ids works on."""
        ...


_RunnerT = TypeVar("_RunnerT", bound=_Runner)
_Method = Callable[Concatenate[_RunnerT, _P], _T]


def open_scratch(given: str | PathLike[str], project: Project) -> tuple[Path, Home | None]:
    """The folder that steps work in, and where it is at home if that is an object store.

    Args:
        given: The scratch that was given.
        project: The project.

    Raises:
        UsageError: If it is no path or URL, or the project itself.
        MissingDependencyError: If the package for the object store is not installed.
    """
    place = place_of(given)
    if not isinstance(place, Place):
        return scratch_folder(place, project.path), None
    if project.place is not None and project.place.url == place.url:
        raise UsageError(
            "The scratch folder is the project folder.",
            where=place.url,
            fix=f"Use a folder of its own for what a run writes: {place.url}/scratches/first, say.",
        )
    root = working_folder(place)
    paths = {} if project.place is None else {str(project.path): project.place.url}
    return root, Home(place, root, paths=paths)


def sources_of(project: Project, inputs: Iterable[tuple[str | PathLike[str] | None, Path | None]]) -> dict[Place, Path]:
    """Working copies on this machine of what is only read, by their places.

    Args:
        project: The project.
        inputs: Further ones: what was given, and where it is on this machine.
    """
    found = {} if project.place is None else {project.place: project.path}
    for given, path in inputs:
        place = None if given is None else place_of(given)
        if isinstance(place, Place) and path is not None:
            found[place] = path
    return found


def input_path(given: str | PathLike[str] | None, what: str) -> Path | None:
    """A file that was given, on this machine.

    Args:
        given: A path or URL, or None.
        what: What it is, for errors.

    Raises:
        InputFileError: If there is nothing at the URL.
        StorageError: If it can't be reached.
    """
    if given is None:
        return None
    place = place_of(given)
    return fetched(place, what=what) if isinstance(place, Place) else absolute_path(place, what=what)


def shown(runner: _Runner) -> str:
    """A runner as code shows it.

    Args:
        runner: The runner.
    """
    project = str(runner.project.path) if runner.project.place is None else runner.project.place.url
    scratch = str(runner.workspace.root) if runner.home is None else runner.home.place.url
    return f"{type(runner).__name__}(project={project!r}, scratch={scratch!r})"


def at_home(*kinds: Kind, writes: bool = False) -> Callable[[_Method[_RunnerT, _P, _T]], _Method[_RunnerT, _P, _T]]:
    """A method of a runner that reads the scratch, or writes into it.

    Args:
        kinds: What it reads of the windows and partitions that it is about, beside what says how far they are.
        writes: Whether it is a step.
    """

    def decorate(method: _Method[_RunnerT, _P, _T]) -> _Method[_RunnerT, _P, _T]:
        signature = inspect.signature(method)

        @functools.wraps(method)
        def called(runner: _RunnerT, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
            home = runner.home
            if home is None:
                return method(runner, *args, **kwargs)
            ids = signature.bind_partial(runner, *args, **kwargs).arguments.get("ids")
            with home.working(Needs()) if writes else home.looking(Needs()):
                home.pull(_needed(runner, frozenset(kinds), ids))
                result = method(runner, *args, **kwargs)
            return _with_url(result, home) if writes else result

        return called

    return decorate


def fetch_window(runner: _Runner, window: Window) -> None:
    """Fetches all files of one window, in a method that is :func:`at_home`.

    Args:
        runner: The runner.
        window: The window.
    """
    if runner.home is not None:
        key = (window.group, window.name)
        runner.home.pull(Needs(kinds=frozenset(EVERYTHING), windows=frozenset({key}), partitions=frozenset()))


def _needed(runner: _Runner, kinds: frozenset[Kind], ids: Any) -> Needs:
    try:
        return runner.needed(kinds, ids)
    except OlmoEarthError:
        return Needs()  # the method says what is wrong


def _with_url(result: _T, home: Home) -> _T:
    if isinstance(result, StepSummary):
        return dataclasses.replace(result, notes=(*result.notes, f"All of it lies at {home.place.url}."))
    return result
