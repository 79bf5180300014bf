from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from config_project import ProjectFolder

from olmoearth_nb.config import Project
from olmoearth_nb.config.dataset_json import BUILD_STEPS, DATASET_STEPS, check_sources, read_dataset
from olmoearth_nb.config.report import Problem
from olmoearth_nb.errors import ConfigError


def problems_of(folder: ProjectFolder) -> list[Problem]:
    folder.write()
    file = read_dataset(folder.path / "dataset.json")
    return [*file.problems, *check_sources(file, search_path=(folder.path,))]


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    return problems[0]


def test_a_right_file_has_no_problems(folder: ProjectFolder) -> None:
    assert problems_of(folder) == []


def test_relative_source_folders_become_absolute(folder: ProjectFolder) -> None:
    source = folder.dataset["layers"]["imagery"]["data_source"]["init_args"]
    layers = folder.dataset["layers"]
    for name, src_dir in (("url", "gs://bucket/x"), ("absolute", "/data/x"), ("variable", "${HOME}/x")):
        layers[name] = json.loads(json.dumps(layers["imagery"]))
        layers[name]["data_source"]["init_args"]["src_dir"] = src_dir
    layers["legacy"] = json.loads(json.dumps(layers["imagery"]))
    layers["legacy"]["data_source"] = {"name": "rslearn.data_sources.local_files.LocalFiles", "src_dir": "old"}
    folder.write()
    config = Project(folder.path).dataset_config()

    def src_dir(name: str) -> Any:
        data_source = config["layers"][name]["data_source"]
        return data_source.get("init_args", data_source)["src_dir"]

    assert src_dir("imagery") == str(folder.path / "imagery")
    assert src_dir("legacy") == str(folder.path / "old")
    assert src_dir("url") == "gs://bucket/x"
    assert src_dir("absolute") == "/data/x"
    assert src_dir("variable") == "${HOME}/x"
    assert source["src_dir"] == "imagery"
    assert config["layers"]["output"] == folder.dataset["layers"]["output"]


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    with pytest.raises(ConfigError, match=r"dataset\.json: The dataset configuration is missing"):
        read_dataset(path)
    path.write_text('{"layers": {\n  "a": 1,\n}}')
    with pytest.raises(ConfigError, match=r"dataset\.json: It is not JSON: .*line \d column \d"):
        read_dataset(path)
    path.write_text("[1]")
    with pytest.raises(ConfigError, match=r"It is not a JSON object\. Found list"):
        read_dataset(path)


def test_layers_written_twice_are_reported(folder: ProjectFolder) -> None:
    text = (folder.path / "dataset.json").read_text()
    (folder.path / "dataset.json").write_text(
        text.replace('"output": {', '"label": {"type": "vector"}, "output": {', 1)
    )
    problem = only(list(read_dataset(folder.path / "dataset.json").problems))
    assert problem.key == "label"
    assert "written twice" in problem.found
    assert problem.severity == "warning"


@pytest.mark.parametrize(
    ("layer", "value", "key", "text"),
    [
        ("output", {"type": "rastr"}, "layers.output.type", "'raster' or 'vector'"),
        ("output", {"type": "raster"}, "layers.output", "band sets must be specified"),
        ("out.put", {"type": "vector"}, "layers", "must not contain periods"),
        ("output", {"type": "vector", "colour": 1}, "layers.output.colour", "Extra inputs are not permitted"),
        (
            "output",
            {"type": "raster", "band_sets": [{"dtype": "uint3", "bands": ["a"]}]},
            "layers.output.band_sets[0].dtype",
            "It is 'uint3'",
        ),
    ],
)
def test_what_rslearn_refuses_is_named_with_its_key(
    folder: ProjectFolder, layer: str, value: Any, key: str, text: str
) -> None:
    folder.dataset["layers"][layer] = value
    problem = only(problems_of(folder))
    assert problem.key == key
    assert text in problem.found
    assert problem.steps == DATASET_STEPS
    with pytest.raises(ConfigError, match=r"dataset\.json: layers"):
        Project(folder.path).dataset_config()


def test_one_wrong_layer_does_not_hide_another(folder: ProjectFolder) -> None:
    folder.dataset["layers"]["output"] = {"type": "rastr"}
    folder.dataset["layers"]["imagery"]["data_source"]["class_path"] = "rslearn.data_sources.local_files.LocalFils"
    keys = [problem.key for problem in problems_of(folder)]
    assert keys == ["layers.output.type", "layers.imagery.data_source.class_path"]


def source(folder: ProjectFolder) -> dict[str, Any]:
    found: dict[str, Any] = folder.dataset["layers"]["imagery"]["data_source"]
    return found


def test_data_sources_are_checked_by_signature(folder: ProjectFolder) -> None:
    source(folder)["init_args"] = {"srcdir": "imagery"}
    found = {problem.key: problem for problem in problems_of(folder)}
    path = "layers.imagery.data_source.init_args"
    assert set(found) == {f"{path}.srcdir", f"{path}.src_dir"}
    assert found[f"{path}.srcdir"].fix == "Did you mean src_dir?"
    assert found[f"{path}.src_dir"].found == "LocalFiles needs the argument 'src_dir', which is missing."
    assert found[f"{path}.srcdir"].steps == BUILD_STEPS


def test_arguments_of_a_legacy_source_are_checked(folder: ProjectFolder) -> None:
    folder.dataset["layers"]["imagery"]["data_source"] = {
        "name": "rslearn.data_sources.local_files.LocalFiles",
        "src_dir": "imagery",
        "srcdir": "x",
        "ingest": False,
    }
    named, wrong = problems_of(folder)
    assert "older spelling" in named.found
    assert wrong.key == "layers.imagery.data_source.init_args.srcdir"


def test_a_custom_source_beside_the_project(folder: ProjectFolder) -> None:
    (folder.path / "oe_source.py").write_text("raise SystemExit(2)\n")
    source(folder)["class_path"] = "oe_source.Source"
    problem = only(problems_of(folder))
    assert problem.key == "layers.imagery.data_source.class_path"
    assert "Importing oe_source fails: SystemExit: 2" in problem.found


def test_formats_are_checked_too(folder: ProjectFolder) -> None:
    band_set = folder.dataset["layers"]["output"]["band_sets"][0]
    band_set["format"] = {
        "class_path": "rslearn.utils.raster_format.SingleImageRasterFormat",
        "init_args": {"frmat": 1},
    }
    problem = only(problems_of(folder))
    assert problem.key == "layers.output.band_sets[0].format.init_args.frmat"
    assert problem.steps == DATASET_STEPS


def test_bands_that_occur_twice(folder: ProjectFolder) -> None:
    folder.dataset["layers"]["imagery"]["band_sets"].append({"dtype": "uint8", "bands": ["B03"]})
    problem = only(problems_of(folder))
    assert (problem.key, problem.severity) == ("layers.imagery.band_sets", "warning")
    assert "B03" in problem.found


def test_variables_without_a_value_are_named(folder: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    source(folder)["init_args"]["src_dir"] = "${OE_TEST_IMAGERY}/x"
    problem = only(problems_of(folder))
    assert problem.key == "layers.imagery.data_source.init_args.src_dir"
    assert "OE_TEST_IMAGERY has no value" in problem.found
    monkeypatch.setenv("OE_TEST_IMAGERY", '/a "b"')
    assert problems_of(folder) == []
