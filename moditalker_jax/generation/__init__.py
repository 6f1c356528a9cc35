"""From a face and speech to a talking video."""
