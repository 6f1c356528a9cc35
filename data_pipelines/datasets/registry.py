"""The data sets that `python -m data_pipelines.prepare --dataset NAME` knows."""

from data_pipelines.datasets.base import Layout
from data_pipelines.datasets.crema_d import CREMA_D
from data_pipelines.datasets.hdtf import HDTF
from data_pipelines.datasets.lrs3 import LRS3
from data_pipelines.datasets.vox_celeb2 import VOX_CELEB2

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (HDTF, LRS3, CREMA_D, VOX_CELEB2)}
