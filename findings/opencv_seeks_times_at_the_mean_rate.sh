#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93, PyAV 19.0.2 (it writes the video), numpy 2.3.5, Python 3.13, Linux x86-64 (4.14.0.94 likewise).
#
# Behaviour: VideoCapture tells the true time of each frame (CAP_PROP_POS_MSEC after read()), that of a phone's variable rate too. Set to
#   one of these very times it goes elsewhere: it makes a frame number of it by the mean rate, and looks for that number by the mean
#   rate. Set to a frame number it gives another frame, and CAP_PROP_POS_FRAMES tells the number that was asked for.
# One would have guessed: that what POS_MSEC tells of a frame leads back to it.
# Output seen (frames 0 to 59; those before 30 are 20 ms apart, those after 100 ms):
OUTPUT_SEEN="times as written: True
set to the time of frames [5, 20, 30, 40]: [2, 7, 11, 46]
set to frame numbers [5, 20, 30, 40]: [5, 25, 48, 58], told [5, 20, 30, 40]"
# Remedy: read in order and keep the times; or PyAV, whose seek() takes times.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.13 "$HOME"/.pyenv/versions/3.13*/bin/python; do
    "$python" -m venv "$folder/venv" 2> /dev/null && break
done
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==19.0.2 opencv-python-headless==5.0.0.93 numpy==2.3.5
cat > "$folder/case.py" <<'PYTHON'
import fractions
import sys

import av
import cv2
import numpy as np

BITS, SIDE, MS = 8, 16, fractions.Fraction(1, 1000)
TIMES = [*range(0, 600, 20), *range(600, 3600, 100)]
ASKED = [5, 20, 30, 40]


def picture(number):
    """Columns of black and white that spell the number."""
    bits = [number >> bit & 1 for bit in range(BITS)]
    return np.kron(np.array([bits] * BITS), np.ones((SIDE, SIDE)))[..., None].repeat(3, 2).astype(np.uint8) * 220 + 16


def number(picture):
    columns = picture.reshape(BITS * SIDE, BITS, SIDE, 3).mean((0, 2, 3))
    return sum(int(mean > 128) << bit for bit, mean in enumerate(columns))


with av.open(sys.argv[1], "w") as container:
    stream = container.add_stream("libx264", rate=25)
    stream.width = stream.height = BITS * SIDE
    stream.pix_fmt, stream.time_base, stream.options = "yuv420p", MS, {"g": "12"}
    stream.codec_context.time_base = MS
    for i, time in enumerate(TIMES):
        frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
        frame.pts, frame.time_base = time, MS
        container.mux(stream.encode(frame))
    container.mux(stream.encode())

capture, times = cv2.VideoCapture(sys.argv[1]), []
while capture.read()[0]:
    times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
print("times as written:", np.allclose(times, TIMES))


def after(what, value):
    capture = cv2.VideoCapture(sys.argv[1])
    capture.set(what, value)
    told = int(capture.get(cv2.CAP_PROP_POS_FRAMES))
    return number(capture.read()[1]), told


print(f"set to the time of frames {ASKED}:", [after(cv2.CAP_PROP_POS_MSEC, times[k])[0] for k in ASKED])
found = [after(cv2.CAP_PROP_POS_FRAMES, k) for k in ASKED]
print(f"set to frame numbers {ASKED}: {[k for k, _ in found]}, told {[told for _, told in found]}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/case.py" "$folder/clip.mp4" 2> "$folder/log") || cat "$folder/log"
echo "$seen"
test "$seen" = "$OUTPUT_SEEN" || { echo "the behaviour has changed" >&2; exit 1; }
