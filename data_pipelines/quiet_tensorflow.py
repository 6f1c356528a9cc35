"""TensorFlow and TFDS for reading and writing files only: on the CPU, and without chatter.

Import `tf` and `tfds` from here, never directly: TensorFlow would otherwise claim the memory of
the accelerator that JAX trains on.
"""

import contextlib
import logging
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402

__all__ = ["tf", "tfds"]


def _is_news(record: logging.LogRecord) -> bool:
    """False for the deprecations that TFDS 4.9 triggers inside itself."""
    return "is deprecated" not in record.getMessage()


logging.getLogger("absl").addFilter(_is_news)
tf.get_logger().setLevel(logging.ERROR)
tfds.disable_progress_bar()
for _kind in ("GPU", "TPU"):
    # A notebook that used TensorFlow before has fixed its devices; they cannot be hidden any more.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], _kind)
