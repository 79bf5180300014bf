import pytest
import torch

from olmoearth_nb.errors import ConfigError, UsageError
from olmoearth_nb.model.devices import autocast, choose_device, choose_precision, leave_precision

CPU = torch.device("cpu")


def test_devices_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device(None) == choose_device("auto") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match=r"'cuda:2' is not available here"):
        choose_device("cuda:2")


def test_devices_that_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"'cuda' is not available here. Expected auto or one of cpu."):
        choose_device("cuda")
    with pytest.raises(UsageError, match=r"no such device.*found 'gpu'"):
        choose_device("gpu")


@pytest.mark.parametrize(
    ("asked", "configured", "chosen"),
    [
        (None, None, "32"),
        (None, 32, "32"),
        (None, "bf16-mixed", "bf16-mixed"),
        (None, "16-mixed", "bf16-mixed"),
        ("32", "bf16-mixed", "32"),
        ("bf16", None, "bf16-mixed"),
    ],
)
def test_precisions(asked: str | None, configured: object, chosen: str) -> None:
    assert choose_precision(asked, {"trainer": {"precision": configured}}, CPU) == chosen


def test_precisions_that_do_not_work() -> None:
    assert choose_precision("16-mixed", {}, torch.device("cuda")) == "16-mixed"
    with pytest.raises(UsageError, match=r"needs a GPU"):
        choose_precision("16-mixed", {}, CPU)
    with pytest.raises(UsageError, match=r"precision: This precision.*found '64'"):
        choose_precision("64", {}, CPU)
    with pytest.raises(ConfigError, match=r"trainer.precision: This precision.*found 'bf16-true'"):
        choose_precision(None, {"trainer": {"precision": "bf16-true"}}, CPU)


def test_autocast_changes_what_is_computed_with() -> None:
    layer, values = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with autocast("32", CPU):
        assert layer(values).dtype == torch.float32
    with autocast("bf16-mixed", CPU):
        assert layer(values).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("config", "device", "left"),
    [
        ({"model": {"init_args": {"encoder": [{"init_args": {"patch_size": 4}}]}}}, "cpu", None),
        ({"model": {"init_args": {"encoder": [{"init_args": {"autocast_dtype": "bfloat16"}}]}}}, "cpu", torch.bfloat16),
        ({}, "cuda", torch.bfloat16),
    ],
)
def test_encoders_compute_in_the_precision_of_the_model(config: object, device: str, left: object) -> None:
    class Encoder(torch.nn.Module):
        autocast_dtype: torch.dtype | None = torch.bfloat16

    encoder = Encoder()
    leave_precision(torch.nn.Sequential(encoder), config, torch.device(device))
    assert encoder.autocast_dtype == left
