"""Encoder, decoder and optimizer of a new project's ``model.yaml``: the published recipe, commented."""

from __future__ import annotations

from olmoearth_nb.newproject.choices import Task
from olmoearth_nb.newproject.classes import named_classes
from olmoearth_nb.newproject.proposal import PATCH, Proposal
from olmoearth_nb.newproject.text import block

__all__ = ["TASKS", "decoder_text", "encoder_text", "optimizer_text"]

TASKS = "rslearn.train.tasks"
"""Where tasks and their heads are."""


def encoder_text(proposal: Proposal) -> str:
    """The entry of ``encoder``.

    Args:
        proposal: The project.
    """
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


def decoder_text(proposal: Proposal) -> str:
    """The entries of ``decoder``: from the encoder's features to what the task says.

    Args:
        proposal: The project.
    """
    channels = proposal.encoder.channels
    outputs = len(named_classes(proposal.classes)) if proposal.task.has_classes else 1
    head = {
        Task.SEGMENTATION: f"{TASKS}.segmentation.SegmentationHead",
        Task.CLASSIFICATION: f"{TASKS}.classification.ClassificationHead",
        Task.REGRESSION: f"{TASKS}.regression.RegressionHead",
        Task.PER_PIXEL_REGRESSION: f"{TASKS}.per_pixel_regression.PerPixelRegressionHead",
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


def optimizer_text(proposal: Proposal) -> str:
    """Optimizer and scheduler.

    Args:
        proposal: The project.
    """
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
