"""One file for each network of the paper; pure Linen modules that import no data or diffusion."""
