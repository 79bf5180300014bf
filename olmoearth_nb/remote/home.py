"""The home of a scratch: a remote folder whose working copy the steps work in."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import filelock

from olmoearth_nb.errors import OlmoEarthError, StorageError
from olmoearth_nb.remote.layout import Needs
from olmoearth_nb.remote.lease import Lease
from olmoearth_nb.remote.mirror import Mirror, locked
from olmoearth_nb.remote.places import Place

__all__ = ["Home"]

# Seconds between two times that what was made so far is sent, and how many times as long as that takes.
INTERVAL = 15.0
_SHARE = 10

# Seconds to wait for another run on this machine to end.
_PATIENCE = 10.0


class Home:
    """A scratch on an object store.

    Args:
        place: Where it lies.
        root: Its working copy.
        paths: Folders of this machine that its files name, and what they are called remotely.
    """

    def __init__(self, place: Place, root: Path, *, paths: Mapping[str, str] | None = None) -> None:
        self.place = place
        self.root = root
        self.mirror = Mirror(place, root, paths=paths)
        self._is_open = False

    @contextlib.contextmanager
    def working(self, needs: Needs) -> Iterator[None]:
        """For a step: nobody else works there, and what it makes is sent while it is made.

        Args:
            needs: What is fetched before; more can be fetched in the block.

        Raises:
            StorageError: If another run is at work there, or it can't be reached. What could not be sent stays in the
                working copy, and the next step sends it.
        """
        if self._is_open:  # a step within a step
            self.mirror.pull(needs)
            yield
            return
        with self._alone():
            self.mirror.look()
            self.mirror.pull(needs)
            try:
                with self._sending():
                    yield
            except BaseException as error:
                try:
                    self._send()
                except OlmoEarthError as further:
                    error.add_note(str(further))
                raise
            self._send()

    @contextlib.contextmanager
    def looking(self, needs: Needs) -> Iterator[None]:
        """For looking at what there is: fetched, unless a run on this machine is at work, whose copy is newer.

        Args:
            needs: What is fetched.

        Raises:
            StorageError: If it can't be reached.
        """
        with contextlib.ExitStack() as held:
            if not self._is_open:
                with contextlib.suppress(filelock.Timeout):
                    held.enter_context(self._locked(0))
                    self.mirror.look()
                    self.mirror.pull(needs)
            yield

    def pull(self, needs: Needs) -> None:
        """Fetches more, in a block of :meth:`working` or :meth:`looking`.

        Args:
            needs: What.
        """
        if self._is_open:
            self.mirror.pull(needs)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            here = self._locked(_PATIENCE)
            with here, self._leased():
                yield
        except filelock.Timeout as error:
            raise StorageError(
                "Another run on this machine is working on this scratch.",
                where=self.place.url,
                fix="Wait until it is done (or interrupt it), or use another scratch.",
            ) from error

    @contextlib.contextmanager
    def _locked(self, patience: float) -> Iterator[None]:
        with locked(self.root, patience=patience):
            self._is_open = True
            try:
                yield
            finally:
                self._is_open = False

    @contextlib.contextmanager
    def _leased(self) -> Iterator[None]:
        self._lease = Lease(self.mirror.transfer)
        self._lease.take()
        try:
            yield
        finally:
            self._lease.give_back()

    def _send(self) -> None:
        try:
            self.mirror.push()
            self.mirror.note_times()
        except StorageError as error:
            raise StorageError(
                f"What this step made could not all be sent. {error.what}",
                where=self.place.url,
                fix=f"It is kept in {self.root}, and any further step sends it. {error.fix or ''}".strip(),
            ) from error

    @contextlib.contextmanager
    def _sending(self) -> Iterator[None]:
        """Sends what is there by now, again and again, so that a run that is killed goes on elsewhere."""
        ended = threading.Event()
        thread = threading.Thread(
            target=self._send_until, args=(ended,), name=f"sends to {self.place.url}", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _send_until(self, ended: threading.Event) -> None:
        pause = INTERVAL
        while not ended.wait(pause):
            start = time.monotonic()
            with contextlib.suppress(OlmoEarthError):  # the end of the step tells what could not be sent
                self._lease.renew()
                # A database of windows would be sent while others write into it.
                if not any(self.root.glob("dataset*/windows.sqlite3")) and self.mirror.push(settled=True):
                    self.mirror.note_times()
            pause = max(INTERVAL, _SHARE * (time.monotonic() - start))
