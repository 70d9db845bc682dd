"""Groups: samples of one sequence side by side, near in time, the same wherever a run goes on."""

import itertools
import json

import numpy as np
import pytest
from labels import labelled_hand
from trees import write_ho3d

from amvur_jax.data.batches import train_batches
from amvur_jax.data.groups import Grouping
from amvur_jax.data.mixture import Mixture
from amvur_jax.data.readers.hands_csv import write_hands
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.data.readers.photos import Photos
from amvur_jax.errors import UserError

TRAIN = 12
GROUPING = Grouping(3, 4)


class Frames:
    """As much of a data set as the order needs: (sequence, number) of each frame, or none."""

    root, reach = "frames", None

    def __init__(self, moments, count=0, endless=False):
        self.moments, self.count, self.endless = moments, count or len(moments), endless

    def __len__(self):
        return self.count


def film(sequences, length, step=1):
    return [(f"S{s}", step * i) for s in range(sequences) for i in range(length)]


def groups_of(mixture, count, number):
    order = mixture.order(3, Grouping(count, 10))
    places = [order[i] for i in range(count * number)]
    return [places[i : i + count] for i in range(0, len(places), count)]


def test_a_group_holds_near_frames_of_one_sequence_each_once():
    moments = film(5, 40, step=2)
    groups = groups_of(Mixture((Frames(moments),)), 4, 400)
    for group in groups:
        (source, first), *_ = group
        sequence, time = moments[first]
        assert source == 0 and len(set(group)) == 4
        for _, i in group:
            assert moments[i][0] == sequence and abs(moments[i][1] - time) <= 10
    # the first ones are an epoch of every frame, and all frames are drawn beside them
    assert sorted(group[0][1] for group in groups[:200]) == list(range(200))
    assert {i for group in groups for _, i in group[1:]} == set(range(200))


def test_where_a_sequence_has_too_few_frames_others_fill_the_group():
    moments = [("A", 0), ("A", 1), ("B", 0), *film(1, 6), ("", 0)]
    for group in groups_of(Mixture((Frames(moments),)), 3, 60):
        first = moments[group[0][1]][0]
        beside = [moments[i][0] for _, i in group[1:]]
        assert len(group) == 3
        if first == "A":
            assert beside[0] == "A"
        if first == "S0":
            assert beside == ["S0", "S0"]


def test_a_mix_keeps_its_shares_and_what_has_no_end_its_order():
    mixture = Mixture((Frames(film(4, 50)), Frames(None, 10**9, endless=True)), (1.0, 3.0))
    groups = groups_of(mixture, 4, 400)
    endless = [[i for _, i in group] for group in groups if group[0][0] == 1]
    assert len(endless) == 300
    assert [i for group in endless for i in group] == list(range(1200))
    assert all(len({source for source, _ in group}) == 1 for group in groups)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("HO3D")
    write_ho3d(root, train=TRAIN, evaluation=1, suffix=".jpg")
    return root


def take(batches, count):
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def grouped_batches(tree, grouping=GROUPING, **more):
    return train_batches(HO3D(tree), 32, 6, seed=3, grouping=grouping, **more)


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for name in x:
            np.testing.assert_array_equal(x[name], y[name], err_msg=name)


def test_samples_say_their_sequence_and_time(tree):
    for batch in take(grouped_batches(tree), 4):
        names = [HO3D(tree).names[i] for i in batch["index"]]
        sequences = batch["sequence"].reshape(2, 3)
        assert (sequences == sequences[:, :1]).all() and batch["sequence"].dtype == np.int32
        for name, other in itertools.combinations(range(6), 2):
            same = names[name][:3] == names[other][:3]
            assert same == (batch["sequence"][name] == batch["sequence"][other])
        numbers = np.array([int(name[-4:]) for name in names])
        np.testing.assert_array_equal(batch["time"], np.float32(numbers / 4))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_grouped_run_goes_on_where_it_stopped_and_its_processes_share_it(tree, workers):
    whole = take(grouped_batches(tree), 5)
    first = grouped_batches(tree, workers=workers)
    assert_same(whole[:2], list(itertools.islice(first, 2)))
    state = json.loads(json.dumps(first.get_state()))
    first.close()
    again = grouped_batches(tree)
    again.set_state(state)
    assert_same(whole[2:], take(again, 3))
    for p in range(2):
        share = take(grouped_batches(tree, process_index=p, process_count=2), 2)
        for batch, part in zip(whole, share):
            for name, values in part.items():
                np.testing.assert_array_equal(values, batch[name][3 * p : 3 * p + 3])


def test_groups_of_one_are_no_groups(tree):
    plain = train_batches(HO3D(tree), 32, 6, seed=3)
    of_one = grouped_batches(tree, Grouping(1, 30))
    assert plain.get_state() == of_one.get_state()
    assert_same(take(plain, 2), take(of_one, 2))


def test_what_cannot_be_grouped_is_refused_by_name(tree):
    with pytest.raises(UserError, match=r"config\.data\.group: 2 samples.*groups of 3"):
        grouped_batches(tree, process_count=3)
    alone = Mixture((Frames([("", 0)] * 9), Frames(None, 9)))
    with pytest.raises(UserError, match=r"config\.data\.group=3: no frame of frames, frames"):
        train_batches(alone, 32, 6, seed=0, grouping=GROUPING)
    state = grouped_batches(tree).get_state()
    for other in (Grouping(2, 4), Grouping(3, 5), None):
        with pytest.raises(UserError, match=r"for group \[3, 4\], this run has"):
            grouped_batches(tree, other).set_state(state)


def test_of_photographs_the_hands_of_videos_have_a_sequence_pictures_of_a_folder_none(tmp_path):
    joints = np.tile([[30.0, 40.0]], (21, 1))
    labels = [
        {"file": "clip-1/000025.jpg", "frame": 25},
        {"file": "clip-1/000025.jpg", "frame": 25, "hand": 1, "side": "left"},
        {"file": "clip-1/000030.jpg", "frame": 30},
        {"file": "some/a.jpg", "frame": 0, "sequence": "some"},
        {"file": "some/b.jpg", "frame": 1, "sequence": "some"},
    ]
    write_hands(
        tmp_path / "hands.csv", [labelled_hand(joints, np.ones(21), **one) for one in labels]
    )
    moments = Photos(tmp_path).moments
    assert [time for _, time in moments] == [25, 25, 30, 0, 1]
    first, left, later, *pictures = [name for name, _ in moments]
    assert first == later != left and first and left and pictures == ["", ""]
