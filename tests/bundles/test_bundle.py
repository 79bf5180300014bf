from __future__ import annotations

import json
import os
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from config_project import DATASET, ProjectFolder

from olmoearth_nb import OlmoEarthRunFineTuneRunner, Project, bundle_project, cli, unbundle, verify_bundle
from olmoearth_nb.bundles import Bundle
from olmoearth_nb.bundles.draft import Draft
from olmoearth_nb.config.strategies import PartitionSettings
from olmoearth_nb.errors import BundleError, ProjectError, UsageError

CUSTOM = """
from helpers.shared import SIZE
from beside import NAME
from olmoearth_nb.postprocess import NoopRaster

class Mine(NoopRaster):
    pass
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLMOEARTH_NB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    path = tmp_path / "work" / "water"
    path.mkdir(parents=True)
    return ProjectFolder(path)


def names(bundle: Bundle) -> set[str]:
    return set(bundle.files)


BASE = {
    "MODEL_CARD.md",
    "model_card.json",
    "requirements.lock",
    "water/checkpoint.ckpt",
    "water/dataset.json",
    "water/model.yaml",
    "water/olmoearth_run.yaml",
    "water/prediction_request_geometry.geojson",
}


def test_what_goes_in_and_what_stays_out(folder: ProjectFolder) -> None:
    path = folder.path
    for name in (".env", "model.yaml.bak", "extra_model_files/w.pt", "extra_model_files/.secret", "README.md"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("x")
    for name in ("scratches/a/b.py", "old/dataset_0/c.py", "old/run.py", ".ipynb_checkpoints/d.py", "tables/t.csv"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("")
    (path / "requirements.txt").write_text("-r more.txt\n")
    (path / "more.txt").write_text("shapely\n")
    (path / "mine.py").write_text(CUSTOM)
    (path / "helpers").mkdir()
    (path / "helpers" / "shared.py").write_text("SIZE = 3\n")
    (path.parent / "beside.py").write_text("import further\nNAME = ''\n")
    (path.parent / "further").mkdir()
    (path.parent / "further" / "__init__.py").write_text("")
    (path.parent / "unrelated.py").write_text("")
    folder.run_config["postprocessing_strategies"]["process_window"] = {"class_path": "water.mine.Mine"}
    folder.write()
    bundle = bundle_project(path, include=["tables/*.csv"], force=True)
    assert names(bundle) == BASE | {
        "beside.py",
        "further/__init__.py",
        "water/README.md",
        "water/extra_model_files/w.pt",
        "water/helpers/shared.py",
        "water/mine.py",
        "water/more.txt",
        "water/requirements.txt",
        "water/tables/t.csv",
    }
    more = bundle_project(path, include=["tables/*.csv"], force=True, annotations=True)
    assert names(more) - names(bundle) == {
        "water/annotation_features.geojson",
        "water/annotation_task_features.geojson",
    }
    assert (bundle.version, more.version) == ("1.0.0", "1.0.1")


def test_the_same_content_is_the_same_bundle(folder: ProjectFolder, tmp_path: Path) -> None:
    first = bundle_project(folder.path, tmp_path / "a")
    content = first.path.read_bytes()
    again = bundle_project(folder.path, tmp_path / "a")
    assert (again.path, again.version) == (first.path, "1.0.0")
    shutil.copytree(folder.path, tmp_path / "other" / "water")
    for path in (tmp_path / "other" / "water").rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert bundle_project(tmp_path / "other" / "water", tmp_path / "b").path.read_bytes() == content
    assert first.path.name == "water-1.0.0.oebundle.zip"


def test_versions(folder: ProjectFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert bundle_project(folder.path, out, version="v2.0rc1").version == "2.0rc1"
    (folder.path / "README.md").write_text("changed")
    assert bundle_project(folder.path, out).version == "2.0"
    (folder.path / "README.md").write_text("changed again")
    with pytest.raises(BundleError, match="There is a bundle with other content"):
        bundle_project(folder.path, out, version="2.0")
    assert bundle_project(folder.path, out).version == "2.1"
    assert bundle_project(folder.path, out, version="2.0", overwrite=True).version == "2.0"
    assert bundle_project(folder.path, tmp_path / "named.zip", version="7").path == tmp_path / "named.zip"
    with pytest.raises(UsageError, match="The version is none"):
        bundle_project(folder.path, out, version="newest")


def test_the_card_says_what_the_model_is(folder: ProjectFolder) -> None:
    (folder.path / "requirements.txt").write_text("Shapely\n")
    bundle = bundle_project(
        folder.path, licence="CC-BY-4.0", description="Water | wood", evaluations={"val": {"accuracy": 0.87654321}}
    )
    card = bundle.card
    assert card["metrics"] == {"val": {"accuracy": 0.876543}}
    assert card["annotations"]["labels"] == {"category": {"1": 1}}
    assert card["imagery"]["imagery"]["bands"] == ["B02", "B03"]
    assert card["imagery"]["imagery"]["query"] == {"max_matches": 2}
    assert card["model"]["encoder"] == ["rslearn.models.swin.Swin"]
    assert {"olmoearth-nb", "rslearn", "torch", "lightning", "shapely", "python"} <= card["versions"].keys()
    assert bundle.folders == ("imagery",)
    assert "Annotations are not part of the bundle." in card["limits"]
    with zipfile.ZipFile(bundle.path) as file:
        text = file.read("MODEL_CARD.md").decode()
        lock = file.read("requirements.lock").decode()
    assert "| 1 | \\<wood\\> |" in text
    assert "Water \\| wood" in text
    assert "| val | accuracy | 0.876543 |" in text
    assert f"shapely=={card['versions']['shapely']}\n" in lock
    assert "torch==" in lock
    assert "+" not in lock.split("torch==")[1].split("\n")[0]
    assert "&lt;script&gt;" in Bundle(path=bundle.path, name="<script>", version="1", files={}, card={})._repr_html_()


def test_a_project_that_can_not_predict_is_refused(folder: ProjectFolder) -> None:
    (folder.path / "requirements.txt").write_text("nowhere-at-all>=2\n")
    with pytest.raises(BundleError, match=r"nowhere-at-all is not installed[\s\S]*force=True"):
        bundle_project(folder.path)
    assert not (folder.path / "bundles").exists()
    forced = bundle_project(folder.path, force=True)
    assert any("nowhere-at-all" in limit for limit in forced.card["limits"])


def test_a_checkpoint_from_elsewhere_and_a_project_without_request(folder: ProjectFolder, tmp_path: Path) -> None:
    (folder.path / "prediction_request_geometry.geojson").unlink()
    checkpoint = (folder.path / "checkpoint.ckpt").rename(tmp_path / "best.ckpt")
    with pytest.raises(BundleError, match="checkpoint is missing"):
        bundle_project(folder.path)
    bundle = bundle_project(folder.path, checkpoint=checkpoint)
    assert bundle.files["water/checkpoint.ckpt"].size == checkpoint.stat().st_size
    (tmp_path / "page.ckpt").write_text("<html>")
    with pytest.raises(BundleError, match="not a checkpoint of torch"):
        bundle_project(folder.path, checkpoint=tmp_path / "page.ckpt")


def test_unbundling_keeps_what_is_there(folder: ProjectFolder, tmp_path: Path) -> None:
    bundle = bundle_project(folder.path)
    done = unbundle(bundle.path, tmp_path / "out")
    assert Project(done.project).name == "water"
    assert done.missing_folders == (done.project / "imagery",)
    assert "put imagery here" in repr(done)
    (done.project / "model.yaml").write_text("mine")
    with pytest.raises(BundleError, match="A file with other content is in the way"):
        unbundle(bundle.path, tmp_path / "out")
    assert (done.project / "model.yaml").read_text() == "mine"
    unbundle(bundle.path, tmp_path / "out", overwrite=True)
    assert (done.project / "model.yaml").read_text() == (folder.path / "model.yaml").read_text()
    assert verify_bundle(bundle.path).files == bundle.files


def test_a_bundle_is_a_project(folder: ProjectFolder, tmp_path: Path, cache: Path) -> None:
    bundle = bundle_project(folder.path, tmp_path / "received")
    project = Project(bundle.path)
    assert (project.name, project.bundle) == ("water", bundle.path)
    assert project.path.is_relative_to(cache)
    report = project.check(["dataset_build"])
    assert "The folder of imagery imagery is not part of the bundle" in report.errors[0].found
    assert report.errors[0].expected == str(tmp_path / "received" / "imagery")
    (tmp_path / "received" / "imagery").mkdir()
    assert project.check().steps["dataset_build"]
    config = project.dataset_config()
    assert config["layers"]["imagery"]["data_source"]["init_args"]["src_dir"] == str(tmp_path / "received" / "imagery")
    assert DATASET["layers"]["imagery"]["data_source"]["init_args"]["src_dir"] == "imagery"
    settings = PartitionSettings(project)
    with pytest.raises(UsageError, match="A bundle is not edited"):
        settings.write(settings.configured)
    with pytest.raises(BundleError, match="It is a bundle already"):
        bundle_project(project)


def test_fine_tuning_a_bundle_needs_annotations(folder: ProjectFolder, tmp_path: Path) -> None:
    without = bundle_project(folder.path)
    with pytest.raises(ProjectError, match="The bundle has no annotations"):
        OlmoEarthRunFineTuneRunner(without.path, tmp_path / "scratch").annotation_tasks()
    with_them = bundle_project(folder.path, annotations=True)
    assert OlmoEarthRunFineTuneRunner(with_them.path, tmp_path / "scratch").annotation_tasks().task_count == 1


def test_the_commands(folder: ProjectFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert cli.main(["bundle", str(folder.path), str(out), "--version", "1.2", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["version"], set(made["files"])) == ("1.2", BASE)
    path = out / "water-1.2.oebundle.zip"
    assert cli.main(["unbundle", str(path), str(tmp_path / "back"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["project"] == str(tmp_path / "back" / "water")
    assert cli.main(["unbundle", str(path), "--verify-only"]) == 0
    assert cli.main(["partition", str(path)]) == 0
    assert (out / "scratches" / "water-1.2" / "prediction_request_geometry" / "partitions").is_dir()
    capsys.readouterr()
    path.write_bytes(path.read_bytes()[:-100])
    assert cli.main(["check", str(path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("BundleError: ")
    assert "It is no bundle" in error
    assert cli.main(["bundle", str(folder.path), "--evaluate", "test"]) == 2


@pytest.mark.parametrize("same", [True, False])
def test_two_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool) -> None:
    monkeypatch.setattr("olmoearth_nb.bundles.draft.card_text", str)
    facts = [{"description": text} for text in ("a", "a" if same else "b")]
    drafts = [Draft("p", {"p/a.bin": bytes(2_000_000)}, one) for one in facts]
    # Locks are of open files, not of processes: threads are kept apart in the same way.
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(draft.write, tmp_path, None, overwrite=False) for draft in drafts]
        versions = sorted(str(call.result().version) for call in calls)
    assert versions == (["1.0.0", "1.0.0"] if same else ["1.0.0", "1.0.1"])
    assert len(list(tmp_path.glob("*.zip"))) == len(set(versions))
