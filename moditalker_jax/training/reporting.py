"""What a run shows: a table at its start, text lines, and what goes to TensorBoard."""

import io
import re
import resource
from collections import defaultdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image
from tqdm import tqdm

from moditalker_jax.models.build import count_params
from moditalker_jax.spec import FPS

try:
    from tensorboardX import SummaryWriter
    from tensorboardX.proto.summary_pb2 import Summary
except ImportError:  # Training needs no curves to be drawn.
    SummaryWriter = None


class Reporter:
    """Writes to `workdir/tensorboard` and the terminal; silent but in the first process.

    Where tensorboardX is not installed, to the terminal alone.
    """

    def __init__(self, stage: str, workdir: Path):
        self._stage = stage
        self._is_main = jax.process_index() == 0
        self._writer = None
        if self._is_main and SummaryWriter is not None:
            self._writer = SummaryWriter(str(workdir / "tensorboard"))
        elif self._is_main:
            self.line("tensorboardX is not installed: curves and pictures are left out")

    @property
    def shows_pictures(self) -> bool:
        """Whether pictures that are reported will be seen."""
        return self._writer is not None

    def line(self, text: str) -> None:
        """One line on the terminal."""
        if self._is_main:
            tqdm.write(f"{self._stage}: {text}")

    def scalars(self, group: str, values: dict[str, float], step: int) -> None:
        """Numbers under "group/name"; those that are NaN were not measured and stay out."""
        if self._writer is not None:
            for name, value in values.items():
                if not np.isnan(value):
                    self._writer.add_scalar(f"{group}/{name}", value, step)

    def pictures(self, pictures: dict[str, np.ndarray], step: int) -> None:
        """uint8 pictures (H, W, 3), and clips (T, H, W, 3) that move."""
        if self._writer is None:
            return
        for name, picture in pictures.items():
            if picture.ndim == 3:
                self._writer.add_image(name, picture, step, dataformats="HWC")
            else:
                self._writer.file_writer.add_summary(_animation(name, picture), step)

    def flush(self) -> None:
        """Brings all that was reported to disk, so that a checkpoint never knows more."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flushes and ends."""
        if self._writer is not None:
            self._writer.close()


def _animation(name: str, clip: np.ndarray) -> Any:
    frames = [Image.fromarray(frame) for frame in clip]
    gif = io.BytesIO()
    duration = 1000 // FPS
    frames[0].save(
        gif, format="GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0
    )
    image = Summary.Image(
        height=clip.shape[1], width=clip.shape[2], colorspace=3, encoded_image_string=gif.getvalue()
    )
    return Summary(value=[Summary.Value(tag=name, image=image)])


def summary_table(params: Any, compiled: jax.stages.Compiled) -> str:
    """Parameters by part of the network, and what XLA says of one step on one device."""
    parts: dict[str, int] = defaultdict(int)
    for name, part in params.items():
        parts[re.sub(r"_\d+$", "_*", name)] += count_params(part)
    rows = [*sorted(parts.items(), key=lambda row: -row[1]), ("all", count_params(params))]
    lines = [f"  {name:24s} {count:>13,}" for name, count in rows]
    flops = compiled.cost_analysis().get("flops", float("nan"))
    return "\n".join(
        [
            "parameters",
            *lines,
            f"  a step on each device: {flops / 1e9:,.1f} GFLOP, "
            f"{step_memory(compiled) / 2**30:.2f} GiB",
        ]
    )


def step_memory(compiled: jax.stages.Compiled) -> int:
    """Bytes that a device needs for a step: what it is given, returns anew, and holds between."""
    memory = compiled.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )


def memory_in_use() -> int:
    """Highest number of bytes in use so far: of the first device, or of the process on a CPU."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics is None:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return statistics["peak_bytes_in_use"]
