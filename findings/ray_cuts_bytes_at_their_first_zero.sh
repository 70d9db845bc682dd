#!/usr/bin/env bash
# ray 2.60.0 (Ray Data) with pyarrow 26.0.1 and numpy 2.3.5, Python 3.13, Linux x86-64.
#
# Behaviour: a batch function of Dataset.map_batches that returns byte strings as a NumPy array, which numpy.array makes of a list of
#   them (dtype S32), gets each cut at its first zero byte; as a list they stay whole. Arrow takes NumPy's S strings for those of C.
#   One in nine SHA-256 digests is cut so, some to nothing, and different ones become equal: keys for joins and for what is already
#   done point at others' rows. Of a PNG eight bytes stay. No warning.
# One would have guessed: that the array and the list give the same column, or that at most zeros at the end go, as NumPy has it.
# Output seen (digests of 0 to 1999, by the step of map_batches that makes a block of what a function returns; it needs no cluster):
#   list: 2000 whole, 2000 different
#   array: 1771 whole, 1994 different
# Remedy: return a list, or an array with dtype=object.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.13 "$HOME"/.pyenv/versions/3.13*/bin/python; do
    "$python" -m venv "$folder/venv" 2> /dev/null && break
done
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check \
    'ray[data]==2.60.0' pyarrow==26.0.1 numpy==2.3.5 pandas==2.3.3 typing_extensions==4.16.0
cat > "$folder/case.py" <<'PYTHON'
import hashlib
import sys

import numpy as np
from ray.data.block import BlockAccessor

COUNT = 2000


def digest(number):
    return hashlib.sha256(str(number).encode()).digest()


digests = [digest(i) for i in range(COUNT)]
found = []
for title, returned in (("list", digests), ("array", np.array(digests))):
    keys = BlockAccessor.batch_to_block({"key": returned})["key"].to_pylist()
    found.append((sum(len(key) == 32 for key in keys), len(set(keys))))
    print("{}: {} whole, {} different".format(title, *found[-1]))
sys.exit(found != [(2000, 2000), (1771, 1994)])
PYTHON
RAY_USAGE_STATS_ENABLED=0 "$folder/venv/bin/python" -W ignore "$folder/case.py" 2> "$folder/log" ||
    { tail -n 3 "$folder/log"; exit 1; }
