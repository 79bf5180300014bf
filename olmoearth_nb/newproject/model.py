"""``model.yaml`` of a new project: the published recipe, commented."""

from __future__ import annotations

import json

from olmoearth_nb.newproject.choices import Task
from olmoearth_nb.newproject.classes import NODATA, named_classes
from olmoearth_nb.newproject.dataset import LABEL_LAYER
from olmoearth_nb.newproject.proposal import PATCH, Proposal
from olmoearth_nb.newproject.text import block, flow_list, indented
from olmoearth_nb.newproject.values import NODATA_VALUE

__all__ = ["GROUP", "SPLIT_PROPERTY", "model_text"]

GROUP, SPLIT_PROPERTY = "default", "split"

_TASKS = "rslearn.train.tasks"
# In memory if the windows take no more bytes than this: read once, not once an epoch.
_MOST_BYTES = 2**30
_SMALL_SET = 100
# The published projects unfreeze at epoch 20 of 100.
_FROZEN_SHARE = 5


def model_text(proposal: Proposal) -> str:
    """The file's text.

    Args:
        proposal: The project.
    """
    return "\n".join([_header(proposal), _model(proposal), _data(proposal), _trainer(proposal)])


def _header(proposal: Proposal) -> str:
    what = {
        Task.SEGMENTATION: "A class for each pixel",
        Task.CLASSIFICATION: "A class for a place",
        Task.REGRESSION: "A number for a place",
        Task.PER_PIXEL_REGRESSION: "A number for each pixel",
    }[proposal.task]
    looks = f"{proposal.encoder.name}, fine-tuned" if proposal.encoder.model_id else "a small convolutional network"
    return block(
        f"""
        # {what}, from {proposal.imagery.layer} imagery, by {looks}.
        #
        # Variables (a dollar sign and a name in braces) are filled in for each run.
        """
    )


# ---- model ---------------------------------------------------------------------------------------------------


def _model(proposal: Proposal) -> str:
    return block(
        """
        model:
          class_path: rslearn.train.lightning_module.RslearnLightningModule
          init_args:
            model:
              class_path: rslearn.models.singletask.SingleTaskModel
              init_args:
                encoder:
        @ENCODER
                decoder:
        @DECODER
        @OPTIMIZER
        """,
        ENCODER=indented(_encoder(proposal), 10),
        DECODER=indented(_decoder(proposal), 10),
        OPTIMIZER=indented(_optimizer(proposal), 4),
    )


def _encoder(proposal: Proposal) -> str:
    encoder = proposal.encoder
    if encoder.model_id is None:
        channels, bands = encoder.channels, len(proposal.imagery.bands)
        return block(
            f"""
            - class_path: rslearn.models.module_wrapper.EncoderModuleWrapper  # stacks the input named "image"
              init_args:
                modules:
                  # Three 3 x 3 convolutions: each pixel is judged by itself and its neighbours up to 3 pixels away.
                  - class_path: rslearn.models.conv.Conv
                    init_args: {{in_channels: {bands}, out_channels: {channels}, kernel_size: 3, batch_norm: true}}
                  - class_path: rslearn.models.conv.Conv
                    init_args: {{in_channels: {channels}, out_channels: {channels}, kernel_size: 3, batch_norm: true}}
                  - class_path: rslearn.models.conv.Conv
                    init_args: {{in_channels: {channels}, out_channels: {channels}, kernel_size: 3, batch_norm: true}}
            """
        )
    return block(
        f"""
        - class_path: rslearn.models.olmoearth_pretrain.model.OlmoEarth
          init_args:
            # The weights are fetched from Hugging Face when training begins for the first time. Without internet: copy
            # config.json and weights.pth of the model into the folder extra_model_files of this project, and write
            # "model_path: ${{EXTRA_FILES_PATH}}" and "embedding_size: {encoder.channels}" instead of model_id.
            model_id: {encoder.model_id}
            patch_size: {PATCH}               # in pixels; each patch becomes {encoder.channels} numbers
            use_legacy_timestamps: false  # the months of the images as they are
        """
    )


def _decoder(proposal: Proposal) -> str:
    channels = proposal.encoder.channels
    outputs = len(named_classes(proposal.classes)) if proposal.task.has_classes else 1
    head = {
        Task.SEGMENTATION: f"{_TASKS}.segmentation.SegmentationHead",
        Task.CLASSIFICATION: f"{_TASKS}.classification.ClassificationHead",
        Task.REGRESSION: f"{_TASKS}.regression.RegressionHead",
        Task.PER_PIXEL_REGRESSION: f"{_TASKS}.per_pixel_regression.PerPixelRegressionHead",
    }[proposal.task]
    if not proposal.task.is_raster:
        return block(
            f"""
            # From a map of features to one vector a window.
            - class_path: rslearn.models.pooling_decoder.PoolingDecoder
              init_args: {{in_channels: {channels}, out_channels: {outputs}}}
            - class_path: {head}
            """
        )
    said = "One logit a class and pixel." if proposal.task.has_classes else "One number a pixel."
    upsample = block(
        f"""
        # From patches back to pixels.
        - class_path: rslearn.models.upsample.Upsample
          init_args: {{scale_factor: {PATCH}}}
        """
    )
    return block(
        f"""
        @UPSAMPLE
        # {said}
        - class_path: rslearn.models.conv.Conv
          init_args:
            in_channels: {channels}
            out_channels: {outputs}
            kernel_size: 1
            activation: {{class_path: torch.nn.Identity}}
        - class_path: {head}
        """,
        UPSAMPLE=upsample if proposal.encoder.model_id else "",
    )


def _optimizer(proposal: Proposal) -> str:
    if proposal.encoder.model_id is None:
        return block(
            f"""
            optimizer:
              class_path: rslearn.train.optimizer.AdamW
              init_args: {{lr: 0.003, weight_decay: 0.1}}
            # The learning rate falls to 0 along half a cosine.
            scheduler:
              class_path: rslearn.train.scheduler.CosineAnnealingScheduler
              init_args: {{T_max: {proposal.epochs}}}  # trainer.max_epochs
            """
        )
    return block(
        """
        optimizer:
          class_path: rslearn.train.optimizer.AdamW
          init_args: {lr: 0.0001}
        # The learning rate falls to a fifth when the loss of validation has not fallen for more than two epochs.
        scheduler:
          class_path: rslearn.train.scheduler.PlateauScheduler
          init_args: {factor: 0.2, patience: 2, min_lr: 0, cooldown: 10}
        """
    )


# ---- data ----------------------------------------------------------------------------------------------------


def _data(proposal: Proposal) -> str:
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


def input_name(proposal: Proposal) -> str:
    """Name of the model's input: OlmoEarth knows its modalities by it.

    Args:
        proposal: The project.
    """
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
        {input_name(proposal)}:
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
                class_path: {_TASKS}.segmentation.SegmentationTask
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
                class_path: {_TASKS}.classification.ClassificationTask
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
                class_path: {_TASKS}.regression.RegressionTask
                init_args:
                  property_name: {proposal.label_name}  # read from the label, written to the result
                  scale_factor: {scale:g}    # labels are multiplied by this for training, and results divided by it
                  metrics: [mse, l1]
                """
            )
        case Task.PER_PIXEL_REGRESSION:
            return block(
                f"""
                class_path: {_TASKS}.per_pixel_regression.PerPixelRegressionTask
                init_args:
                  scale_factor: {scale:g}    # labels are multiplied by this for training, and results divided by it
                  nodata_value: {NODATA_VALUE}    # pixels without a value
                  metrics: [mse, l1]
                """
            )


def _transforms(proposal: Proposal, *, training: bool) -> str:
    name, size = input_name(proposal), proposal.window_size
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


# ---- trainer -------------------------------------------------------------------------------------------------


def _trainer(proposal: Proposal) -> str:
    freeze = block(
        f"""
        # First the decoder alone learns; then all of it, the encoder with a tenth of the learning rate.
        - class_path: rslearn.train.callbacks.freeze_unfreeze.FreezeUnfreeze
          init_args:
            module_selector: [model, encoder, 0]
            unfreeze_at_epoch: {max(1, proposal.epochs // _FROZEN_SHARE)}
            unfreeze_lr_factor: 10
        """
    )
    merger = block(
        f"""
        merger:
          class_path: rslearn.train.prediction_writer.RasterMerger
          # The overlap is that of predict_config: half of it is cut from each crop.
          init_args: {{overlap_pixels: {overlap_of(proposal.window_size)}}}
        """
    )
    return block(
        f"""
        trainer:
          max_epochs: {proposal.epochs}
          callbacks:
            - class_path: lightning.pytorch.callbacks.ModelCheckpoint
              init_args:
                dirpath: ${{TRAINER_DATA_PATH}}
                monitor: val_loss
                mode: min
                save_top_k: 1
                save_last: true
        @FREEZE
            - class_path: rslearn.train.prediction_writer.RslearnWriter
              init_args:
                path: ${{DATASET_PATH}}
                output_layer: ${{PREDICTION_OUTPUT_LAYER}}
        @MERGER
        """,
        FREEZE=indented(freeze, 4) if proposal.encoder.model_id else "",
        MERGER=indented(merger, 8) if proposal.task.is_raster else "",
    )
