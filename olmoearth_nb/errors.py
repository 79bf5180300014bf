"""The exception tree: one base class, messages written for the person who reads them.

Every message says what was expected, what was found, where (file, key, feature or window) and what to do
about it. Catch :class:`OlmoEarthError` to catch everything that this package raises on purpose.
"""

from __future__ import annotations

__all__ = [
    "BuildError",
    "BundleError",
    "ConfigError",
    "GeometryError",
    "InferenceError",
    "InputFileError",
    "MissingDependencyError",
    "MissingStepError",
    "ModelError",
    "OlmoEarthError",
    "PostprocessError",
    "ProjectError",
    "StaleScratchError",
    "StorageError",
    "TrainingError",
    "UnsupportedError",
    "UsageError",
    "WorkerError",
]


class OlmoEarthError(Exception):
    """Base of every error of this package.

    Args:
        what: One sentence that says what is wrong.
        where: The file, YAML path, feature or window it concerns.
        expected: What would have been right.
        found: What was there instead.
        fix: What to do about it.

    Example:
        >>> str(OlmoEarthError("Bad value.", where="a.yaml: x", expected="a number", found="'b'"))
        "a.yaml: x: Bad value. Expected a number; found 'b'."
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.found = found
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        match self.expected, self.found:
            case None, None:
                pass
            case expected, None:
                text += f" Expected {expected}."
            case None, found:
                text += f" Found {found}."
            case expected, found:
                text += f" Expected {expected}; found {found}."
        return f"{text} {self.fix}" if self.fix else text

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword arguments do not survive a process boundary by themselves.
        return _rebuild, (type(self), self.what, self.where, self.expected, self.found, self.fix)


def _rebuild(
    cls: type[OlmoEarthError],
    what: str,
    where: str | None,
    expected: str | None,
    found: str | None,
    fix: str | None,
) -> OlmoEarthError:
    return cls(what, where=where, expected=expected, found=found, fix=fix)


class UsageError(OlmoEarthError):
    """A call or a command with arguments that don't fit."""


class ProjectError(OlmoEarthError):
    """A project folder that lacks a file, or whose files don't fit together."""


class ConfigError(ProjectError):
    """A configuration file (``olmoearth_run.yaml``, ``dataset.json``, ``model.yaml``) that is wrong."""


class BundleError(ProjectError):
    """A bundle that is damaged, is not what it says, or can't be made of a project."""


class InputFileError(OlmoEarthError):
    """A request, annotation, mask or label file that is missing or malformed."""


class GeometryError(OlmoEarthError):
    """A geometry that can't be used: empty, invalid, outside the globe, in no single zone."""


class UnsupportedError(OlmoEarthError):
    """Something that a component does not do by design, with the reason."""


class MissingDependencyError(OlmoEarthError):
    """A package that this step needs is not installed."""


class StorageError(OlmoEarthError):
    """A file or folder that can't be read or written."""


class MissingStepError(OlmoEarthError):
    """An earlier step has not been run; the message names the call that makes what is missing."""


class StaleScratchError(OlmoEarthError):
    """The scratch folder was made from other files than those that the runner has now."""


class BuildError(OlmoEarthError):
    """No window got its imagery (or, with ``strict=True``, at least one did not)."""


class WorkerError(OlmoEarthError):
    """Worker processes that died, and died again when their jobs were repeated."""


class ModelError(OlmoEarthError):
    """A model or a checkpoint that can't be loaded."""


class TrainingError(OlmoEarthError):
    """Training can't start or has failed."""


class InferenceError(OlmoEarthError):
    """Inference failed for every window (or, with ``strict=True``, for at least one)."""


class PostprocessError(OlmoEarthError):
    """A postprocessor failed or gave something that can't be written."""
