"""Equal layers run by one scan: XLA compiles one of them, however many there are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Apply = Callable[[Any, Any, Any], Any]
"""From one layer's parameters, what goes from layer to layer, and the layer's own input."""


def stack(trees: Sequence[Any]) -> Any:
    """Equal pytrees as one, with a new leading axis in every array."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def scan_layers(
    apply: Apply, params: Mapping[str, Any], names: Sequence[str], carry: Any, inputs: Any = None
) -> Any:
    """`carry` after all layers.

    Parameters keep a place of their own for each layer, as without a scan, so that checkpoints
    don't depend on how they are run; they are stacked when the step begins.

    Args:
      apply: runs one layer.
      params: of the module that owns the layers.
      names: of the layers, in order.
      carry: what the first layer takes and every layer returns in the same shape.
      inputs: pytree with a leading axis over the layers, or None.
    """

    def layer(carry: Any, layer_params_and_input: Any) -> tuple[Any, None]:
        return apply(layer_params_and_input[0], carry, layer_params_and_input[1]), None

    return jax.lax.scan(layer, carry, (stack([params[name] for name in names]), inputs))[0]
