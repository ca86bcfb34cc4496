"""Videos read, explained and written again: a square that moves, and nets that look where we know."""

import io
import json
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import speakers
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.testing import assert_close

import sightline
from sightline.cli.explain import How
from sightline.cli.media import explain_media, is_media
from sightline.clips import ClipExplanation, explain_clip, spread
from sightline.errors import MethodError, ModelError, PictureError, TargetError
from sightline.model import Model, wrap
from sightline.preprocess import Preprocess
from sightline.render import colour
from sightline.video import Clip, _upright, read_clip, write_video

av = pytest.importorskip("av", reason="PyAV isn't installed")

WIDTH, HEIGHT, FRAMES, SIDE = 96, 64, 20, 16
RATE = Fraction(12)
PLAIN = Preprocess(size=(HEIGHT, WIDTH), fit="squash", mean=(0, 0, 0), std=(1, 1, 1))


def corner(frame: int) -> tuple[int, int]:
    """The square's left and top edge, in steps of 4 pixels."""
    return 4 * frame, 8 + 24 * (frame % 2)


def picture(frame: int, light: int = 250, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    shown = Image.new("RGB", size, (60, 60, 60))
    left, top = corner(frame)
    shown.paste((light, light, light), (left, top, left + SIDE, top + SIDE))
    return shown


def video(file: Path, frames: int = FRAMES, light: Callable[[int], int] = lambda _: 250, **kwargs: Any) -> Path:
    write_video(file, (picture(at, light(at), **kwargs) for at in range(frames)), RATE)
    return file


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video(tmp_path_factory.mktemp("clips") / "moving.mp4")


class Bright(nn.Module):
    """Class 1: what is brighter than 0.6, summed, by cells of 4 x 4 pixels; class 0: nothing; class 2: a little."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 4, stride=4)
        nn.init.constant_(self.layer.weight, 1 / 48)
        nn.init.constant_(self.layer.bias, -0.6)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        seen = self.relu(self.layer(images)).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(seen), seen, 0.1 * seen], 1)


class OneFrame(nn.Module):
    """Looks at one of 10 frames only: class 1 is what is bright there, by cells of 2 frames and 4 x 4 pixels."""

    def __init__(self, frame: int = 7) -> None:
        super().__init__()
        self.frame = frame
        self.layer = nn.Conv3d(3, 1, (1, 4, 4), stride=(1, 4, 4))
        nn.init.constant_(self.layer.weight, 1 / 48)
        nn.init.constant_(self.layer.bias, -0.6)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        seen = self.relu(self.layer(images))[:, :, self.frame].flatten(1).sum(1)
        return torch.stack([torch.zeros_like(seen), seen], 1)


def of_pictures(**kwargs: Any) -> Model:
    return wrap(Bright(), preprocess=PLAIN, labels=["dark", "bright", "dim"], name="lamp", layer="relu", **kwargs)


def of_clips(frame: int = 7) -> Model:
    return Model(module=OneFrame(frame), name="look", preprocess=PLAIN, layer="relu", frames=10)


def coloured(shown: Image.Image) -> np.ndarray[Any, Any]:
    """How far each pixel is from grey."""
    pixels = np.asarray(shown).astype(int)
    return pixels.max(2) - pixels.min(2)


def test_a_video_is_read_frame_by_frame(moving: Path) -> None:
    clip = read_clip(moving)
    assert (clip.frames, clip.size, clip.rate, clip.broken) == (FRAMES, (WIDTH, HEIGHT), RATE, "")
    assert clip.seconds == pytest.approx(FRAMES / 12)
    for at, shown in enumerate(clip):
        assert np.abs(np.asarray(shown).astype(int) - np.asarray(picture(at)).astype(int)).mean() < 4
    assert [len(some) for some in clip.batches()] == [16, 4]


def test_the_middle_frames_of_equal_parts_are_seen() -> None:
    assert spread(4, 20) == [2, 7, 12, 17]
    assert spread(5, 5) == [0, 1, 2, 3, 4]
    assert spread(4, 2) == [0, 0, 1, 1]
    assert spread(1, 9) == [4]


def test_each_frame_of_a_picture_model_has_its_own_map(moving: Path) -> None:
    told: list[tuple[int, int]] = []
    why = explain_clip(of_pictures(), moving, "bright", progress=lambda *at: told.append(at))
    assert why.maps.shape == (1, FRAMES, HEIGHT // 4, WIDTH // 4)
    assert told == [(16, 20), (20, 20)]
    for at, shown in enumerate(why.clip):
        true = Bright().relu(Bright().layer(PLAIN(shown)[None]))[0, 0]
        assert_close(why.maps[0, at], true.detach(), rtol=1e-4, atol=1e-5)
        left, top = corner(at)
        y, x = np.unravel_index(np.nanargmax(why.heat(at)), (HEIGHT, WIDTH))
        assert left <= x < left + SIDE
        assert top <= y < top + SIDE
    assert why.asked[0].name == "bright"
    assert len(why.scores[0]) == FRAMES
    facts = why.facts()
    assert facts["score"] == pytest.approx(np.mean(why.scores[0]))
    assert facts["frames"] == FRAMES
    assert facts["layer_why"] == "the layer that module names"


def test_the_video_out_has_the_frames_size_and_rate_and_marks_the_square(moving: Path, tmp_path: Path) -> None:
    why = explain_clip(of_pictures(), moving, "bright")
    told: list[tuple[int, int]] = []
    out = why.write(tmp_path / "out.mp4", progress=lambda *at: told.append(at))
    assert told == [(at, FRAMES) for at in range(1, FRAMES + 1)]
    again = read_clip(out)
    assert (again.frames, again.size, again.rate) == (FRAMES, (WIDTH, HEIGHT), RATE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4"]
    for at, shown in enumerate(again):
        lit = coloured(shown) > 25
        rows, columns = np.nonzero(lit)
        left, top = corner(at)
        assert lit[top + 4 : top + 12, left + 4 : left + 12].all()
        assert abs(columns.mean() - (left + SIDE / 2)) < 3
        assert abs(rows.mean() - (top + SIDE / 2)) < 3
        assert lit.sum() < 3 * SIDE**2


def test_colours_mean_the_same_in_every_frame(tmp_path: Path) -> None:
    """The square grows lighter from frame to frame: so does its colour; a map by its own maximum would not."""
    growing = video(tmp_path / "growing.mp4", 10, lambda at: 170 + 8 * at)
    why = explain_clip(of_pictures(), growing, 1)
    frames = list(why.clip)
    highest = [float(np.nanmax(why.heat(at))) for at in range(10)]
    assert all(after > before for before, after in pairwise(highest))
    lowest, last, fine = why._scales[0]
    assert (lowest, fine) == (0, False)
    assert last == pytest.approx(float(why.maps.max()))
    for at in (0, 4, 9):
        left, top = corner(at)
        value = float(why.heat(at)[top + 8, left + 8]) / last  # of the clip's own maximum
        cover = 0.7 * value * (2 - value)
        under = np.asarray(frames[at].convert("L")).astype(float)[top + 8, left + 8]
        true = cover * colour(np.array(value), "ember") + (1 - cover) * under
        np.testing.assert_allclose(np.asarray(why.overlay(frames[at], at))[top + 8, left + 8], true, atol=3)
    still = video(tmp_path / "still.mp4", 6)
    steady = explain_clip(of_pictures(), still, 1)
    peaks = [np.nanmax(steady.heat(at)) for at in range(6)]
    assert np.ptp(peaks) < 0.1 * max(peaks)


def test_a_clip_model_is_explained_in_the_frame_that_it_looks_at(moving: Path) -> None:
    """By LayerCAM, cell by cell; Grad-CAM weights a channel alike at all times."""
    why = explain_clip(of_clips(), moving, 1, method="layer-cam")
    assert why.maps.shape == (1, 10, HEIGHT // 4, WIDTH // 4)
    assert why.seen == tuple(range(1, 20, 2))  # the middle frames of ten parts of two
    assert (why.maps[0].flatten(1).amax(1) > 0).nonzero().flatten().tolist() == [7]
    frame, x, y = why.peak() or (0, 0, 0)
    assert frame in (14, 15)  # the seventh part
    left, top = corner(15)  # of which this one was seen
    assert left <= x < left + SIDE
    assert top <= y < top + SIDE
    over_time = interpolate(why.maps[None], (20, 16, 24), mode="trilinear")[0, 0]
    for at in range(FRAMES):
        assert_close(torch.from_numpy(why.heat(at)), why.framing.to_picture(over_time[at]))
    assert why.facts()["peak_frame"] == frame
    assert len(why.scores[0]) == 1


@pytest.mark.parametrize("method", ["saliency", "input-x-gradient", "occlusion:window=(2,16,16):stride=(2,8,8)"])
def test_methods_that_ask_the_image_find_the_frame_too(moving: Path, method: str) -> None:
    why = explain_clip(of_clips(3), moving, 1, method=method)
    assert why.layer == "image"
    frame, x, y = why.peak() or (0, 0, 0)
    assert frame in ((6, 7) if "occlusion" not in method else (4, 5, 6, 7))
    if method != "saliency":
        left, top = corner(7)
        assert left - 8 <= x < left + SIDE + 8
        assert top - 8 <= y < top + SIDE + 8


def test_a_clip_shorter_than_the_model_wants_repeats_frames(tmp_path: Path) -> None:
    why = explain_clip(of_clips(), video(tmp_path / "short.mp4", 4), 1)
    assert why.seen == (0, 0, 1, 1, 1, 2, 2, 3, 3, 3)
    assert why.heat(3).shape == (HEIGHT, WIDTH)


def test_the_class_is_the_clips_own(moving: Path) -> None:
    model = of_pictures()
    assert [asked.name for asked in explain_clip(model, moving).asked] == ["bright"]
    both = explain_clip(model, moving, "top:2")
    assert [asked.name for asked in both.asked] == ["bright", "dim"]
    shares = [Bright()(PLAIN(shown)[None]).detach().softmax(1)[0] for shown in read_clip(moving)]
    assert both.probabilities[0] == pytest.approx(float(torch.stack(shares).mean(0)[1]), abs=1e-5)
    named = explain_clip(model, moving, ["bright", "not:bright"])
    assert [asked.name for asked in named.asked] == ["bright", "against bright"]
    assert_close(named.maps[0], both.maps[0])
    assert explain_clip(model, moving, lambda output: output[:, 1]).maps.shape[0] == 1


def test_a_signed_method_has_one_scale_for_both_signs(moving: Path) -> None:
    why = explain_clip(of_pictures(), moving, 1, method="input-x-gradient")
    assert why._scales[0][1] == pytest.approx(float(why.maps.abs().max()), rel=0.3)
    left, top = corner(3)
    shown = np.asarray(why.overlay(picture(3), 3)).astype(int)
    assert (
        shown[top + 4 : top + 12, left + 4 : left + 12, 0] > shown[top + 4 : top + 12, left + 4 : left + 12, 2]
    ).all()


def test_a_clip_with_nothing_lit_stays_as_it_was(tmp_path: Path) -> None:
    why = explain_clip(of_pictures(), video(tmp_path / "dark.mp4", 3, lambda _: 90), 1)
    assert why.peak() is None
    assert why.facts()["peak"] is None
    assert np.array_equal(np.asarray(why.overlay(picture(0, 90), 0)), np.asarray(picture(0, 90)))


def test_odd_sizes_keep_them(tmp_path: Path) -> None:
    odd = video(tmp_path / "odd.mp4", 3, size=(WIDTH - 1, HEIGHT - 1))
    assert read_clip(odd).size == (WIDTH - 1, HEIGHT - 1)
    why = explain_clip(of_pictures(), odd, 1)
    assert read_clip(why.write(tmp_path / "out.mp4")).size == (WIDTH - 1, HEIGHT - 1)


def test_other_containers_are_read(tmp_path: Path) -> None:
    for name in ("clip.mkv", "clip.avi", "clip.mov"):
        clip = read_clip(video(tmp_path / name, 5))
        assert (clip.frames, clip.size, clip.rate) == (5, (WIDTH, HEIGHT), RATE)


def test_frames_before_a_break_are_kept_and_it_is_said(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    pictures = [Image.fromarray(noise.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)) for _ in range(40)]
    write_video(tmp_path / "whole.mkv", iter(pictures), RATE)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    clip = read_clip(tmp_path / "cut.mkv")
    assert 5 < clip.frames < 35
    assert "cut.mkv" in clip.broken
    assert "kept" in clip.broken
    assert len(list(clip)) == clip.frames
    why = explain_clip(of_pictures(), clip, 1)
    assert why.facts()["broken"] == clip.broken
    assert read_clip(why.write(tmp_path / "out.mp4")).frames == clip.frames


def test_an_mp4_that_promises_more_frames_than_it_holds(tmp_path: Path, moving: Path) -> None:
    with (
        av.open(str(moving)) as source,
        av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    data = (tmp_path / "fast.mp4").read_bytes()
    with av.open(str(tmp_path / "fast.mp4")) as whole:
        ends = [packet.pos + packet.size for packet in whole.demux(video=0) if packet.pos is not None]
    for cut, reason in (
        (ends[7] + 5, "Invalid data"),
        (ends[-1] - 1, "Invalid data"),
        (ends[12], "it says that it has 20"),
    ):
        (tmp_path / "cut.mp4").write_bytes(data[:cut])
        clip = read_clip(tmp_path / "cut.mp4")
        assert 5 < clip.frames < FRAMES
        assert f"cut.mp4 breaks off after {clip.frames} frames ({reason}" in clip.broken
        assert len(list(clip)) == clip.frames


@pytest.mark.parametrize(("name", "data", "message"), [
    ("none.mp4", None, "none.mp4 is no file; expected a video"),
    ("empty.mp4", b"", "empty.mp4 can't be read as a video"),
    ("bad.mp4", b"nonsense" * 100, "bad.mp4 can't be read as a video"),
])  # fmt: skip
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, name: str, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(PictureError, match=message) as caught:
        read_clip(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        out.mux(stream.encode(frame))
    with pytest.raises(PictureError, match="sound.wav holds no video"):
        read_clip(tmp_path / "sound.wav")


def test_what_cannot_be_asked_or_written_is_refused(moving: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no class 'cat'"):
        explain_clip(of_pictures(), moving, "cat")
    with pytest.raises(MethodError, match="lime is defined for images"):
        explain_clip(of_clips(), moving, 1, method="lime")
    with pytest.raises(ModelError, match=r"a sightline.Model is expected, got Bright"):
        explain_clip(Bright(), moving, 1)  # type: ignore[arg-type]
    with pytest.raises(PictureError, match=r"out.nothing can't be written"):
        explain_clip(of_pictures(), moving, 1).write(tmp_path / "out.nothing")
    assert not list(tmp_path.iterdir())


def test_a_frame_is_turned_as_the_camera_says() -> None:
    class Frame:
        def __init__(self, rotation: float) -> None:
            self.rotation = rotation

        def to_image(self) -> Image.Image:
            return picture(0)

    assert np.array_equal(np.asarray(_upright(Frame(-90))), np.rot90(np.asarray(picture(0)), -1))
    assert np.array_equal(np.asarray(_upright(Frame(180))), np.rot90(np.asarray(picture(0)), 2))
    assert np.array_equal(np.asarray(_upright(Frame(0))), np.asarray(picture(0)))


def test_saved(moving: Path, tmp_path: Path) -> None:
    why: ClipExplanation = explain_clip(of_clips(), moving, 1)
    files = why.save(tmp_path / "out")
    assert [file.name for file in files] == ["explanation.json", "maps.npy", "figure-0.png", "overlay-0.mp4"]
    assert json.loads(files[0].read_text())[0]["frames"] == FRAMES
    assert read_clip(files[3]).frames == FRAMES
    with Image.open(files[2]) as shown:
        assert shown.width > 1000
    assert why.title() == "1: grad-cam at relu, look"
    assert isinstance(why.clip, Clip)
    assert len(why) == 1


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_command_line_writes_a_video_a_sheet_and_the_map(moving: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    rows = explain_media(
        of_pictures(), moving, How(["bright", "dim"], None, "grad-cam", 0), "as is", tmp_path / "out", console, set()
    )
    names = [Path(file).name for row in rows for file in row["files"]]
    assert names == [
        f"moving-{name}-grad-cam{ending}" for name in ("bright", "dim") for ending in (".mp4", ".png", ".npy")
    ]
    assert sorted(names) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert read_clip(rows[0]["files"][0]).frames == FRAMES
    assert json.loads(json.dumps(rows))[1]["target"]["name"] == "dim"
    assert not said(console)


def test_the_command_line_says_what_is_left_out(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "loud.mkv"), "w") as out:
        shown = out.add_stream("libx264", rate=12)
        shown.width, shown.height, shown.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        heard = out.add_stream("pcm_s16le", rate=8000)
        for at in range(6):
            out.mux(shown.encode(av.VideoFrame.from_image(picture(at))))
        out.mux(shown.encode())
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), layout="mono")
        sound.rate = 8000
        out.mux(heard.encode(sound))
    console = Console(file=io.StringIO())
    (row,) = explain_media(
        of_clips(), tmp_path / "loud.mkv", How(None, "layer", "layer-cam", 0), "as is", tmp_path, console, set()
    )
    assert "the sound is left out" in said(console)
    assert Path(row["files"][0]).name == "loud-1-layer-cam-layer.mp4"
    assert row["broken"] == ""


@pytest.mark.parametrize("name", ["a.mp4", "b.MOV", "c.webm", "scan.nii", "scan.nii.gz", "x.npy"])
def test_media_are_told_by_their_endings(name: str) -> None:
    assert is_media(Path("folder") / name)
    assert not is_media(name + ".png")


@pytest.mark.filterwarnings("ignore:Video")
def test_torchvisions_models_see_what_their_presets_show(tmp_path: Path) -> None:
    """In videos of the size that the preset resizes to, where antialiasing makes no difference."""
    models = pytest.importorskip("torchvision.models")
    model = sightline.load("r3d_18", weights="random", device="cpu")
    assert (model.frames, model.preprocess.size, model.preprocess.resize) == (16, (112, 112), (128, 171))
    assert len(model.labels) == 400
    write_video(tmp_path / "clip.mp4", (picture(at, size=(171, 128)) for at in range(16)), RATE)
    clip = read_clip(tmp_path / "clip.mp4")
    preset = models.video.R3D_18_Weights.DEFAULT.transforms()
    frames = torch.stack([torch.from_numpy(np.array(shown)).permute(2, 0, 1) for shown in clip])
    with torch.no_grad():
        true = model.module(preset(frames)[None])
    why = explain_clip(model, clip, ["archery", "zumba"], layer="layer4")
    assert why.scores[0][0] == pytest.approx(float(true[0, model.labels.index("archery")]), abs=1e-4)
    assert why.maps.shape == (2, 2, 7, 7)
    assert why.framing.seen == (30.0, 8.0, 142.0, 120.0)
    assert np.isnan(why.heat(0)[:, :29]).all()


def test_presets_of_the_other_models_of_clips() -> None:
    pytest.importorskip("torchvision")
    from sightline.sources import torchvision_video

    assert torchvision_video.names() == (
        "mc3_18", "r2plus1d_18", "r3d_18", "s3d", "swin3d_b", "swin3d_s", "swin3d_t",
    )  # fmt: skip
    video_models = pytest.importorskip("torchvision.models.video")
    swin = torchvision_video._preprocess(video_models.Swin3D_T_Weights.DEFAULT.transforms())
    assert swin == Preprocess(size=(224, 224), resize=256)
    assert torchvision_video._preprocess(video_models.S3D_Weights.DEFAULT.transforms()).resize == (256, 256)
    with pytest.raises(ModelError, match="no model 'mvit_v2_s'"):
        sightline.load("mvit_v2_s", weights="random")


def test_a_question_is_put_to_every_frame_and_refused_where_nothing_answers(moving: Path) -> None:
    why = explain_clip(speakers.answerer(), moving, question="the least?")
    assert {asked.name for asked in why.asked} <= set(speakers.COLOURS)
    with pytest.raises(ModelError, match="sees clips and answers nothing in words"):
        explain_clip(of_clips(), moving, question="why?")
    with pytest.raises(ModelError, match="answers no questions in words"):
        explain_clip(of_pictures(), moving, question="why?")


class Fickle(speakers.Speech):
    """Says "red" of the first frame and "green" of all others."""

    said = 0

    def write(self, image: Tensor, prompt: str | None = None) -> list[int]:
        self.said += 1
        return [1 if self.said == 1 else 2]


def test_frames_that_answer_differently_are_not_put_under_one_name(moving: Path) -> None:
    net = speakers.Writer()
    model = wrap(net, preprocess=speakers.PLAIN, layer="mix", writer=Fickle(net))
    with pytest.raises(TargetError, match="the frames don't all answer the same: red in the first, green in frame 1"):
        explain_clip(model, moving, "word:1")


def test_a_frames_own_box_is_not_said_of_all(moving: Path) -> None:
    why = explain_clip(speakers.detector(), moving, "box:0,0,16,32:red")
    assert [asked.box for asked in why.asked] == [None]
