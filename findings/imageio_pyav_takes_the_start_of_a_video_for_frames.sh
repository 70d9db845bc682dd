#!/usr/bin/env bash
# imageio 2.38.1 with its plugin pyav, PyAV 19.0.2, numpy 2.3.5, Python 3.13, Linux x86-64.
#
# Behaviour: imageio.v3.imread(video, index=k, plugin="pyav") counts k from time zero. Where the first picture is later than that, as
#   in what was cut from a longer film or starts after its sound, it counts the empty time as frames and gives one that is too early
#   (the first one for all k before it). The rate is constant, the MP4 or Matroska valid; imiter() and plugin="FFMPEG" count right.
# One would have guessed: that index=k is frame k of imiter(); the docstring speaks of the index of a frame, and of a constant rate,
#   which this one has.
# Output seen (which frame comes for 0, 1, 5, 20, 30 and 50, of 60 frames at 25 a second):
OUTPUT_SEEN="starts at 0.00: imiter [0, 1, 5, 20, 30, 50], index= [0, 1, 5, 20, 30, 50]
starts at 0.48: imiter [0, 1, 5, 20, 30, 50], index= [0, 1, 0, 8, 18, 38]"
# Remedy: constant_framerate=False, which reads from the first frame on; or imiter().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.13 "$HOME"/.pyenv/versions/3.13*/bin/python; do
    "$python" -m venv "$folder/venv" 2> /dev/null && break
done
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check imageio==2.38.1 av==19.0.2 numpy==2.3.5 pillow==12.0.0
cat > "$folder/case.py" <<'PYTHON'
import fractions
import sys

import av
import imageio.v3 as iio
import numpy as np

BITS, SIDE, MS = 8, 16, fractions.Fraction(1, 1000)


def picture(number):
    """Columns of black and white that spell the number."""
    bits = [number >> bit & 1 for bit in range(BITS)]
    return np.kron(np.array([bits] * BITS), np.ones((SIDE, SIDE)))[..., None].repeat(3, 2).astype(np.uint8) * 220 + 16


def number(picture):
    columns = picture.reshape(BITS * SIDE, BITS, SIDE, 3).mean((0, 2, 3))
    return sum(int(mean > 128) << bit for bit, mean in enumerate(columns))


def write(path, start_ms):
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = BITS * SIDE
        stream.pix_fmt, stream.time_base, stream.options = "yuv420p", MS, {"g": "12"}
        stream.codec_context.time_base = MS
        for i in range(60):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            frame.pts, frame.time_base = start_ms + 40 * i, MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


for start_ms in (0, 480):
    write(sys.argv[1], start_ms)
    wanted = (0, 1, 5, 20, 30, 50)
    in_order = [number(image) for image in iio.imiter(sys.argv[1], plugin="pyav")]
    single = [number(iio.imread(sys.argv[1], index=k, plugin="pyav")) for k in wanted]
    slow = [number(iio.imread(sys.argv[1], index=k, plugin="pyav", constant_framerate=False)) for k in wanted]
    assert slow == [*wanted] and in_order == [*range(60)]
    print(f"starts at {start_ms / 1000:.2f}: imiter {[in_order[k] for k in wanted]}, index= {single}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/case.py" "$folder/clip.mp4" 2> "$folder/log") || cat "$folder/log"
echo "$seen"
test "$seen" = "$OUTPUT_SEEN" || { echo "the behaviour has changed" >&2; exit 1; }
