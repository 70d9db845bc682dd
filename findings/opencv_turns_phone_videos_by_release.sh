#!/usr/bin/env bash
# opencv-python-headless 4.11.0.86 beside 4.13.0.90 and 5.0.0.93, Python 3.11, Linux x86-64.
#
# Behaviour: a phone held upright writes frames that lie on their side, and in the MP4's track header the matrix that turns them.
#   VideoCapture of 4.11 reads the turn (CAP_PROP_ORIENTATION_META is 90) and gives the frames as they lie; later releases turn
#   them. CAP_PROP_ORIENTATION_AUTO is 0 in 4.11 and 1 in later ones; set to 1, 4.11 turns them too.
# One would have guessed: that the same file has the same width and height in all releases, those that a player shows.
# Output seen, for frames of 64 x 32 with a turn of 90 degrees:
OUTPUT_SEEN="4.11.0: meta 90, auto 0, frames 64 x 32, after set 32 x 64
4.13.0: meta 90, auto 1, frames 32 x 64, after set 32 x 64
5.0.0: meta 90, auto 1, frames 32 x 64, after set 32 x 64"
# Remedy: set CAP_PROP_ORIENTATION_AUTO yourself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" --quiet --disable-pip-version-check "$@" 2> /dev/null; }
cat > "$folder/look.py" <<'PYTHON'
"""A video whose track header has a quarter turn, and what VideoCapture makes of it."""
import struct
import sys

import cv2
import numpy as np

path, width, height = sys.argv[1], 64, 32
writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"mp4v"), 25, (width, height))
for i in range(5):
    writer.write(np.full((height, width, 3), 40 * i, np.uint8))
writer.release()
data = bytearray(open(path, "rb").read())
place = data.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2: the matrix of a header of version 0
data[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, height << 16, 0, 1 << 30)
open(path, "wb").write(data)


def size(turn=None):
    capture = cv2.VideoCapture(path)
    if turn is not None:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, turn)
    kept = [int(capture.get(p)) for p in (cv2.CAP_PROP_ORIENTATION_META, cv2.CAP_PROP_ORIENTATION_AUTO)]
    return *kept, " x ".join(map(str, capture.read()[1].shape[1::-1]))


meta, auto, plain = size()
print(f"{cv2.__version__}: meta {meta}, auto {auto}, frames {plain}, after set {size(1)[2]}")
PYTHON
seen=""
for release in 4.11.0.86 4.13.0.90 5.0.0.93; do
    pip install "opencv-python-headless==$release" 'numpy>=2,<3'
    seen+="$("$folder/venv/bin/python" "$folder/look.py" "$folder/clip.mp4")"$'\n'
done
printf '%s' "$seen"
test "${seen%$'\n'}" = "$OUTPUT_SEEN" || { echo "the behaviour has changed" >&2; exit 1; }
