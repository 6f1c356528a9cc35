"""Running one of the shipped .tflite networks."""

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

MODEL_DIR = Path(__file__).parent / "models"


class TfliteNetwork:
    """A float32 network with one image input and several outputs, told apart by their size.

    Not safe for use from several threads at once: the interpreter owns its tensors.
    """

    def __init__(self, file_name: str, *, num_threads: int = 2):
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
