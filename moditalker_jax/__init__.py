"""MoDiTalker in JAX: a face and speech in, a talking video out.

>>> import moditalker_jax
>>> pipeline = moditalker_jax.load("moditalker_jax/demo/checkpoint")
>>> pipeline.generate("speech.wav", "face.jpg")
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moditalker_jax.generation.pipeline import MoDiTalker

__version__ = "0.1.0"


def load(checkpoint: str) -> "MoDiTalker":
    """Loads a checkpoint directory; see `generation.pipeline.MoDiTalker`.

    Raises:
      InputError: it holds no complete checkpoint.
    """
    # Here, so that the numpy-level modules can be used without loading jax.
    from moditalker_jax.generation.pipeline import MoDiTalker

    return MoDiTalker.from_checkpoint(checkpoint)
