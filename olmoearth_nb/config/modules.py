"""Modules of a project's own: where they are looked for, in this process and in others.

They lie beside the project, not in an installed package, and two projects may have modules of the same name. So their
folders are on ``sys.path`` only while they are needed, after everything installed, and what one project's folder gave
is forgotten as soon as another one's is looked into, or the file has been edited.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import cloudpickle

from olmoearth_nb.compat import quiet_rslearn
from olmoearth_nb.config.aliases import install_aliases

__all__ = ["Carried", "importable_from", "is_beneath", "make_importable"]

T = TypeVar("T")

# Folders that some project's modules were found in, or are being looked for in.
_seen: set[str] = set()
# Those that are on sys.path now because of this module: for a block, and for the life of the process.
_added: list[str] = []
_lasting: list[str] = []
# Where installed modules lie.
_INSTALLED = tuple({f"{sysconfig.get_path(kind)}{os.sep}" for kind in ("stdlib", "platstdlib", "purelib", "platlib")})
# What all modules were when it was looked last (their number and the last one), and by folder those that were found in
# it and are not installed.
_own: tuple[tuple[int, str, int], dict[str, list[str]]] = ((0, "", 0), {})
# Module -> file, size and time of change when it was found to be loaded.
_loaded: dict[str, tuple[str, int, int]] = {}


@contextlib.contextmanager
def importable_from(search_path: Sequence[Path]) -> Iterator[None]:
    """Lets modules in some folders be imported within the block, and those of OlmoEarth Run.

    The folders come last, so that they hide nothing that is installed, and are taken off ``sys.path`` again at the
    end. A module that was edited since it was imported is imported anew.

    Args:
        search_path: Folders, the first one first.
    """
    folders = [str(folder) for folder in search_path]
    added = _enter(folders)
    try:
        yield
    finally:
        _leave(added)
        _note_files(folders)


def make_importable(search_path: Sequence[str | os.PathLike[str]]) -> None:
    """Lets modules in some folders be imported from now on, in a process that works for others.

    For the start of a worker: ``initializer=make_importable, initargs=(project.search_path,)`` of ``loky`` and
    ``concurrent.futures``, ``client.run(make_importable, project.search_path)`` of dask. Called for another project, it
    takes the folders of the earlier one away.

    Args:
        search_path: Folders, usually a project's ``search_path``; as they are named on the worker's machine.
    """
    folders = [os.fspath(folder) for folder in search_path]
    quiet_rslearn()
    if folders != _lasting:
        _leave([folder for folder in _lasting if folder in _added])
        _enter(folders)
        _lasting[:] = folders
    else:
        _forget(folders)
    _note_files(folders)


class Carried(Generic[T]):
    """A value that finds its modules wherever it is unpickled.

    Pickling it takes along the folders that the classes of the value lie in, which a new process needs before it can
    make sense of the rest.

    Args:
        value: Anything that can be pickled, with objects of custom classes in it.
        search_path: Folders of these classes, usually a project's ``search_path``.

    Attributes:
        value: The value.

    Example:
        >>> import pickle
        >>> pickle.loads(pickle.dumps(Carried({"a": 1}, []))).value
        {'a': 1}
    """

    def __init__(self, value: T, search_path: Sequence[str | os.PathLike[str]]) -> None:
        self.value = value
        self._search_path = [os.fspath(folder) for folder in search_path]

    def __reduce__(self) -> tuple[Any, ...]:
        # By cloudpickle, so that classes of a notebook's own cells travel too.
        return _arrived, (self._search_path, cloudpickle.dumps(self.value))


def _arrived(search_path: list[str], data: bytes) -> Carried[Any]:
    make_importable(search_path)
    return Carried(pickle.loads(data), search_path)


def _enter(folders: list[str]) -> list[str]:
    install_aliases()
    _forget(folders)
    _seen.update(folders)
    added = [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
    # Before those of other projects, after everything else.
    place = min((sys.path.index(folder) for folder in _added if folder in sys.path), default=len(sys.path))
    sys.path[place:place] = added
    _added.extend(added)
    _look_anew(folders)
    return added


def _look_anew(folders: list[str]) -> None:
    """As ``importlib.invalidate_caches()``, which has every folder of the process looked through again."""
    starts = _starts(folders)
    for path in list(sys.path_importer_cache):
        if path in folders or path.startswith(starts):
            sys.path_importer_cache.pop(path, None)


def _leave(added: list[str]) -> None:
    for folder in added:
        _added.remove(folder)
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _forget(folders: list[str]) -> None:
    """Forgets modules that another project's folder gave under a name that is here too, and edited ones."""
    global _own
    others = _seen.difference(folders)
    names = {top for top, folder in _tops(others) if PathFinder.find_spec(top, folders) is not None}
    names |= {name.partition(".")[0] for name, known in _loaded.items() if _edited(name, known, folders)}
    if not names:
        return
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]
        _loaded.pop(name, None)
    _own = ((0, "", 0), {})  # the next of the same name may come from elsewhere


def _edited(name: str, known: tuple[str, int, int], folders: list[str]) -> bool:
    file, *state = known
    module = sys.modules.get(name)
    if module is None or getattr(module, "__file__", None) != file or _root(name, module) not in folders:
        return False
    return _state(file) != tuple(state)


def _note_files(folders: list[str]) -> None:
    found = _of_folders(set(folders))
    for name, module in found:
        file = str(module.__file__)
        if name not in _loaded or _loaded[name][0] != file:
            _loaded[name] = (file, *_state(file))
    used = {_root(name, module) for name, module in found}
    _seen.difference_update(folder for folder in folders if folder not in used and folder not in sys.path)


def _state(file: str) -> tuple[int, int]:
    try:
        stat = os.stat(file)  # noqa: PTH116  # a path object takes longer than the question
    except OSError:
        return (-1, -1)
    return stat.st_size, stat.st_mtime_ns


def _tops(folders: set[str]) -> set[tuple[str, str]]:
    return {(name.partition(".")[0], _root(name, module)) for name, module in _of_folders(folders)}


def _of_folders(folders: set[str]) -> list[tuple[str, ModuleType]]:
    """Modules that were found in one of some folders, those of packages in them included."""
    if not folders:
        return []
    installed = any(start.startswith(_INSTALLED) for start in _starts(folders))
    known = _by_folder(installed=True) if installed else _own_by_folder()
    modules = [(name, sys.modules.get(name), folder) for folder in folders for name in known.get(folder, ())]
    return [
        (name, module)
        for name, module, folder in modules
        if module is not None and getattr(module, "__file__", None) and _root(name, module) == folder
    ]


def _starts(folders: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{folder.rstrip(os.sep)}{os.sep}" for folder in folders)


def _own_by_folder() -> dict[str, list[str]]:
    """Modules that are not installed. To look at all of them takes 20 ms, and this is asked for each class."""
    global _own
    last = next(reversed(sys.modules))
    state = len(sys.modules), last, id(sys.modules[last])
    if state != _own[0]:
        _own = state, _by_folder(installed=False)
    return _own[1]


def _by_folder(*, installed: bool) -> dict[str, list[str]]:
    found = dict[str, list[str]]()
    for name, module in list(sys.modules.items()):
        file = str(getattr(module, "__file__", None) or "")
        if file and (installed or not file.startswith(_INSTALLED)):
            found.setdefault(_root(name, module), []).append(name)
    return found


def _root(name: str, module: ModuleType) -> str:
    """The folder on the search path that a module was found by."""
    file = Path(str(module.__file__))
    depth = name.count(".") + (file.stem == "__init__")
    return str(file.parents[depth]) if depth < len(file.parents) else ""


def is_beneath(name: str, search_path: Sequence[Path]) -> bool:
    """Whether a module was found in one of some folders.

    Args:
        name: Dotted name of a module.
        search_path: The folders.
    """
    module = sys.modules.get(name)
    if module is None or not getattr(module, "__file__", None):
        return False
    return _root(name, module) in {str(folder) for folder in search_path}
