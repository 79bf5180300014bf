"""The exact versions of the packages that a project runs with here."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from olmoearth_nb.bundles.modules import configured_modules
from olmoearth_nb.config import Project
from olmoearth_nb.config.requirements import REQUIREMENTS_NAME, RequirementLine, read_requirements

__all__ = ["LOCK_NAME", "package_versions", "requirements_lock"]

LOCK_NAME = "requirements.lock"

_OURS = "olmoearth-nb"
_SHOWN = (_OURS, "rslearn", "torch", "lightning", "olmoearth-pretrain-minimal", "numpy", "rasterio")


def package_versions(project: Project) -> dict[str, str]:
    """Versions of Python, of the packages that matter most, and of those in ``requirements.txt``.

    Args:
        project: The project.
    """
    asked = [line.requirement.name for line in _asked(project) if line.requirement is not None]
    names = [*_SHOWN, *sorted(canonicalize_name(name) for name in asked)]
    found = {name: version for name in names if (version := _version(name)) is not None}
    return {"python": ".".join(platform.python_version_tuple()[:2]), **found}


def requirements_lock(project: Project) -> str:
    """A list for ``pip install -r``: this package, what the project names, and all that these need.

    Args:
        project: The project.
    """
    lines = _asked(project)
    roots = [line.requirement for line in lines if line.requirement is not None]
    pinned = _closure([*roots, Requirement(_OURS)])
    # Who provides a module takes a second to find out; most that are not ours are files of the project.
    tops = [top for top in configured_modules(project) if canonicalize_name(top) not in pinned]
    if others := [top for top in tops if any(finder.find_spec(top, None) for finder in sys.meta_path)]:
        providers = metadata.packages_distributions()
        pinned |= _closure([Requirement(name) for top in others for name in providers.get(top, [])])
    text = "".join(f"{name}=={version}\n" for name, version in sorted(pinned.items()))
    loose = sorted({line.text for line in lines if line.requirement is None or line.requirement.url is not None})
    note = "".join(f"# As requirements.txt has it, without a version to pin: {one}\n" for one in loose)
    return f"# The versions that this bundle was made with.\n{note}{text}"


def _asked(project: Project) -> list[RequirementLine]:
    return [line for line in read_requirements(project.path / REQUIREMENTS_NAME) if line.applies]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _closure(roots: Iterable[Requirement]) -> dict[str, str]:
    """Name -> public version of the installed packages that some need, at any depth."""
    todo = [(canonicalize_name(one.name), frozenset(one.extras)) for one in roots]
    seen, found = set(todo), dict[str, str]()
    while todo:
        name, extras = todo.pop()
        version = _version(name)
        if version is None:
            continue
        found[name] = Version(version).public  # 2.9.0+cpu is nowhere but here
        for text in metadata.requires(name) or ():
            one = Requirement(text)
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras or {""}):
                further = (canonicalize_name(one.name), frozenset(one.extras))
                if further not in seen:
                    seen.add(further)
                    todo.append(further)
    return found
