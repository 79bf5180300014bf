"""Legacy names. The imports run in a fresh interpreter, where nobody has installed anything yet."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import textwrap

import pytest

from olmoearth_nb.config.aliases import COMPONENTS, alias_target

NOT_INSTALLED = importlib.util.find_spec("olmoearth_run") is None or "olmoearth_run" in sys.modules
OLD = "olmoearth_run.runner.tools"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("dotted", "target"),
    [
        (f"{OLD}.partitioners.grid_partitioner.GridPartitioner", "olmoearth_nb.partitioners.GridPartitioner"),
        (
            "olmoearth_run.tools.partitioners.grid_partitioner.GridPartitioner",
            "olmoearth_nb.partitioners.GridPartitioner",
        ),
        (f"{OLD}.samplers.NoopSampler", "olmoearth_nb.labels.sampling.NoopSampler"),
        (
            "esrun.runner.tools.partitioners.noop_partitioner.NoopPartitioner",
            "olmoearth_nb.partitioners.NoopPartitioner",
        ),
        ("esrun.tools.samplers.sampler_interface.SamplerInterface", "olmoearth_nb.protocols.SamplerInterface"),
        ("esrun.shared.models.data_split_type.DataSplitType", "olmoearth_nb.types.DataSplitType"),
        ("CombineGeotiff", "olmoearth_nb.postprocess.raster.CombineGeotiff"),
        (f"{OLD}.partitioners.partition_interface.PartitionInterface", "olmoearth_nb.protocols.PartitionInterface"),
        ("my.module.GridPartitioner", None),
        ("GridPartitoner", None),
    ],
)
def test_names_of_configurations(dotted: str, target: str | None) -> None:
    assert alias_target(dotted) == target


def test_every_target_is_there() -> None:
    from olmoearth_nb.config import aliases

    targets = {target for names in aliases._MODULES.values() for target in names.values()} | set(COMPONENTS.values())
    for target in sorted(targets):
        module, _, name = target.rpartition(".")
        assert hasattr(importlib.import_module(module), name), target


@pytest.mark.skipif(not NOT_INSTALLED, reason="olmoearth-runner is installed")
def test_nothing_is_served_before_it_is_asked_for() -> None:
    run(
        """
        import olmoearth_nb.config
        try:
            import olmoearth_run
        except ModuleNotFoundError:
            pass
        else:
            raise SystemExit("served")
        """
    )


@pytest.mark.skipif(not NOT_INSTALLED, reason="olmoearth-runner is installed")
def test_imports_of_custom_components() -> None:
    out = run(
        f"""
        import sys
        from olmoearth_nb.config import install_aliases
        before = len(sys.meta_path)
        install_aliases()
        install_aliases()
        assert len(sys.meta_path) == before + 1
        import {OLD}
        import olmoearth_run.tools
        from {OLD}.partitioners.partition_interface import PartitionInterface
        from olmoearth_run.tools.partitioners.partition_interface import PartitionInterface as Older
        from esrun.tools.partitioners.partition_interface import PartitionInterface as Oldest
        from {OLD}.samplers.sampler_interface import SamplerInterface
        from {OLD}.labeled_window_preparers.labeled_window_preparer import (
            LabeledWindowPreparer, RasterLabelsWindowPreparer, VectorLabelsWindowPreparer)
        from {OLD}.data_splitters.data_splitter_interface import DataSplitterInterface
        from {OLD}.data_splitter.data_splitter_interface import DataSplitterInterface as Misspelt
        from {OLD}.postprocessors.postprocess_interface import (
            PostprocessInterfaceRaster, PostprocessInterfaceVector, PostprocessInterface)
        from {OLD}.postprocessors.postprocess_inferface import PostprocessInterface as Misspelt2
        from {OLD}.converters.st_geometry import STGeometryConverter
        from olmoearth_run.runner.models.training.labeled_data import (
            AnnotationTask, LabeledSTGeometry, LabeledWindow, RasterLabel)
        from olmoearth_run.shared.models.data_split_type import DataSplitType
        from olmoearth_shared.api.run.prediction_geometry import (
            PredictionRequestCollection, PredictionRequestFeature, PredictionRequestProperties,
            PredictionResultCollection, PredictionResultFeature, PredictionResultProperties)
        import olmoearth_nb.protocols as ours
        import olmoearth_nb.types
        assert PartitionInterface is Older is Oldest is ours.PartitionInterface
        assert DataSplitterInterface is Misspelt is ours.DataSplitterInterface
        assert PostprocessInterface is Misspelt2
        assert LabeledWindow is olmoearth_nb.types.LabeledWindow
        import datetime as dt
        feature = PredictionRequestFeature.model_validate({{
            "type": "Feature", "geometry": {{"type": "Point", "coordinates": [10, 50]}},
            "properties": {{"oe_start_time": "2024-05-01", "oe_end_time": "2024-06-01"}}}})
        geometry = STGeometryConverter.from_prediction_request_feature(feature)
        assert (geometry.shp.x, geometry.shp.y) == (10, 50)
        assert geometry.time_range[1] == dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
        collection = PredictionRequestCollection(type="FeatureCollection", features=[feature])
        assert len(STGeometryConverter.from_prediction_request_geometry(collection)) == 1
        assert "torch" not in sys.modules
        try:
            from {OLD}.partitioners.partition_interface import Nothing
        except ImportError as error:
            print(error)
        """
    )
    assert "Nothing" in out


@pytest.mark.skipif(not NOT_INSTALLED, reason="olmoearth-runner is installed")
def test_an_installed_package_is_left_alone(tmp_path: object) -> None:
    out = run(
        f"""
        import pathlib, sys
        root = pathlib.Path({str(tmp_path)!r})
        for folder in ("olmoearth_run", "olmoearth_run/runner"):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / "__init__.py").write_text("")
        (root / "olmoearth_run/runner/tools").mkdir()
        (root / "olmoearth_run/runner/tools/__init__.py").write_text("REAL = True")
        sys.path.insert(0, str(root))
        from olmoearth_nb.config import install_aliases
        install_aliases()
        import {OLD}
        print({OLD}.REAL)
        """
    )
    assert out.strip() == "True"
