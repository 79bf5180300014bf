"""Projects, scratches and results on an object store: the same files as on this machine, wherever a run goes on."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec.config
import numpy as np
import object_store
import pytest
import rasterio
import scenes
from upath import UPath

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner, Project
from olmoearth_nb.cli import main
from olmoearth_nb.errors import MissingDependencyError, ProjectError, StorageError, UsageError
from olmoearth_nb.remote.layout import Needs
from olmoearth_nb.runners import away, jobs, predict
from olmoearth_nb.store import materialize

Cache = Callable[[str], Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Makes this process another machine: one with another folder for working copies."""

    def use(name: str) -> Path:
        monkeypatch.setenv("OLMOEARTH_NB_CACHE", str(tmp_path / "machines" / name))
        return tmp_path / "machines" / name

    use("first")
    return use


@pytest.fixture
def folder(store: object_store.ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder, ``bucket/key``; fsspec and processes that are started are set to the server."""
    for name, value in store.options(object_store.OWNER).items():
        monkeypatch.setenv(f"FSSPEC_S3_{name.upper()}", value)
    monkeypatch.setitem(fsspec.config.conf, "s3", store.options(object_store.OWNER))
    return f"{store.shared}/{uuid.uuid4().hex}"


def _predicting(project: Any, scratch: Any, **options: Any) -> OlmoEarthRunPredictRunner:
    """Random weights: training takes longer than all else here, and they tell three classes apart."""
    return OlmoEarthRunPredictRunner(project, scratch, **{"random_weights": True, "progress": False, **options})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.make_raster_project(tmp_path_factory.mktemp("remote") / "project")


@pytest.fixture(scope="module")
def locally(project: Path) -> tuple[list[Any], dict[str, bytes]]:
    """What every step of a run on this machine counts, and the files that it makes."""
    runner = _predicting(project, project.parent / "scratch")
    return [summary.counts for summary in runner.run(engine="serial")], _made(runner.workspace.root)


def _made(root: Path) -> dict[str, bytes]:
    """What runs leave that people use, by path."""
    files = [path for path in root.rglob("[!.]*") if path.suffix in (".tif", ".geojson") and "tiles" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def _remote(store: object_store.ObjectStore, folder: str) -> dict[str, bytes]:
    store.files.invalidate_cache()
    found = [path for path in store.files.find(folder) if f"{folder}/" in path]
    return {path.removeprefix(f"{folder}/"): store.files.cat_file(path) for path in found}


def _as_made(files: dict[str, bytes]) -> dict[str, bytes]:
    names = [name for name in files if name.endswith((".tif", ".geojson")) and "/tiles/" not in name]
    return {name: files[name] for name in names}


def test_a_prediction_whose_project_and_scratch_lie_on_s3(
    project: Path, store: object_store.ObjectStore, folder: str, cache: Cache, locally: Any
) -> None:
    counts, files = locally
    store.upload(project, f"{folder}/project")
    runner = _predicting(f"s3://{folder}/project", UPath(f"s3://{folder}/run"))
    assert repr(runner) == (f"OlmoEarthRunPredictRunner(project='s3://{folder}/project', scratch='s3://{folder}/run')")
    summaries = runner.run(engine="serial")
    assert [summary.counts for summary in summaries] == counts
    assert summaries[-1].notes[-1] == f"All of it lies at s3://{folder}/run."
    made = _remote(store, f"{folder}/run")
    assert _as_made(made) == files
    assert not [name for name in made if "lease" in name or name.endswith("lock")]
    config = json.loads(made["dataset_0/config.json"])
    assert config["layers"]["scene"]["data_source"]["init_args"]["src_dir"] == f"s3://{folder}/project/scenes"

    cache("second")
    other = _predicting(f"s3://{folder}/project", f"s3://{folder}/run")
    assert other.status()["combine"] == "done"
    assert set(other.windows()["state"]) == {"predicted"}
    again = other.run_pipeline()
    assert again[1].counts["built"] == again[2].counts["predicted"] == again[3].counts["processed"] == 0
    assert _made(other.workspace.root) == _as_made(_remote(store, f"{folder}/run")) == files


class _Elsewhere:
    """An engine whose jobs run in turn on two machines that don't see this one's disk."""

    gives_gpus = False

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.ran: list[str] = []

    def run(self, work: Callable[[Any], Any], todo: list[Any]) -> Iterator[tuple[Any, Any]]:
        for number, job in enumerate(todo):
            here = os.environ["OLMOEARTH_NB_CACHE"]
            for kept in (away._fetched, away._mirrors, jobs._stages, jobs._models):  # of the other one
                kept.clear()
            away._token(job.root).rename(hidden := job.root.with_name("hidden"))
            self.cache(f"worker {number % 2}")
            try:
                result = work(pickle.loads(pickle.dumps(job)))
            finally:
                os.environ["OLMOEARTH_NB_CACHE"] = here
                hidden.rename(away._token(job.root))
            self.ran.append(pickle.loads(pickle.dumps(job)).folders[-1])
            yield job, result


def test_workers_that_see_another_disk(
    project: Path,
    store: object_store.ObjectStore,
    folder: str,
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    locally: Any,
) -> None:
    counts, files = locally
    for module in (jobs, predict):  # several chunks of these few windows
        monkeypatch.setattr(module, "chunk_length", lambda _: 5)
    monkeypatch.setattr(materialize, "_CHUNKS", 1)  # all of them are built at once
    store.upload(project, f"{folder}/project")
    elsewhere = _Elsewhere(cache)
    monkeypatch.setattr(predict, "open_engine", lambda *_, **__: contextlib.nullcontext(elsewhere))
    runner = _predicting(f"s3://{folder}/project", f"s3://{folder}/run")
    assert [summary.counts for summary in runner.run(engine="dask", client="tcp://somewhere")] == counts
    assert len(elsewhere.ran) > 10
    assert _as_made(_remote(store, f"{folder}/run")) == files
    (copy,) = (tmp_path / "machines/worker 1/remote").glob("*-worker/run")
    # It built none, and got the second and the fourth chunk to predict.
    assert len(list(copy.rglob("layers/scene/*/geotiff.tif"))) == 6
    again = runner.run_pipeline()
    assert again[3].counts["unchanged"] == 6


@pytest.mark.slow
def test_workers_of_dask_with_disks_of_their_own(
    project: Path, store: object_store.ObjectStore, folder: str, cache: Cache, tmp_path: Path, locally: Any
) -> None:
    import distributed

    store.upload(project, f"{folder}/project")
    runner = _predicting(f"s3://{folder}/project", f"s3://{folder}/run")
    # Two workers of one machine share its working copies.
    environment = {name: value for name, value in os.environ.items() if name.startswith("FSSPEC")}
    environment["OLMOEARTH_NB_CACHE"] = str(tmp_path / "workers")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", env=environment) as made:
        with distributed.Client(made, set_as_default=False) as client:
            # Their disk is this one, so that the token is what tells them.
            client.run(_see_another_disk)
            runner.run(engine="dask", client=client)
    assert len(list((tmp_path / "workers").glob("remote/*-worker/run/dataset_0/config.json"))) == 1
    assert _as_made(_remote(store, f"{folder}/run")) == locally[1]


def _see_another_disk() -> None:
    away._token = lambda root: Path("/nowhere") / root.name


_KILLED = """
import os, signal, time
from olmoearth_nb import BuildOptions, OlmoEarthRunPredictRunner
from olmoearth_nb.remote import home, mirror
home.INTERVAL, mirror._SETTLED = 0.5, 0.0

class Bar:
    def __init__(self, desc):
        self.counts = desc.lower().startswith({step!r})
        self.left = {updates}
    def update(self, n=1):
        self.left -= n
        if self.counts and self.left < 0:
            while {sent!r} not in " ".join(list(runner.home.mirror.there)):
                time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGKILL)
    def close(self):
        pass

runner = OlmoEarthRunPredictRunner(
    {project!r},
    {scratch!r},
    random_weights=True,
    build=BuildOptions(workers=0),
    progress=lambda total, desc, unit: Bar(desc),
)
runner.run()
"""


def _killed(project: str, scratch: str, *, step: str, updates: int, sent: str) -> None:
    script = _KILLED.format(project=project, scratch=scratch, step=step, updates=updates, sent=sent)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_prediction_that_is_killed_goes_on_on_another_machine(
    project: Path, store: object_store.ObjectStore, folder: str, cache: Cache, tmp_path: Path, locally: Any
) -> None:
    store.upload(project, f"{folder}/project")
    project, scratch = f"s3://{folder}/project", f"s3://{folder}/run"
    _killed(project, scratch, step="postprocess", updates=1, sent="results_raster")
    shutil.rmtree(tmp_path / "machines")
    cache("second")
    runner = _predicting(project, scratch)
    assert runner.status()["combine"] == "missing"
    # The lease of a process of this machine that was killed is nobody's.
    summaries = runner.run(engine="serial")
    assert summaries[2].counts["predicted before"] == 16
    assert _as_made(_remote(store, f"{folder}/run")) == locally[1]


@pytest.mark.slow
def test_a_fine_tuning_whose_checkpoints_lie_on_s3(
    tmp_path: Path, store: object_store.ObjectStore, folder: str, cache: Cache
) -> None:
    store.upload(scenes.make_raster_project(tmp_path / "project"), f"{folder}/project")
    first = OlmoEarthRunFineTuneRunner(f"s3://{folder}/project", f"s3://{folder}/tuning", progress=False)
    first.run_pipeline()
    made = _remote(store, f"{folder}/tuning")
    best = first.best_checkpoint()
    assert made[f"trainer_checkpoints/{best.name}"] == best.read_bytes()
    cache("second")
    second = OlmoEarthRunFineTuneRunner(f"s3://{folder}/project", f"s3://{folder}/tuning", progress=False)
    assert second.status()["fine_tune"] == "done"
    assert second.best_checkpoint().name == best.name
    assert second.windows()["split"].tolist() == first.windows()["split"].tolist()
    assert [one.counts for one in second.run_pipeline()][1]["built"] == 0
    checkpoint = f"s3://{folder}/tuning/trainer_checkpoints/{best.name}"
    predicting = OlmoEarthRunPredictRunner(
        f"s3://{folder}/project",
        f"s3://{folder}/run",
        f"s3://{folder}/project/prediction_request_geometry.geojson",
        checkpoint,
        progress=False,
    )
    predicting.run_pipeline()
    results = _remote(store, f"{folder}/run/results")
    (raster,) = (content for name, content in results.items() if name.endswith(".tif"))
    with rasterio.MemoryFile(raster) as file, file.open() as source:
        assert len(np.unique(source.read())) > 1


def test_memory_is_a_place_too(project: Path, tmp_path: Path, cache: Cache) -> None:
    name = uuid.uuid4().hex
    runner = _predicting(project, f"memory://{name}/run")
    runner.run_pipeline(["partition", "dataset_build"])
    cache("second")
    other = _predicting(project, f"memory://{name}/run")
    assert other.status()["dataset_build"] == "done"
    assert other.build_dataset("partition_1").counts["built"] == 0


def test_a_file_url_is_a_path(project: Path, tmp_path: Path) -> None:
    runner = OlmoEarthRunPredictRunner(project.as_uri(), f"file://{tmp_path}/run", random_weights=True)
    assert runner.home is None
    assert (runner.project.path, runner.workspace.root) == (project, tmp_path / "run")


def test_two_runs_on_one_scratch(
    project: Path, store: object_store.ObjectStore, folder: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _predicting(project, f"s3://{folder}/run")
    cache("second")
    second = _predicting(project, f"s3://{folder}/run")
    with first.home.working(Needs()):
        with pytest.raises(StorageError, match=r"Another run is working on this scratch.*process \d+"):
            second.partition()
        assert second.status()["partition"] == "missing"
    second.partition()


def test_what_could_not_be_sent_is_kept_and_sent_by_the_next_step(
    project: Path, store: object_store.ObjectStore, folder: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = _predicting(project, f"s3://{folder}/run")
    put = runner.home.mirror.transfer.files.put

    def away_now(*_: object) -> None:
        raise ConnectionError("the cable is out")

    monkeypatch.setattr(runner.home.mirror.transfer.files, "put", away_now)
    with pytest.raises(StorageError, match=r"could not all be sent.*the cable is out.*kept in .*any further step"):
        runner.partition()
    monkeypatch.setattr(runner.home.mirror.transfer.files, "put", put)
    again = _predicting(project, f"s3://{folder}/run")
    assert again.partition().counts["windows"] == 16
    assert sum(name.endswith("metadata.json") for name in _remote(store, f"{folder}/run")) == 16


def test_errors_are_told(
    project: Path, store: object_store.ObjectStore, folder: str, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:

    def runner(scratch: Any) -> OlmoEarthRunPredictRunner:
        return _predicting(project, scratch)

    with pytest.raises(StorageError, match=r"s3://no-such-bucket/run: It is not there: .*buckets are not made here"):
        runner("s3://no-such-bucket/run").partition()
    reader = store.options(object_store.READER)
    with pytest.raises(StorageError, match=r"The credentials do not permit this.*Runs read, write, list and delete"):
        runner(UPath("s3://readable/run", **reader)).partition()
    with pytest.raises(ProjectError, match=r"s3://readable/project: The project folder is missing"):
        Project(UPath("s3://readable/project", **reader))
    with pytest.raises(UsageError, match=r"The URL names no folder.*s3://bucket/folder"):
        runner("s3://")
    with pytest.raises(UsageError, match=r"There is no such file system"):
        runner("nothing://bucket/run")
    nobody = UPath("s3://bucket/run", endpoint_url="http://127.0.0.1:9", key="k", secret="s")
    with pytest.raises(StorageError, match=r"It can't be reached: EndpointConnectionError.*Check network"):
        runner(nobody).partition()
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'olmoearth-nb\[gs\]'"):
        runner("gs://bucket/run")


def test_the_command_takes_urls(
    tmp_path: Path, store: object_store.ObjectStore, folder: str, cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    store.upload(scenes.make_raster_project(tmp_path / "project"), f"{folder}/project")
    arguments = [f"s3://{folder}/project", "--scratch-path", f"s3://{folder}/run", "--random-weights"]
    assert main(["predict", *arguments, "--steps", "partition,dataset_build"]) == 0
    assert f"All of it lies at s3://{folder}/run." in capsys.readouterr().out
    assert main(["status", *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dataset_build"] == "done"
    assert main(["check", f"s3://{folder}/project", "--random-weights", "--no-model"]) == 0
    assert main(["upgrade", f"s3://{folder}/project"]) == 2
    assert "lies on an object store and is only read" in capsys.readouterr().err
    # Without a scratch it lies in the project, and is no part of it.
    assert main(["partition", f"s3://{folder}/project"]) == 0
    assert f"{folder}/project/scratches/prediction_request_geometry/.olmoearth_nb/stamps.json" in store.files.find(
        folder
    )
    assert not (Project(f"s3://{folder}/project").path / "scratches").exists()
