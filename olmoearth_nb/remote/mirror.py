"""A working copy of a remote folder: pulled as it is needed, pushed as it grows, nothing sent twice.

Whatever happens on the way, two things hold. A file that only one side has changed is taken from that side, and one
that both have changed is left alone and told. And a mark that lies remotely (see :mod:`olmoearth_nb.remote.layout`)
speaks of files that lie there as a whole: it is taken away before they are changed, and sent after them.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import filelock

from olmoearth_nb.cache import cache_folder
from olmoearth_nb.errors import InputFileError, StorageError
from olmoearth_nb.files import read_json
from olmoearth_nb.remote.journal import Journal
from olmoearth_nb.remote.layout import LEDGER, LISTING, is_passing, mark_of, speaks_of
from olmoearth_nb.remote.places import Place
from olmoearth_nb.remote.records import Local, Stored, Synced, local_file, walk
from olmoearth_nb.remote.texts import Texts
from olmoearth_nb.remote.transfer import Transfer, replace_file

__all__ = ["Mirror", "locked", "working_folder"]

# Seconds for which nobody has written into a file that is sent while others are being made.
_SETTLED = 2.0
# Stands for the tag of a file that another machine has sent, until the folder is listed.
_NEWS = "news"


def working_folder(place: Place, *, branch: str = "") -> Path:
    """Where the working copy of a place lies on this machine.

    Args:
        place: The place.
        branch: Name of one of several working copies.
    """
    return cache_folder() / "remote" / f"{place.key}{branch}" / place.name


@contextlib.contextmanager
def locked(root: Path, *, patience: float = -1) -> Iterator[None]:
    """Keeps other processes of this machine off a working copy.

    Args:
        root: The working copy.
        patience: Seconds to wait for them; for ever if below 0.

    Raises:
        filelock.Timeout: If that was not enough.
        StorageError: If the cache can't be written.
    """
    lock = filelock.FileLock(root.with_name("lock"), timeout=patience, thread_local=False)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise
    except (NotImplementedError, OSError) as error:
        raise StorageError(
            f"The working copy can't be written: {error}.",
            where=str(root),
            fix="OLMOEARTH_NB_CACHE names another folder for working copies, on a disk of this machine.",
        ) from error
    try:
        yield
    finally:
        lock.release()


class Mirror:
    """A remote folder and its working copy.

    Args:
        place: The folder.
        root: Its working copy; what is known about it lies beside.
        paths: Folders of this machine that texts in the working copy name, and what they are called remotely.
        has_marks: Whether it is a scratch, some of whose files say that others are whole.

    Attributes:
        place: The folder.
        root: Its working copy.
        there: What lies remotely, by relative path, as of the last listing and of what was sent since.
        transfer: Sends and fetches.
    """

    def __init__(
        self, place: Place, root: Path, *, paths: Mapping[str, str] | None = None, has_marks: bool = True
    ) -> None:
        self.place = place
        self.root = root
        self.there: dict[str, Stored] = {}
        self._journal = Journal(root.with_name("synced.jsonl"))
        self._texts = Texts(paths or {})
        self._mark_of: Callable[[str], str | None] = mark_of if has_marks else lambda _: None
        self.transfer = Transfer(place, root.with_name("incoming"))
        self._lock = threading.RLock()

    # ---- pulling ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Lists what lies remotely.

        Raises:
            StorageError: If it can't be listed.
        """
        with self._lock:
            found, same = self.transfer.listing(), self._journal.same
            times = self._times(found.pop(LISTING, None))
            for path, now in found.items():
                known = same.get(path)
                if known is not None and not known.stored.tag and known.stored.size == now.size:
                    # One that was sent from here, and has its tag now.
                    known = same[path] = Synced(known.local, known.stored._replace(tag=now.tag))
                if known is not None and known.stored.tag == now.tag:
                    found[path] = known.stored
                elif (noted := times.get(path)) is not None and noted.tag == now.tag:
                    found[path] = noted
            self.there = found

    def _times(self, listing: Stored | None) -> dict[str, Stored]:
        content = None if listing is None else self.transfer.read(LISTING)
        try:
            return {path: Stored(*values) for path, values in json.loads(content or b"{}").items()}
        except (ValueError, TypeError, AttributeError):
            return {}

    def pull(
        self, wanted: Callable[[str], bool], *, among: Iterable[str] | None = None, restore: bool = False
    ) -> list[str]:
        """Fetches what is new or changed since the last look, and removes what was removed remotely.

        Args:
            wanted: Says of a relative path whether it is needed here.
            among: The only files to look at; all if None.
            restore: Fetch again what was removed here, which is removed remotely by the next push otherwise.

        Returns:
            What was fetched.

        Raises:
            StorageError: If something can't be fetched, or was changed on both sides.
        """
        with self._lock:
            if not self.there:
                self.look()
            if restore:
                self._journal.forget([path for path in self._journal.same if not (self.root / path).exists()])
            looked_at = self.there if among is None else [path for path in among if path in self.there]
            news = [path for path in looked_at if wanted(path) and not is_passing(path) and self._is_whole(path)]
            news = [path for path in news if self._is_news(path)]
            self._fetch(news)
            if among is None:
                self._remove_as_there(path for path in self._journal.same if path not in self.there)
            return news

    def _remove_as_there(self, paths: Iterable[str]) -> None:
        known = {path: self._journal.same[path].local for path in paths if path in self._journal.same}
        self._journal.forget(known)
        for path, local in known.items():
            if local_file(self.root / path) == local:
                (self.root / path).unlink(missing_ok=True)

    def _is_whole(self, path: str) -> bool:
        mark = self._mark_of(path)
        # Windows that are rows of a database have no marks.
        return mark is None or mark in self.there or f"{mark.partition('/')[0]}/windows.sqlite3" in self.there

    def _is_news(self, path: str) -> bool:
        """Whether a file has to be fetched."""
        known, now = self._journal.same.get(path), self.there[path]
        if path in self._journal.under_way or (known is not None and known.stored.tag == now.tag):
            return False
        local, mark = local_file(self.root / path), self._mark_of(path)
        if local is None or (known is not None and known.local == local):
            return True
        if mark is not None and not (self.root / mark).exists():
            return True  # what is here never became whole
        raise StorageError(
            "A file was changed in the working copy and remotely.",
            where=f"{self.place.url}/{path}",
            fix=f"Somebody else has worked there since. Remove {self.root.parent} to go on from what lies remotely; "
            "what was not sent is lost then.",
        )

    def _fetch(self, paths: list[str]) -> None:
        empty = [path for path in paths if not self.there[path].size]
        for path in empty:
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"")
        self._arrived({path: found for path in empty if (found := local_file(self.root / path)) is not None})
        for batch in self.transfer.fetch([path for path in paths if self.there[path].size]):
            arrived = {}
            for path, source in batch.items():
                self._texts.arrived(path, source)
                arrived[path] = replace_file(source, self.root / path, self.there[path].mtime_ns)
            self._arrived(arrived)

    def _arrived(self, files: Mapping[str, Local]) -> None:
        for path in files:
            if self.there[path].tag == _NEWS:
                self.there[path] = self.there[path]._replace(tag="")
        self._journal.note({path: Synced(local, self.there[path]) for path, local in files.items()})

    # ---- pushing ---------------------------------------------------------------------------------------------

    def push(self, *, under: Iterable[str] = ("",), settled: bool = False) -> dict[str, Stored | None]:
        """Sends what was made or changed here, and removes what was removed here.

        Args:
            under: Folders to look at, relative, with a slash at the end.
            settled: Whether others may be writing just now: files of this moment are left for the next time.

        Returns:
            What lies remotely now of what this has changed, by relative path: None for what was removed.

        Raises:
            StorageError: If something can't be sent. It stays in the working copy, for the next time.
        """
        folders, same = tuple(under), self._journal.same
        with self._lock:
            if not self.there:
                self.look()
            self._texts.checkpoint(self.root)
            here = self._scan(folders)
            changed = {path for path, local in here.items() if path not in same or same[path].local != local}
            known = same.keys() | self._journal.under_way
            gone = {path for path in known if path not in here and path.startswith(folders)}
            if settled:
                newest = time.time_ns() - int(_SETTLED * 1e9)
                changed = {path for path in changed if self._mark_of(path) or here[path].mtime_ns < newest}
            if not changed and not gone:
                return {}
            before = dict(self.there)
            self._send(here, self._withdraw(changed, gone))
            touched = {path for path in {*before, *self.there} if before.get(path) != self.there.get(path)}
            return {path: self.there.get(path) for path in touched}

    def _scan(self, folders: Iterable[str]) -> dict[str, Local]:
        """Files that are whole."""
        found = {path: local for folder in folders for path, local in walk(self.root, folder) if not is_passing(path)}
        rows = {path.partition("/")[0] for path in found if path.endswith("/windows.sqlite3")}
        return {
            path: local
            for path, local in found.items()
            if (mark := self._mark_of(path)) is None or mark in found or path.partition("/")[0] in rows
        }

    def _withdraw(self, changed: set[str], gone: set[str]) -> set[str]:
        """Takes away the marks of what is about to change, then what was removed.

        Returns:
            What is to be sent.
        """
        marks = {mark for path in changed | gone if (mark := self._mark_of(path)) is not None and mark in self.there}
        spoken_of = self._spoken_of() if gone else {}
        dead = gone & self.there.keys() & spoken_of.keys()
        self._forget(marks | dead)
        if LEDGER in changed | gone and LEDGER in self.there:
            self._withdraw_steps()
        lost = {path for mark in dead for path in spoken_of[mark]} | (gone - {LEDGER})
        self._forget(lost)
        return changed | (marks - gone)

    def _spoken_of(self) -> dict[str, list[str]]:
        """Remote files by their marks."""
        found: dict[str, list[str]] = {}
        for path in self.there:
            if (mark := self._mark_of(path)) is not None:
                found.setdefault(mark, []).append(path)
        return found

    def _forget(self, paths: Iterable[str]) -> None:
        paths = list(paths)
        self._journal.begin(paths)
        self.transfer.remove(path for path in paths if path in self.there)
        for path in paths:
            self.there.pop(path, None)
        self._journal.forget(path for path in paths if not (self.root / path).exists())

    def _withdraw_steps(self) -> None:
        """Until all has arrived, the remote ledger has only the steps that are as they were."""
        theirs, ours = self.transfer.read(LEDGER), None
        with contextlib.suppress(InputFileError):
            ours = read_json(self.root / LEDGER)
        try:
            noted = json.loads(theirs or b"{}")
            kept = {step: stamp for step, stamp in noted.items() if isinstance(ours, dict) and ours.get(step) == stamp}
        except (ValueError, AttributeError):
            noted, kept = None, {}
        if kept != noted:
            self._journal.begin([LEDGER])
            self.transfer.write(LEDGER, json.dumps(kept).encode())

    def _send(self, here: Mapping[str, Local], changed: set[str]) -> None:
        marks = {mark for path in here if (mark := self._mark_of(path)) is not None}
        ready = changed & here.keys()
        content = ready - marks - {LEDGER}
        # What is new goes before what it replaces: a raster that was processed needs the unprocessed one beside it.
        new = content - self.there.keys()
        self._put(new)
        self._put(content - new)
        self._put([mark for mark in ready & marks if self._is_as_sent(mark)])
        self._put(ready & {LEDGER})

    def _is_as_sent(self, mark: str) -> bool:
        """Whether what a mark speaks of lies here as it was sent."""
        same = self._journal.same
        return all(
            path in same and same[path].local == local
            for path, local in walk(self.root, speaks_of(mark))
            if self._mark_of(path) == mark and not is_passing(path)
        )

    def _put(self, paths: Iterable[str]) -> None:
        before = {path: local for path in paths if (local := local_file(self.root / path)) is not None}
        with self._texts.leaving(self.root, before) as sources:
            self._journal.begin(before)
            for sent in self.transfer.send(sources):
                stored = {path: Stored(size, "", before[path].mtime_ns) for path, size in sent.items()}
                self.there |= stored
                # What was changed on its way is sent again.
                same = {path: one for path, one in stored.items() if local_file(self.root / path) == before[path]}
                self._journal.note({path: Synced(before[path], one) for path, one in same.items()})

    # ---- several machines ------------------------------------------------------------------------------------

    def learn(self, news: Mapping[str, Stored | None]) -> None:
        """Takes note of what another machine has sent or removed.

        Args:
            news: What :meth:`push` gave there.
        """
        with self._lock:
            for path, stored in news.items():
                if stored is None:
                    self.there.pop(path, None)
                else:
                    self.there[path] = stored._replace(tag=_NEWS)
            self._remove_as_there(path for path, stored in news.items() if stored is None)

    def expect(self, files: Mapping[str, Stored], *, under: tuple[str, ...] = ()) -> None:
        """Takes another machine's word for what lies remotely, in place of a look.

        Args:
            files: By relative path.
            under: Folders, with a slash at the end, in which there is nothing else.
        """
        with self._lock:
            self._journal.refresh()  # other processes of this machine may share the working copy
            for path in [path for path in self.there if path.startswith(under) and path not in files]:
                del self.there[path]
            self._remove_as_there([path for path in self._journal.same if path.startswith(under) and path not in files])
            for path, stored in files.items():
                known = self._journal.same.get(path)
                is_known = known is not None and known.stored[::2] == stored[::2]
                self.there[path] = known.stored if known is not None and is_known else stored._replace(tag=_NEWS)

    def note_times(self) -> None:
        """Leaves a list of the times of change, which object stores don't keep.

        Postprocessing tells by them, on another machine too, that nothing has changed.
        """
        with self._lock:
            self.look()
            self.transfer.write(LISTING, json.dumps(self.there).encode())
            self._journal.rewrite()
