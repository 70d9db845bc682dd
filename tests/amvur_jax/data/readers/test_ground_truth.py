"""What all readers do with their ground truth."""

import pickle

import numpy as np
import pytest

from amvur_jax.data.layouts import LAYOUTS
from amvur_jax.data.readers.records import Records


@pytest.mark.parametrize("reader", [*{row.reader: 0 for row in LAYOUTS.values()}, Records])
def test_no_reader_takes_its_ground_truth_to_another_process(reader):
    one = object.__new__(reader)
    one.__dict__ |= {"ground_truth": np.zeros((100, 778, 3)), "root": "DIR"}
    again = pickle.loads(pickle.dumps(one))
    assert again.root == "DIR" and "ground_truth" not in vars(again)
    assert "ground_truth" in vars(one)
