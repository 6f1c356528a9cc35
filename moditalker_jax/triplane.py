"""The tri-plane: a video clip as three feature planes (paper section 4.3, figure 12)."""

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class TriPlane:
    """Three planes of one clip; a pytree, so `jax.tree.map` is its arithmetic.

    Attributes:
      xy: (B, H, W, C), time removed.
      yt: (B, T, W, C), rows removed (the release's name for the plane that keeps time and columns).
      xt: (B, T, H, C), columns removed.
    """

    xy: jax.Array
    yt: jax.Array
    xt: jax.Array

    def to_tokens(self) -> jax.Array:
        """(B, H*W + T*W + T*H, C): the planes flattened and joined in the order xy, yt, xt."""
        planes = (self.xy, self.yt, self.xt)
        return jnp.concatenate([p.reshape(p.shape[0], -1, p.shape[-1]) for p in planes], axis=1)

    def with_tokens(self, tokens: jax.Array) -> "TriPlane":
        """The inverse of `to_tokens`: `tokens` (B, L, C') in planes of this tri-plane's sizes."""
        planes, start = [], 0
        for plane in (self.xy, self.yt, self.xt):
            rows, columns = plane.shape[1:3]
            part = tokens[:, start : start + rows * columns]
            planes.append(part.reshape(tokens.shape[0], rows, columns, tokens.shape[-1]))
            start += rows * columns
        if start != tokens.shape[1]:
            raise ValueError(f"{tokens.shape[1]} tokens do not fill planes of {start} positions")
        return TriPlane(*planes)

    def concatenate(self, *others: "TriPlane") -> "TriPlane":
        """Joins the channels of tri-planes of equal sizes."""
        return jax.tree.map(lambda *planes: jnp.concatenate(planes, axis=-1), self, *others)
