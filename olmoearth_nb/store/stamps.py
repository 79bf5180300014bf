"""What each step of a scratch was made from, so that another request or checkpoint never passes unnoticed.

A stamp maps the name of an input ("request", "checkpoint", …) to a fingerprint. It is written when a step
begins; how far the step got is read from what lies on the disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olmoearth_nb.errors import InputFileError, MissingStepError, StaleScratchError
from olmoearth_nb.files import hash_file, read_json, write_json

__all__ = ["Stamps", "fingerprint"]


def fingerprint(path: Path) -> dict[str, Any]:
    """Fingerprint of a file: SHA-256, with size and time of change to spare reading it again.

    Args:
        path: The file.
    """
    stat = path.stat()
    return {"sha256": hash_file(path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _is_stamp(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("inputs"), dict)


@dataclass(frozen=True)
class Stamps:
    """The stamps of a scratch, one JSON file.

    Attributes:
        path: The file.
        scratch: The scratch folder, for messages.
    """

    path: Path
    scratch: Path

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self.path.exists():
            return {}
        try:
            stamps = read_json(self.path, what="record of the scratch")
        except InputFileError as error:
            raise self._unreadable() from error
        if not isinstance(stamps, dict) or not all(_is_stamp(stamp) for stamp in stamps.values()):
            raise self._unreadable()
        return stamps

    def _unreadable(self) -> StaleScratchError:
        return StaleScratchError(
            "The record of what this scratch was made from can't be read.",
            where=str(self.path),
            fix="Call the first step with overwrite=True to make everything anew, or use another scratch folder.",
        )

    def inputs(self, step: str) -> dict[str, Any] | None:
        """What a step was made from, or None if it never began."""
        stamp = self._read().get(step)
        return None if stamp is None else dict(stamp["inputs"])

    def is_of_others(self, step: str, inputs: Mapping[str, Any]) -> bool:
        """Whether a step was begun from something else."""
        before = self.inputs(step)
        return before is not None and before != dict(inputs)

    def is_done(self, step: str) -> bool:
        """Whether the step came to its end."""
        return bool(self._read().get(step, {}).get("done"))

    def begin(self, step: str, inputs: Mapping[str, Any], *, redo: str) -> None:
        """Notes what a step is made from.

        Args:
            step: Name of the step.
            inputs: Fingerprints by name.
            redo: The call that makes the step anew.

        Raises:
            StaleScratchError: If it was begun from something else.
        """
        self.check(step, inputs, redo=redo)
        stamps = self._read()
        if stamps.get(step, {}).get("inputs") != dict(inputs):
            stamps[step] = {"inputs": dict(inputs), "done": False}
            write_json(self.path, stamps)

    def begin_code(self, step: str, code: Mapping[str, str], *, redo: str) -> None:
        """Notes which custom classes make a step, apart from its files: later steps need not know them.

        Args:
            step: Name of the step.
            code: Hash of each class by its name.
            redo: The call that makes the step anew.

        Raises:
            StaleScratchError: If one of them was another when the step began.
        """
        if code or self.inputs(f"classes of {step}"):
            self.begin(f"classes of {step}", code, redo=redo)

    def finish(self, step: str, *, made: Sequence[str] = ()) -> None:
        """Notes that a step came to its end.

        Args:
            step: Name of the step.
            made: Names of what it made, by which a part that got lost later is missed.
        """
        stamps = self._read()
        stamps[step] |= {"done": True, "made": list(made)}
        write_json(self.path, stamps)

    def made(self, step: str) -> list[str]:
        """What a step made, as it said at its end."""
        return list(self._read().get(step, {}).get("made", ()))

    def drop(self, *steps: str) -> None:
        """Forgets steps, when what they made is removed."""
        stamps = self._read()
        left = {step: stamp for step, stamp in stamps.items() if step not in steps}
        if left != stamps:
            write_json(self.path, left)

    def clear(self) -> None:
        """Forgets all steps, whatever the record says."""
        write_json(self.path, {})

    def check(self, step: str, inputs: Mapping[str, Any], *, redo: str) -> None:
        """Compares a step with what would be its inputs now.

        Args:
            step: Name of the step.
            inputs: Fingerprints by name.
            redo: The call that makes the step anew.

        Raises:
            StaleScratchError: Names the inputs that differ.
        """
        before = self.inputs(step)
        if before is None or not self.is_of_others(step, inputs):
            return
        names = sorted(name for name in {*before, *inputs} if before.get(name) != inputs.get(name))
        raise StaleScratchError(
            f"This scratch was made from other files: {', '.join(names)} changed since the step '{step}'.",
            where=str(self.scratch),
            fix=f"Call {redo} to make it anew (this removes what depends on it), or use another scratch folder.",
        )

    def require(self, step: str, inputs: Mapping[str, Any], *, call: str, redo: str) -> None:
        """Checks that an earlier step was finished with today's inputs.

        Args:
            step: Name of the earlier step.
            inputs: Its fingerprints by name.
            call: The call that runs it.
            redo: The call that makes it anew.

        Raises:
            MissingStepError: If it has not been finished.
            StaleScratchError: If it was made from other files.
        """
        self.check(step, inputs, redo=redo)
        if not self.is_done(step):
            raise MissingStepError(
                f"The step '{step}' has not been run on this scratch.",
                where=str(self.scratch),
                fix=f"Call {call} first.",
            )
