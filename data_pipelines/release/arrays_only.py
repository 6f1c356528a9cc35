"""Unpickling of nothing but arrays, numbers, strings and containers of them."""

import pickle
from typing import Any, BinaryIO

from moditalker_jax.errors import InputError

_ALLOWED = {
    "_codecs": {"encode"},
    "numpy": {"ndarray", "dtype"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core.", "numpy._core.")  # numpy 1's name
        if name not in _ALLOWED.get(module, ()):
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def load_arrays(file: BinaryIO, where: object) -> Any:
    """The object that `file` goes on with, if it is made of arrays, numbers and strings only.

    Raises:
      InputError: the pickle is damaged, or asks for anything else, which is not run.
    """
    try:
        return _ArraysOnly(file).load()
    except Exception as error:  # Damaged pickles fail in any way.
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{where}: cannot be read ({reason}); only arrays and strings are unpickled"
        ) from error
