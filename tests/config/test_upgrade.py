from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from olmoearth_nb import upgrade_project
from olmoearth_nb.cli import main
from olmoearth_nb.config.renamed import Add, Drop, Put
from olmoearth_nb.config.rewrite import rewritten_json, rewritten_yaml
from olmoearth_nb.errors import ConfigError

MODEL = """\
# A model of another year.
model:
  class_path: rslearn.train.lightning_module.RslearnLightningModule
  init_args:
    lr: 0.0001  # tried others
    plateau: true
    plateau_factor: 0.2
    print_model: false   # not now
data:
  class_path: rslearn.train.data_module.RslearnDataModule
  init_args:
    path: ${DATASET_PATH}
    inputs: [${A}, "${B}"]
    default_config: {patch_size: 64,  skip_targets: true}
    predict_config:
      load_all_patches: true
      overlap_ratio: 0.125  # 8 / 64
      # about tags
      tags: {split: val}
trainer:
  callbacks:
    - class_path: rslearn.train.prediction_writer.RslearnWriter
      init_args:
        merger:
          class_path: rslearn.train.prediction_writer.RasterMerger
          init_args:
            padding: 4  # half of it
"""
UPGRADED = """\
# A model of another year.
model:
  class_path: rslearn.train.lightning_module.RslearnLightningModule
  init_args:
    optimizer:
      class_path: rslearn.train.optimizer.AdamW
      init_args:
        lr: 0.0001  # tried others
    scheduler:
      class_path: rslearn.train.scheduler.PlateauScheduler
      init_args:
        factor: 0.2
    print_model: false   # not now
data:
  class_path: rslearn.train.data_module.RslearnDataModule
  init_args:
    path: ${DATASET_PATH}
    inputs: [${A}, "${B}"]
    default_config: {crop_size: 64,  skip_targets: true}
    predict_config:
      load_all_crops: true
      overlap_pixels: 8  # 8 / 64
      # about tags
      tags: {split: val}
trainer:
  callbacks:
    - class_path: rslearn.train.prediction_writer.RslearnWriter
      init_args:
        merger:
          class_path: rslearn.train.prediction_writer.RasterMerger
          init_args:
            overlap_pixels: 8  # half of it
"""
DATASET = """\
{
\t"layers": {
\t\t"s2": {"type": "raster", "band_sets": [{"bands": ["B02", "B03"], "dtype": "uint16"}],
\t\t\t"data_source": {
\t\t\t\t"harmonize": true,
\t\t\t\t"name": "rslearn.data_sources.planetary_computer.Sentinel2",
\t\t\t\t"sort_by": "eo:cloud_cover"
\t\t\t}
\t\t}
\t}
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "model.yaml").write_text(MODEL)
    (tmp_path / "dataset.json").write_text(DATASET)
    return tmp_path


def test_comments_layout_and_variables_are_kept(project: Path) -> None:
    upgrade = upgrade_project(project)
    assert "-      overlap_ratio: 0.125  # 8 / 64\n+      overlap_pixels: 8  # 8 / 64" in upgrade.diff.replace(
        "-      load_all_patches: true\n", ""
    ).replace("+      load_all_crops: true\n", "")
    upgrade.write()
    assert (project / "model.yaml").read_text() == UPGRADED
    assert (project / "model.yaml.bak").read_text() == MODEL
    text = (project / "dataset.json").read_text()
    assert '"band_sets": [{"bands": ["B02", "B03"], "dtype": "uint16"}],\n' in text
    assert '\n\t\t\t\t"init_args": {\n\t\t\t\t\t"harmonize": true,\n' in text
    assert json.loads(text)["layers"]["s2"]["data_source"]["init_args"] == {
        "harmonize": True,
        "sort_by": "eo:cloud_cover",
    }
    again = upgrade_project(project)
    assert not again
    assert "nothing to do" in repr(again)


def test_the_command_writes_only_when_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", str(project)]) == 0  # no terminal to ask at
    assert "+            overlap_pixels: 8  # half of it" in capsys.readouterr().out
    assert main(["upgrade", str(project), "--yes", "--dry-run"]) == 0
    assert (project / "model.yaml").read_text() == MODEL
    assert main(["upgrade", str(project), "--yes"]) == 0
    assert (project / "model.yaml").read_text() == UPGRADED


def test_an_anchor_that_is_used_elsewhere_is_left_to_the_user(tmp_path: Path) -> None:
    merger = "{class_path: rslearn.train.prediction_writer.RasterMerger, init_args: {padding: 1}}"
    (tmp_path / "model.yaml").write_text(f"a: &a {merger}\nb: *a\n")
    with pytest.raises(ConfigError, match="padding: 1 → overlap_pixels: 2"):
        upgrade_project(tmp_path)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text("ab :#'\"é-", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("pqrs"), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    entries=st.dictionaries(st.sampled_from("abcde"), values, min_size=2),
    new=values,
    indent=st.sampled_from([None, 1, 4]),
)
def test_everything_else_in_json_stays_byte_for_byte(entries: dict[str, Any], new: Any, indent: int | None) -> None:
    text = json.dumps({"top": [entries]}, indent=indent, ensure_ascii=False)
    first = next(iter(entries))
    edits = [Put(("top", 0, first), "new", new), Drop(("top", 0, list(entries)[-1])), Add(("top", 0, "z"), new)]
    after = rewritten_json(text, edits)
    wanted = {"new": new} | dict(list(entries.items())[1:-1]) | {"z": new}
    assert json.loads(after) == {"top": [wanted]}
    for key, item in list(entries.items())[1:-1]:
        if indent is None:
            assert f'"{key}": {json.dumps(item, ensure_ascii=False)}' in after


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_yaml_edits_leave_the_other_lines(ends: str) -> None:
    text = "a: # one\n  - x: 1  # x\n    y: 2\n    # about z\n    z: 3\nb: {k: 1, l: 2}\n".replace("\n", ends)
    after = rewritten_yaml(text, [Drop(("a", 0, "x")), Put(("a", 0, "z"), "w", {"q": 1}), Drop(("b", "k"))])
    assert after == "a: # one\n  - y: 2\n    # about z\n    w:\n      q: 1\nb: {l: 2}\n".replace("\n", ends)
