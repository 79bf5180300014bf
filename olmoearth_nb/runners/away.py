"""Jobs of a scratch on an object store, for workers that do not see the disk of this machine.

Each worker has working copies of its own: it fetches what a job reads, does it there, and sends what it made. Workers
that do see the disk work in the copy that is there.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from olmoearth_nb.errors import UsageError
from olmoearth_nb.files import write_text
from olmoearth_nb.remote.fetching import fetched
from olmoearth_nb.remote.home import Home
from olmoearth_nb.remote.layout import Kind, Needs
from olmoearth_nb.remote.luggage import pack, unpack
from olmoearth_nb.remote.mirror import Mirror, locked, working_folder
from olmoearth_nb.remote.places import Place
from olmoearth_nb.remote.records import Stored
from olmoearth_nb.runners.engines import Engine
from olmoearth_nb.types import WindowSpec

__all__ = ["AwayEngine"]

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

# Where a worker's working copies lie, beside those of runs of its machine.
_BRANCH = "-worker"
# Of this process: what it fetched for the last run, and the copy that it works in.
_fetched: dict[str, list[Path]] = {}
_mirrors: dict[str, Mirror] = {}


class _Job(Protocol):
    @property
    def kinds(self) -> frozenset[Kind]: ...

    @property
    def specs(self) -> Sequence[WindowSpec]: ...


@dataclass(frozen=True, kw_only=True)
class _Away:
    """A job in its luggage.

    Attributes:
        number: Which one it is.
        label: What it is shown as.
        data: The function and the job.
        session: The same for all jobs of a run.
        root: The working copy of the scratch, on the machine of the run.
        sources: Working copies there of what is only read, by their places.
        project: The URL of the project, if it has one.
        scratch: Where the scratch lies.
        needs: What the job reads.
        folders: Where it reads and writes, relative to the scratch.
        files: What lies there, and what else it reads.
        is_sqlite: Whether windows are rows of a database, which can't be in two places.
    """

    number: int
    label: str
    data: bytes
    session: str
    root: Path
    sources: Mapping[Place, Path]
    project: str | None
    scratch: Place
    needs: Needs
    folders: tuple[str, ...]
    files: Mapping[str, Stored]
    is_sqlite: bool


class AwayEngine:
    """An engine whose workers may have another disk.

    Args:
        engine: What runs the jobs.
        home: The scratch.
        sources: Working copies here of what is only read, by their places.
        project: The URL of the project, if it has one.
        windows_of: Gives the windows of a partition.
        dataset: Name of the folder of the dataset.
    """

    def __init__(
        self,
        engine: Engine,
        home: Home,
        *,
        sources: Mapping[Place, Path],
        project: str | None,
        windows_of: Callable[[str], Sequence[WindowSpec]],
        dataset: str,
    ) -> None:
        self.engine = engine
        self.gives_gpus = engine.gives_gpus
        self.home = home
        self.sources = sources
        self.project = project
        self.windows_of = windows_of
        self.dataset = dataset
        self._session = uuid.uuid4().hex

    def run(self, work: Callable[[JobT], ResultT], jobs: Sequence[JobT]) -> Iterator[tuple[JobT, ResultT]]:
        """See :meth:`Engine.run`."""
        mirror = self.home.mirror
        write_text(_token(mirror.root), self._session)
        mirror.push()
        packed = [self._pack(number, work, job) for number, job in enumerate(jobs)]
        for away, (data, news) in self.engine.run(_do, packed):
            mirror.learn(news)
            mirror.pull(Needs(), among=news)
            yield jobs[away.number], unpack(data, self._folders)

    @property
    def _folders(self) -> list[Path]:
        return [self.home.root, *self.sources.values()]

    def _pack(self, number: int, work: Callable[[JobT], ResultT], job: JobT) -> _Away:
        needs, folders = self._needs(job)  # type: ignore[arg-type]  # jobs say what they are about
        there = self.home.mirror.there
        return _Away(
            number=number,
            label=str(getattr(job, "label", work.__name__)),
            data=pack((work, job), self._folders),
            session=self._session,
            root=self.home.root,
            sources=self.sources,
            project=self.project,
            scratch=self.home.place,
            needs=needs,
            folders=folders,
            files={path: stored for path, stored in there.items() if path.startswith(folders) or needs(path)},
            is_sqlite=(self.home.root / self.dataset / "windows.sqlite3").exists(),
        )

    def _needs(self, job: _Job) -> tuple[Needs, tuple[str, ...]]:
        partition = str(getattr(job, "partition_id", ""))
        specs = self.windows_of(partition) if partition else job.specs
        keys = frozenset((spec.group, spec.name) for spec in specs)
        owners = {group.removeprefix("group_") for group, _ in keys}
        needs = Needs(kinds=job.kinds, windows=keys, partitions=frozenset({*owners, partition}), elsewhere=False)
        folders = [f"{self.dataset}/windows/{group}/{name}/" for group, name in sorted(keys)]
        return needs, (*folders, *([f"partitions/{partition}/"] if partition else []))


def _token(root: Path) -> Path:
    return root.with_name("session")


def _do(away: _Away) -> tuple[bytes, Mapping[str, Stored | None]]:
    """Does a job in a worker."""
    token = _token(away.root)
    if token.is_file() and token.read_text(encoding="utf-8") == away.session:
        return _done(away, [away.root, *away.sources.values()]), {}
    if away.is_sqlite:
        raise UsageError(
            "The windows of this scratch are rows of one file, which workers on other machines can't share.",
            where=away.scratch.url,
            fix="Use a scratch that was made with runner.partition(storage='files').",
        )
    root = working_folder(away.scratch, branch=_BRANCH)
    sources = _sources(away)
    mirror = _mirror(away, root, sources)
    with locked(root):
        mirror.expect(away.files, under=away.folders)
        mirror.pull(away.needs, among=away.files)
    data = _done(away, [root, *sources])
    with locked(root):
        return data, mirror.push(under=away.folders)


def _done(away: _Away, folders: Sequence[Path]) -> bytes:
    work, job = unpack(away.data, folders)
    return pack(work(job), folders)


def _sources(away: _Away) -> list[Path]:
    if away.session not in _fetched:
        _fetched.clear()
        _mirrors.clear()
        _fetched[away.session] = [
            fetched(place, what="input", wanted=_is_no_scratch, branch=_BRANCH) for place in away.sources
        ]
    return _fetched[away.session]


def _is_no_scratch(path: str) -> bool:
    return not path.startswith("scratches/")


def _mirror(away: _Away, root: Path, sources: Iterable[Path]) -> Mirror:
    if away.session not in _mirrors:
        urls = {str(source): place.url for source, place in zip(sources, away.sources, strict=True)}
        paths = {path: url for path, url in urls.items() if url == away.project}
        _mirrors[away.session] = Mirror(away.scratch, root, paths=paths)
    return _mirrors[away.session]
