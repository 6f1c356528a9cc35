"""Makes a talking video from a face and speech.

python sample.py --audio speech.wav --identity face.jpg \
    --checkpoint moditalker_jax/demo/checkpoint --out out.mp4
"""

import sys

from moditalker_jax.generation.command import main

if __name__ == "__main__":
    sys.exit(main())
