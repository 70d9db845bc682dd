"""The streaming JSON reader against the standard library's."""

import io
import json

import numpy as np
import pytest

from amvur_jax.errors import UserError
from amvur_jax.files import json_arrays
from amvur_jax.files.json_arrays import JsonArrays

SHAPE = (4, 3)


def read(text):
    reader = JsonArrays(io.BytesIO(text if isinstance(text, bytes) else text.encode()), "some.json")
    samples = reader.samples(SHAPE)
    reader.end()
    return samples


@pytest.mark.parametrize("chunk", [1, 7, 100, 1 << 20])
@pytest.mark.parametrize("layout", [{}, {"indent": 2}, {"separators": (",", ":")}])
def test_it_reads_what_json_reads_wherever_the_chunks_end(monkeypatch, chunk, layout):
    monkeypatch.setattr(json_arrays, "_CHUNK", chunk)
    expected = np.random.default_rng(0).normal(size=(5, *SHAPE))
    expected[2] = [[-3, 0, 12]] * 4
    np.testing.assert_array_equal(read(json.dumps(expected.tolist(), **layout)), expected)


def test_an_empty_list():
    assert read(" [ ] ").shape == (0, *SHAPE)


GOOD = np.ones((2, *SHAPE)).tolist()


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is cut"),
        ("{}", "'{' where"),
        (json.dumps(GOOD)[:-1], "is cut"),
        (json.dumps(GOOD)[:-30], "entry 1 is no"),
        (json.dumps([*GOOD, None]), "entry 2"),
        (json.dumps([*GOOD, [[1, 2], [3]]]), "entry 2"),
        (json.dumps([*GOOD, [[1, 2, 3]]]), r"entry 2 has shape \(1, 3\)"),
        (json.dumps([GOOD[0], [["a"] * 3] * 4]), "entry 1"),
        (json.dumps([GOOD[0], [[float("nan")] * 3] * 4]), "entry 1 holds NaN"),
        (json.dumps(GOOD).replace("1.0", "1e999", 1), "entry 0 holds NaN or infinity"),
        (json.dumps(GOOD).replace("1.0", "1" + "0" * 400, 1), "entry 0 is no"),
        (json.dumps(GOOD) + "]", "goes on"),
        (b"\xff\xfe[[", "where one of"),
        ("[" * 100_000, "entry 0"),
    ],
)
def test_damaged_files_name_the_file(text, message):
    with pytest.raises(UserError, match=f"some.json: .*({message})"):
        read(text)
