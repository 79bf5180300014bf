import json
import os
import platform
import subprocess
import sys

import pytest

_CODE = """
import json, os, sys
from olmoearth_nb.compat import prepare_rslearn
assert "torch" not in sys.modules
prepare_rslearn()
prepare_rslearn()
import multiprocessing, torch, torchvision
boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [20, 20, 20, 30], [20, 20, 20, 30.0]])
scores = torch.tensor([0.5, 0.9, 0.1, 0.05, 0.04])
kept = torchvision.ops.nms(boxes, scores, 0.5).tolist()
apart = torchvision.ops.batched_nms(boxes[:2], scores[:2], torch.tensor([0, 1]), 0.5).tolist()
with multiprocessing.get_context("fork").Pool(1) as pool:
    forked = pool.apply(torchvision.ops.nms, (boxes, scores, 0.5)).tolist()
nothing = torchvision.ops.nms(boxes[:0], scores[:0], 0.5)
height = torch.arange(12.0).reshape(1, 1, 12, 1) + torch.arange(12.0)
corners = torch.tensor([[0, x % 4, 0, x % 4 + 4, 8] for x in range(130)], dtype=torch.float32)
pooled = torchvision.ops.roi_align(height, corners, (2, 1), sampling_ratio=2)
none = [*torchvision.ops.roi_align(height, corners[:0], (2, 1), sampling_ratio=2).shape]
compiled = "torch._inductor.codecache" in sys.modules
import rslearn.train.data_module, rslearn.models.swin
names = ("RSLEARN_LOGLEVEL", "JSONARGPARSE_DEPRECATION_WARNINGS")
print(json.dumps([pooled[:, 0, :, 0].tolist(), none, compiled]))
print(json.dumps([kept, apart, forked, [*nothing.shape], str(nothing.dtype), [os.environ[name] for name in names]]))
"""


def test_rslearn_can_be_imported_after_it_and_boxes_are_suppressed() -> None:
    bytecode = {name: value for name, value in os.environ.items() if name == "PYTHONPYCACHEPREFIX"}
    done = subprocess.run(
        [sys.executable, "-c", _CODE],
        capture_output=True,
        text=True,
        env={"PATH": "", "RSLEARN_LOGLEVEL": "ERROR", "PYTHONPATH": ":".join(sys.path)} | bytecode,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    boxes, lines = done.stdout.splitlines()
    pooled, none, compiled = json.loads(boxes)
    # Means of x + y over the upper and the lower half of boxes from x to x + 4 and from 0 to 8.
    assert pooled == [[x % 4 + 4, x % 4 + 8] for x in range(130)]
    assert (none, compiled) == ([0, 1, 2, 1], False)
    kept, apart, forked, shape, dtype, environment = json.loads(lines)
    # The second box hides the first (IoU 81/119); boxes without area hide nothing, not even their like.
    assert kept == [1, 2, 3, 4]
    assert forked == kept
    assert apart == [1, 0]
    assert (shape, dtype) == ([0], "torch.int64")
    # What the user has set stays.
    assert environment == ["ERROR", "off"]


_FAULTS = """
import resource, sys
from olmoearth_nb.compat import prepare_rslearn
prepare_rslearn()
import torch
work = torch.nn.Conv2d(4, 16, 3)
image = torch.rand(8, 4, 256, 256)
with torch.inference_mode():
    work(image)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        work(image)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize("setting", [None, "MALLOC_TRIM_THRESHOLD_"])
def test_memory_of_a_layer_is_used_again_unless_the_user_says_how(setting: str | None) -> None:
    changed = {} if setting is None else {setting: "131072"}
    # Dask sets one of them for its workers, and leaves it here when a test has started some.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    env = {**kept, "PYTHONPATH": ":".join(sys.path), **changed}
    done = subprocess.run([sys.executable, "-c", _FAULTS], env=env, capture_output=True, text=True, check=True)
    # Ten times 32 MB are 80,000 pages.
    assert (int(done.stdout) > 20_000) is (setting is not None)
