"""Running one of the shipped .tflite networks."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

MODEL_DIR = Path(__file__).parent / "models"


class TfliteNetwork:
    """A float32 network with one image input and several outputs, told apart by their size.

    Not safe for use from several threads at once: the interpreter owns its tensors.
    """

    def __init__(self, file_name: str, *, num_threads: int = 2):
        with _quiet_stderr():
            self._interpreter = Interpreter(str(MODEL_DIR / file_name), num_threads=num_threads)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        outputs = self._interpreter.get_output_details()
        self._outputs = sorted(outputs, key=lambda output: -int(np.prod(output["shape"])))

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return int(self._input["shape"][1])

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """Outputs for image (side, side, 3) float32, the largest first, without batch axis."""
        self._interpreter.set_tensor(self._input["index"], image[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output["index"])[0] for output in self._outputs]


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drops what native code writes to the error stream; the interpreter greets there.

    It has no switch for that, and a user should see nothing but our own lines. Its errors come
    as exceptions.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
