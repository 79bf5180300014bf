"""Importing what a configuration names, with errors for people."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from olmoearth_nb.border import describe, foreign_code
from olmoearth_nb.compat import prepare_rslearn, quiet_rslearn
from olmoearth_nb.config.aliases import COMPONENTS, alias_target, is_legacy_name
from olmoearth_nb.config.modules import importable_from
from olmoearth_nb.config.report import did_you_mean, one_of
from olmoearth_nb.errors import ConfigError

__all__ = ["import_object", "import_short"]

# What brings a package that rslearn imports and does not require.
_EXTRAS = {
    "planetary_computer": "olmoearth-nb[catalog]",
    "pystac_client": "olmoearth-nb[catalog]",
    "olmoearth_pretrain": "olmoearth-nb[olmoearth]",
    "olmoearth_pretrain_minimal": "olmoearth-nb[olmoearth]",
}
_PARSER_MODULES = ("rslearn.", "lightning.pytorch.", "torch.nn", "torch.optim")
_NEEDS_TORCHVISION = ("rslearn.train", "rslearn.models")


def import_object(dotted: str, *, search_path: Sequence[Path] = ()) -> object:
    """Imports a class or a callable by its dotted name.

    Names of OlmoEarth Run and bare names of components mean this package's classes.

    Args:
        dotted: ``package.module.Class``, with nested attributes (``rasterio.crs.CRS.from_epsg``) as well.
        search_path: Folders to look in for custom modules, beside what Python knows.

    Raises:
        ConfigError: If there is no such thing, or the module that has it fails.
    """
    target = alias_target(dotted) or dotted
    parts = target.split(".")
    if len(parts) == 1 or not all(parts):
        raise ConfigError(
            f"There is no component {dotted!r}.",
            expected="a class of this package or a dotted name, package.module.Class",
            fix=did_you_mean(dotted, COMPONENTS) or f"Components: {one_of(COMPONENTS, limit=len(COMPONENTS))}.",
        )
    quiet_rslearn()
    if target.startswith(_NEEDS_TORCHVISION):
        prepare_rslearn()
    with importable_from(search_path):
        module, rest = _import_longest(parts, dotted, search_path)
        return _attribute(module, rest, dotted)


def import_short(name: str) -> object:
    """The class that a name without dots means to rslearn's parser: one of rslearn, lightning or torch.

    Args:
        name: Name of a class.

    Raises:
        ConfigError: If none of the modules that have been imported so far has it.
    """
    loaded = [module for key, module in sys.modules.items() if key.startswith(_PARSER_MODULES)]
    found = next((module for module in loaded if isinstance(vars(module).get(name), type)), None)
    if found is None:
        raise ConfigError(f"There is no class {name!r}.", expected="a dotted name, package.module.Class")
    return vars(found)[name]


def _import_longest(parts: list[str], dotted: str, search_path: Sequence[Path]) -> tuple[ModuleType, list[str]]:
    """The module with the longest name, and what is left of the name."""
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            with foreign_code(ConfigError, f"Importing {name} fails"):
                return importlib.import_module(name), parts[length:]
        except ConfigError as error:
            cause = error.__cause__
            if not isinstance(cause, ModuleNotFoundError):
                raise
            if cause.name is None or not f"{name}.".startswith(f"{cause.name}."):
                raise _missing_package(name, cause) from cause
    raise _no_module(parts, dotted, search_path)


def _missing_package(name: str, cause: ModuleNotFoundError) -> ConfigError:
    package = (cause.name or "").partition(".")[0]
    if not package:
        return ConfigError(f"Importing {name} fails: {describe(cause)}")
    return ConfigError(
        f"Importing {name} fails: it needs the package {package}, which is not installed.",
        fix=f"Run: pip install {_EXTRAS.get(package, package)}",
    )


def _no_module(parts: list[str], dotted: str, search_path: Sequence[Path]) -> ConfigError:
    if is_legacy_name(dotted):
        return _no_counterpart(dotted)
    looked = "".join(f" {folder}," for folder in search_path)
    return ConfigError(
        f"The module {'.'.join(parts[:-1])} is not found.",
        fix=f"Looked in{looked} PYTHONPATH and the installed packages. Check the spelling, or put the file there.",
    )


def _no_counterpart(dotted: str) -> ConfigError:
    return ConfigError(
        f"This package has no counterpart of {dotted}.",
        fix=did_you_mean(dotted.rpartition(".")[2], COMPONENTS)
        or "Install olmoearth-runner beside it, or use another class.",
    )


def _attribute(module: ModuleType, names: list[str], dotted: str) -> object:
    found: object = module
    for position, name in enumerate(names):
        with foreign_code(ConfigError, f"Importing {dotted} fails"):
            if not hasattr(found, name):
                if is_legacy_name(dotted):
                    raise _no_counterpart(dotted)
                # A name with several parts left is a module that is not there, rather than an attribute.
                missing = ".".join(names[position:])
                raise ConfigError(
                    f"The module {module.__name__} has no {missing}.",
                    fix=did_you_mean(name, [key for key in vars(found) if not key.startswith("_")])
                    or "Check the spelling.",
                )
            found = getattr(found, name)
    return found
