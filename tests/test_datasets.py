"""Published data sets' layouts: small trees, read as their documentation says."""

import pytest

from data_pipelines.builder import held_out_split
from data_pipelines.datasets.registry import LAYOUTS
from data_pipelines.prepare.batch import prepare_dataset
from data_pipelines.quiet_tensorflow import tfds
from moditalker_jax.errors import InputError
from tests.videos import SMALL, KnownFace, write_clip


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def video(path, seconds=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_clip(path, seconds)


def hdtf(folder):
    video(folder / "videos" / "Radio11.mp4", 3.0)
    video(folder / "videos" / "Radio12.mp4", 2.0)
    write(
        folder / "RD_annotion_time.txt",
        "Radio11.mp4 00:00-00:01 00:01-00:03\nRadio12.mp4 0:00:00-0:00:02\nGone.mp4 00:10-00:20\n",
    )
    # The annotations were made at twice the size of the file, which is 64x48.
    write(folder / "RD_resolution.txt", "Radio11.mp4 96\nRadio12.mp4 NA\n")
    write(folder / "RD_crop_wh.txt", "Radio11_0.mp4 16 80 0 80\nRadio12_0.mp4 0 48 0 48\n")
    write(folder / "train_id.txt", "Radio11_1.mp4\n")


def lrs3(folder):
    for part in ("pretrain", "trainval", "test"):
        video(folder / part / f"{part}Speaker" / "00001.mp4")


def crema_d(folder):
    for actor in range(1001, 1011):
        video(folder / "VideoFlash" / f"{actor}_DFA_ANG_XX.flv")


def vox_celeb2(folder):
    video(folder / "dev" / "mp4" / "id00012" / "21Uxsk56VDQ" / "00001.mp4")
    video(folder / "test" / "mp4" / "id00017" / "01dfn2spqyE" / "00002.mp4")


TREES = {"hdtf": hdtf, "lrs3": lrs3, "crema_d_video": crema_d, "vox_celeb2_video": vox_celeb2}


def test_every_layout_has_a_tree_here():
    assert set(TREES) == set(LAYOUTS)


def test_hdtf_is_cut_and_cropped_as_its_files_say(tmp_path):
    hdtf(tmp_path)
    first, second, other = LAYOUTS["hdtf"].list_videos(tmp_path)
    assert (first.name, first.split, first.start, first.stop) == ("Radio11_0", "train", 0, 1)
    assert first.crop == (8, 0, 48, 40)
    assert (second.name, second.split, second.crop) == ("Radio11_1", "test", None)
    assert (other.name, other.speaker, other.stop, other.crop) == ("Radio12_0", "Radio12", 2, None)


def test_names_and_speakers(tmp_path):
    for name, make in TREES.items():
        make(tmp_path / name)
    listed = {name: LAYOUTS[name].list_videos(tmp_path / name) for name in TREES}
    assert [c.name for c in listed["lrs3"]][0] == "pretrain/pretrainSpeaker/00001"
    assert [c.split for c in listed["lrs3"]] == ["train", "train", "test"]
    assert [c.split for c in listed["crema_d_video"]].count("test") == 1
    assert {c.speaker for c in listed["crema_d_video"]} == {str(n) for n in range(1001, 1011)}
    assert [(c.name, c.speaker) for c in listed["vox_celeb2_video"]] == [
        ("id00012/21Uxsk56VDQ/00001", "id00012"),
        ("id00017/01dfn2spqyE/00002", "id00017"),
    ]


@pytest.mark.parametrize("name", TREES)
def test_tfds_loads_every_data_set(tmp_path, name):
    TREES[name](tmp_path / "source")
    layout = LAYOUTS[name]
    out = tmp_path / "data" / name / layout.version
    sources = layout.list_videos(tmp_path / "source")
    prepare_dataset(
        out,
        sources,
        SMALL,
        audio_encoder="log_mel",
        workers=0,
        finder=KnownFace(),
        name=layout.name,
        version=layout.version,
        citation=layout.citation,
    )
    data, info = tfds.load(name, data_dir=str(tmp_path / "data"), with_info=True)
    assert str(info.version) == layout.version and layout.citation[:20] in info.citation
    assert sum(info.splits[split].num_examples for split in data) == len(sources)
    record = next(iter(tfds.as_numpy(data["test"])))
    assert record["frames"].shape[1:] == (32, 32, 3)
    assert held_out_split(out) == "test"


@pytest.mark.parametrize("name", TREES)
def test_another_folder_is_told(tmp_path, name):
    (tmp_path / "test_ids.txt").write_text("")
    with pytest.raises(InputError, match="holds no"):
        LAYOUTS[name].list_videos(tmp_path)


def test_hdtf_needs_the_list_of_its_test_clips(tmp_path):
    hdtf(tmp_path)
    (tmp_path / "train_id.txt").unlink()
    with pytest.raises(InputError, match="test_ids.txt is missing"):
        LAYOUTS["hdtf"].list_videos(tmp_path)
