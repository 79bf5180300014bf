"""The data of a new project's ``model.yaml``: inputs, task, transforms and splits, commented."""

from __future__ import annotations

import json

from olmoearth_nb.newproject.choices import Task
from olmoearth_nb.newproject.classes import NODATA, named_classes
from olmoearth_nb.newproject.dataset import LABEL_LAYER
from olmoearth_nb.newproject.network import TASKS
from olmoearth_nb.newproject.proposal import PATCH, Proposal
from olmoearth_nb.newproject.text import block, flow_list, indented
from olmoearth_nb.newproject.values import NODATA_VALUE

__all__ = ["GROUP", "SPLIT_PROPERTY", "data_text", "overlap_of"]

GROUP, SPLIT_PROPERTY = "default", "split"

# In memory if the windows take no more bytes than this: read once, not once an epoch.
_MOST_BYTES = 2**30
_SMALL_SET = 100


def data_text(proposal: Proposal) -> str:
    """The section ``data``.

    Args:
        proposal: The project.
    """
    count = proposal.window_count
    return block(
        f"""
        data:
          class_path: rslearn.train.data_module.RslearnDataModule
          init_args:
            path: ${{DATASET_PATH}}
            inputs:
        @INPUTS
            task:
        @TASK
            batch_size: {8 if count < _SMALL_SET else 32}
            num_workers: ${{NUM_WORKERS}}
        @MEMORY
            default_config:
              transforms:
        @PLAIN
            train_config:
              groups: [{GROUP}]
              tags: {{{SPLIT_PROPERTY}: train}}
              transforms:
        @CHANGED
            val_config:
              groups: [{GROUP}]
              tags: {{{SPLIT_PROPERTY}: val}}
            test_config:
              groups: [{GROUP}]
              tags: {{{SPLIT_PROPERTY}: test}}
            predict_config:
        @PREDICT
        """,
        INPUTS=indented(_inputs(proposal), 6),
        TASK=indented(_task(proposal), 6),
        MEMORY=_memory(proposal),
        PLAIN=indented(_transforms(proposal, training=False), 8),
        CHANGED=indented(_transforms(proposal, training=True), 8),
        PREDICT=indented(_predict(proposal), 6),
    )


def _input_name(proposal: Proposal) -> str:
    """Name of the model's input: OlmoEarth knows its modalities by it."""
    return str(proposal.imagery.modality) if proposal.encoder.model_id else "image"


def _inputs(proposal: Proposal) -> str:
    imagery = proposal.imagery
    all_dates = (
        "\n          load_all_item_groups: true  # all dates, not only the first,"
        "\n          load_all_layers: true       # and all at once, not one of them at random"
        if imagery.dates > 1
        else ""
    )
    order = "  # in OlmoEarth's order" if proposal.encoder.model_id else ""
    image = block(
        f"""
        {_input_name(proposal)}:
          data_type: raster
          layers: [{imagery.layer}]
          bands: {flow_list(imagery.bands)}{order}
          dtype: FLOAT32
          passthrough: true           # handed to the model as it is{all_dates}
        """
    )
    if not proposal.task.is_raster:
        return f"{image}\n" + block(
            f"""
            targets:
              data_type: vector
              layers: [{LABEL_LAYER}]
              is_target: true             # not read for prediction
            """
        )
    return f"{image}\n" + block(
        f"""
        targets:
          data_type: raster
          layers: [{LABEL_LAYER}]
          bands: [{proposal.label_name}]
          dtype: {"INT32" if proposal.task.has_classes else "FLOAT32"}
          is_target: true             # not read for prediction
        """
    )


def _task(proposal: Proposal) -> str:
    scale = proposal.values.scale if proposal.values else 1
    names = flow_list(named_classes(proposal.classes)) if proposal.task.has_classes else ""
    match proposal.task:
        case Task.SEGMENTATION:
            return block(
                f"""
                class_path: {TASKS}.segmentation.SegmentationTask
                init_args:
                  num_classes: {len(named_classes(proposal.classes))}
                  class_names: {names}
                  nodata_value: {NODATA}        # pixels that nobody labelled
                  metric_kwargs: {{average: micro}}  # the share of labelled pixels that are right
                """
            )
        case Task.CLASSIFICATION:
            return block(
                f"""
                class_path: {TASKS}.classification.ClassificationTask
                init_args:
                  property_name: {proposal.label_name}  # read from the label, written to the result
                  read_class_id: true       # it is a number, the place in this list
                  classes: {names}
                  prob_property: probabilities
                  metric_kwargs: {{average: micro}}  # the share of windows that are right
                """
            )
        case Task.REGRESSION:
            return block(
                f"""
                class_path: {TASKS}.regression.RegressionTask
                init_args:
                  property_name: {proposal.label_name}  # read from the label, written to the result
                  scale_factor: {scale:g}    # labels are multiplied by this for training, and results divided by it
                  metrics: [mse, l1]
                """
            )
        case Task.PER_PIXEL_REGRESSION:
            return block(
                f"""
                class_path: {TASKS}.per_pixel_regression.PerPixelRegressionTask
                init_args:
                  scale_factor: {scale:g}    # labels are multiplied by this for training, and results divided by it
                  nodata_value: {NODATA_VALUE}    # pixels without a value
                  metrics: [mse, l1]
                """
            )


def _transforms(proposal: Proposal, *, training: bool) -> str:
    name, size = _input_name(proposal), proposal.window_size
    parts = []
    if not proposal.task.is_raster:
        # Windows have an odd width, so that the label lies in the middle; OlmoEarth takes whole patches.
        place = "" if training else ", offset: [0, 0]"
        what = "somewhere in the window, another place each time" if training else "always the same part"
        parts.append(
            f"# {what[0].upper()}{what[1:]}.\n"
            "- class_path: rslearn.train.transforms.crop.Crop\n"
            f"  init_args: {{crop_size: {size}, image_selectors: [{name}]{place}}}"
        )
    if proposal.imagery.decibels:
        parts.append(
            "- class_path: rslearn.train.transforms.sentinel1.Sentinel1ToDecibels  # pixels are intensities\n"
            f"  init_args: {{selectors: [{name}]}}"
        )
    parts.append(_normalise(proposal))
    if training:
        kind = "classes" if proposal.task.has_classes else "values"
        targets = [f"target/{kind}", "target/valid"] if proposal.task.is_raster else []
        parts.append(
            "# No window looks twice the same.\n"
            "- class_path: rslearn.train.transforms.flip.Flip\n"
            f"  init_args: {{image_selectors: {flow_list([name, *targets])}}}"
        )
    return "\n".join(parts)


def _normalise(proposal: Proposal) -> str:
    imagery = proposal.imagery
    if proposal.encoder.model_id is not None:
        return block(
            f"""
            # By the statistics that OlmoEarth was trained with.
            - class_path: rslearn.models.olmoearth_pretrain.norm.OlmoEarthNormalize
              init_args:
                band_names:
                  {imagery.modality}: {flow_list(imagery.bands)}
            """
        )
    mean, std = imagery.normalisation
    return block(
        f"""
        # (pixel - mean) / standard deviation{" of each band, as they are in the files" if imagery.is_local else ""}.
        - class_path: rslearn.train.transforms.normalize.Normalize
          init_args: {{mean: {json.dumps(mean)}, std: {json.dumps(std)}, selectors: [image]}}
        """
    )


def _memory(proposal: Proposal) -> str:
    imagery = proposal.imagery
    bytes_a_window = 4 * proposal.window_size**2 * len(imagery.bands) * imagery.dates
    if proposal.window_count * bytes_a_window > _MOST_BYTES:
        return ""
    return "    use_in_memory_dataset: true  # read each window once, not once an epoch"


def overlap_of(window_size: int) -> int:
    """How many pixels crops overlap in a prediction: a quarter, in whole patches.

    Args:
        window_size: Width of a crop.
    """
    return max(PATCH, window_size // 4 // PATCH * PATCH) if window_size > PATCH else 0


def _predict(proposal: Proposal) -> str:
    if not proposal.task.is_raster:
        return "skip_targets: true"
    return block(
        f"""
        # Windows are read in overlapping crops of the size that the model was trained on.
        load_all_crops: true
        crop_size: {proposal.window_size}
        overlap_pixels: {overlap_of(proposal.window_size)}
        skip_targets: true
        """
    )
