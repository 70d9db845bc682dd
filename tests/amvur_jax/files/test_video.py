"""Videos read and written: times, turns, and what is wrong with files."""

import os
import sys

import numpy as np
import pytest
from videos import cut, of_unknown_codec, retimed, turned, write_video

from amvur_jax.errors import UserError
from amvur_jax.files.video import (
    Length,
    VideoWriter,
    ended_early,
    is_video,
    read_frames,
    said_length,
)

WIDTH, HEIGHT, COUNT = 64, 48, 12


def picture(i):
    """Grey that grows with i, its upper left quarter red."""
    image = np.full((HEIGHT, WIDTH, 3), 20 * i, np.uint8)
    image[: HEIGHT // 2, : WIDTH // 2] = (255, 0, 0)
    return image


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "clip.mp4", [picture(i) for i in range(COUNT)])


def grey(image):
    return image[-10:, -10:].mean() / 20


def test_frames_are_read_in_order_with_their_times_and_colours(clip):
    frames = list(read_frames(clip))
    assert [frame.number for frame in frames] == list(range(COUNT))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(COUNT) / 25)
    np.testing.assert_allclose([grey(frame.image) for frame in frames], np.arange(COUNT), atol=0.2)
    np.testing.assert_allclose(frames[3].image[5, 5], [255, 0, 0], atol=12)  # RGB
    assert said_length(clip) == Length(COUNT, 25.0)
    assert not ended_early(said_length(clip), [frame.time_s for frame in frames])


def test_times_are_the_files_own_where_the_rate_varies(clip, tmp_path):
    steps = [512] * 4 + [2048] * 4 + [256] * 4
    (tmp_path / "vfr.mp4").write_bytes(retimed(clip.read_bytes(), steps))
    times = [frame.time_s for frame in read_frames(tmp_path / "vfr.mp4")]
    wanted = np.cumsum([0, *steps[:-1]]) / 12800
    np.testing.assert_allclose(times, wanted, atol=1e-3)
    assert np.abs(wanted - np.arange(COUNT) * wanted[-1] / (COUNT - 1)).max() > 0.1  # no even rate


def test_a_phones_turn_is_honoured(clip, tmp_path):
    (tmp_path / "upright.mov").write_bytes(turned(clip.read_bytes(), WIDTH, HEIGHT))
    image = next(read_frames(tmp_path / "upright.mov")).image
    assert image.shape == (WIDTH, HEIGHT, 3)
    # clockwise: what was at the upper left is at the upper right
    np.testing.assert_allclose(image[5, -5], [255, 0, 0], atol=12)
    np.testing.assert_allclose(image[5, 5], 0, atol=12)


@pytest.mark.parametrize("kind", ["missing", "empty", "cut", "junk", "codec", "no frames"])
def test_what_cannot_be_read_is_named_with_its_remedy(clip, tmp_path, kind):
    path = tmp_path / "bad.mp4"
    data = clip.read_bytes()
    if kind == "no frames":
        write_video(path, [picture(0)])
        path.write_bytes(cut(path.read_bytes(), 0.0))
    elif kind != "missing":
        path.write_bytes(
            {
                "empty": b"",
                "cut": data[: len(data) // 2],
                "junk": b"nothing" * 100,
                "codec": of_unknown_codec(data),
            }[kind]
        )
    with pytest.raises(
        UserError, match=r"bad\.mp4: (there is no such|.*`ffmpeg -i bad\.mp4 .*264)"
    ):
        list(read_frames(path))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_path_that_is_no_utf8_is_named(clip, tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.mp4")
    path.write_bytes(clip.read_bytes())
    with pytest.raises(UserError, match=r"no UTF-8.*rename it"):
        list(read_frames(path))
    with pytest.raises(OSError, match="no UTF-8"):
        VideoWriter(path, (64, 48), [0.0]).__enter__()
    assert path.read_bytes() == clip.read_bytes()


def test_of_a_video_that_ends_early_what_is_there_is_read(clip, tmp_path):
    path = tmp_path / "early.mp4"
    path.write_bytes(cut(clip.read_bytes(), 0.5))
    frames = list(read_frames(path))
    assert 2 <= len(frames) < COUNT
    np.testing.assert_allclose(
        [grey(frame.image) for frame in frames[:-1]], np.arange(len(frames) - 1), atol=0.2
    )
    assert said_length(path).frames == COUNT
    assert ended_early(said_length(path), [frame.time_s for frame in frames])


def test_a_count_that_is_a_little_off_is_no_early_end():
    times = list(np.arange(98) / 25)
    assert not ended_early(Length(100, 25.0), times)
    assert not ended_early(Length(0, 25.0), times)
    # a rate that varies: fewer frames than an even rate would have, but all the time
    assert not ended_early(Length(100, 25.0), [*times[:50], *times[50::2]])
    assert ended_early(Length(100, 25.0), times[:90])


def test_a_written_video_is_in_time_with_frames_of_any_times(tmp_path):
    times = [0.5, 0.54, 0.58, 0.7, 0.74]  # two frames are missing after the third
    path = tmp_path / "out.mp4"
    with VideoWriter(path, (WIDTH, HEIGHT), times) as video:
        for i in range(len(times)):
            video.write(picture(2 * i))
    frames = list(read_frames(path))
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    for frame in frames:  # each shows what is the newest at its time, within half of its step
        step = 0.5 / video.rate + 1e-3
        shown = round(grey(frame.image) / 2)
        now = frame.time_s + times[0]
        ends = [*times[1:], np.inf]
        assert times[shown] - step <= now <= ends[shown] + step
    assert {round(grey(frame.image) / 2) for frame in frames} == set(range(5))
    np.testing.assert_allclose(frames[0].image[5, 5], [255, 0, 0], atol=12)


def test_a_video_that_is_not_finished_is_not_there(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        VideoWriter(tmp_path / "out.mp4", (WIDTH, HEIGHT), [0.0, 0.1]) as video,
    ):
        video.write(picture(0))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with (
        pytest.raises(OSError, match=r"0 of 1 frames are in the file"),
        VideoWriter(tmp_path / "out.mp4", (WIDTH, HEIGHT), [0.0]) as video,
    ):
        video.write(picture(0))
        video._video.release()
        (tmp_path / "out.part.mp4").write_bytes(b"")  # as on a full disk
    assert not list(tmp_path.iterdir())
    with (
        pytest.raises(OSError, match="No such file"),
        VideoWriter(tmp_path / "missing" / "out.mp4", (WIDTH, HEIGHT), [0.0]),
    ):
        pass


@pytest.mark.parametrize("rate", [23.976, 29.97, 59.94, 17.123456, 240.0])
def test_usual_and_unusual_rates_are_written(tmp_path, rate):
    times = list(np.arange(6) / rate)
    with VideoWriter(tmp_path / "out.mp4", (WIDTH, HEIGHT), times) as video:
        for i in range(6):
            video.write(picture(i))
    found = [frame.time_s for frame in read_frames(tmp_path / "out.mp4")]
    np.testing.assert_allclose(found, times, atol=2e-3)


def test_videos_are_known_by_their_names(tmp_path):
    assert is_video(tmp_path / "a.MP4") and is_video(tmp_path / "b.webm")
    assert not is_video(tmp_path / "a.jpg") and not is_video(tmp_path / "mp4")
