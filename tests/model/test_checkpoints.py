import argparse
from pathlib import Path

import pytest
import torch

from olmoearth_nb.errors import ModelError
from olmoearth_nb.model.checkpoints import load_weights, read_checkpoint


def test_weights_are_read_and_loaded(tmp_path: Path) -> None:
    source, target = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    torch.save({"state_dict": source.state_dict(), "epoch": 4}, tmp_path / "c.ckpt")
    content = read_checkpoint(tmp_path / "c.ckpt")
    load_weights(target, content["state_dict"], where="c.ckpt")
    assert content["epoch"] == 4
    assert torch.equal(target.weight, source.weight)
    assert torch.equal(target.bias, source.bias)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"c.ckpt: The checkpoint is missing"):
        read_checkpoint(tmp_path / "c.ckpt")
    with pytest.raises(ModelError, match=r"is a folder"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04", b"\x80\x02}q"]
)
def test_what_torch_can_not_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.ckpt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"c.ckpt: The file is not a checkpoint.*Found {len(content)} bytes"):
        read_checkpoint(path)


def test_half_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    torch.save({"state_dict": torch.nn.Linear(50, 50).state_dict()}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"not a checkpoint that torch can read"):
        read_checkpoint(path)


@pytest.mark.parametrize(("value", "found"), [({"model": {}}, "model"), ([1], "list")])
def test_another_torch_file(tmp_path: Path, value: object, found: str) -> None:
    torch.save(value, tmp_path / "c.ckpt")
    with pytest.raises(ModelError, match=rf"not a Lightning checkpoint.*'state_dict'.*found {found}"):
        read_checkpoint(tmp_path / "c.ckpt")


def test_objects_are_not_executed(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": argparse.Namespace(lr=1)}, tmp_path / "c.ckpt")
    with pytest.raises(ModelError, match=r"could run code.*Found argparse.Namespace.*If you trust its source"):
        read_checkpoint(tmp_path / "c.ckpt")


def test_differences_are_counted_and_named() -> None:
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 2), "b": torch.nn.Linear(2, 2)})
    weights = {
        "a.weight": torch.zeros(2, 4),
        "a.bias": torch.zeros(2),
        **{f"old.{index}": torch.zeros(1) for index in range(5)},
    }
    with pytest.raises(ModelError) as caught:
        load_weights(module, weights, where="c.ckpt")
    assert str(caught.value) == (
        "c.ckpt: The checkpoint is not of this model. Expected the 4 weights of model.yaml; found 2 missing (b.bias, "
        "b.weight); 5 unexpected (old.0, old.1, old.2, …); 1 of another size (a.weight (2, 4) instead of (2, 3)). Use "
        "the model.yaml that the checkpoint was trained with."
    )
