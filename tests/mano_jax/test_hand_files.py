"""Loading hands: MANO's own files, our .npz, and one clear error for everything else."""

import pickle

import mano_files
import numpy as np
import pytest
import scipy.sparse
from fake_mano import make_fake_mano

import mano_jax
from mano_jax import FileFormatError, load_hand, save_hand
from mano_jax.coarse import sparse_to_dense
from mano_jax.pickle_reader import StandIn

FIELDS = make_fake_mano()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mano")
    data = mano_files.python2_mano(FIELDS)
    (folder / "MANO_RIGHT.pkl").write_bytes(data)
    (folder / "MANO_LEFT.pkl").write_bytes(data)
    return folder


def _assert_is_fake(hand):
    for ours, theirs in {
        "v_template": "v_template",
        "shapedirs": "shapedirs",
        "posedirs": "posedirs",
        "joint_regressor": "J_regressor",
        "weights": "weights",
        "components": "hands_components",
        "mean_pose": "hands_mean",
        "faces": "f",
    }.items():
        np.testing.assert_allclose(getattr(hand, ours), FIELDS[theirs], atol=1e-7)
    assert hand.parents == mano_jax.topology.PARENTS
    assert hand.v_template.dtype == np.float32 and hand.faces.dtype == np.int32


def test_python2_pickle_with_chumpy_and_scipy_loads(folder):
    hand = load_hand(folder / "MANO_RIGHT.pkl")
    _assert_is_fake(hand)
    assert hand.side == "right" and hand.name == "MANO_RIGHT.pkl"
    _assert_is_fake(load_hand(folder))


def test_python3_pickle_loads(tmp_path):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickle.dumps({k: v for k, v in FIELDS.items() if k != "D_idx"}, 4))
    _assert_is_fake(load_hand(path))


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_python2_pickle_of_every_protocol_loads(tmp_path, protocol):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(mano_files.python2_mano(FIELDS, protocol=protocol))
    _assert_is_fake(load_hand(path))


@pytest.mark.parametrize("dumps", [pickle.dumps, mano_files.numpy1_bytes], ids=["numpy2", "numpy1"])
@pytest.mark.parametrize("sparse", [scipy.sparse.csc_matrix, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("protocol", range(6))
def test_file_without_chumpy_loads(tmp_path, protocol, sparse, dumps):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(dumps(mano_files.clean_mano(FIELDS, sparse), protocol))
    _assert_is_fake(load_hand(path))


def test_modern_scipy_module_name_loads(tmp_path):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(mano_files.python2_mano(FIELDS, "scipy.sparse._csc"))
    _assert_is_fake(load_hand(path))


def test_left_file_gets_the_sign_of_its_shape_directions(folder):
    left = load_hand(folder, side="left")
    expected = FIELDS["shapedirs"] * np.array([-1, 1, 1])[:, None]
    np.testing.assert_allclose(left.shapedirs, expected, atol=1e-7)
    as_published = load_hand(folder / "MANO_LEFT.pkl", side="left", fix_left_shapedirs=False)
    np.testing.assert_allclose(as_published.shapedirs, FIELDS["shapedirs"], atol=1e-7)
    with pytest.raises(FileFormatError, match="other side"):
        load_hand(folder / "MANO_LEFT.pkl", side="right")


FLIP = np.array([-1.0, 1.0, 1.0])


def _write_hands(folder, left_shapedirs, right_shapedirs=None):
    """MANO_LEFT.pkl, the mirror image of the fake hand, with these directions, and a right one."""
    left = FIELDS | {"v_template": FIELDS["v_template"] * FLIP, "shapedirs": left_shapedirs}
    (folder / "MANO_LEFT.pkl").write_bytes(mano_files.python2_mano(left))
    if right_shapedirs is not None:
        right = mano_files.python2_mano(FIELDS | {"shapedirs": right_shapedirs})
        (folder / "MANO_RIGHT.pkl").write_bytes(right)


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("name", ["", "MANO_LEFT.pkl"])
def test_left_hand_is_the_right_one_mirrored_whichever_left_file_there_is(
    tmp_path, corrected, name
):
    """As published its directions are the right hand's; corrected they are mirrored: a law."""
    directions = FIELDS["shapedirs"]
    _write_hands(tmp_path, directions * FLIP[:, None] if corrected else directions, directions)
    betas = np.linspace(-2, 2, 10)
    left = load_hand(tmp_path / name, side="left").with_shape(betas)
    right = load_hand(tmp_path).with_shape(betas)
    np.testing.assert_allclose(left.vertices, right.vertices * FLIP, atol=1e-6)


@pytest.mark.parametrize("right", ["absent", "damaged", "another model"])
def test_left_file_alone_is_taken_for_the_published_one(tmp_path, right):
    directions = FIELDS["shapedirs"]
    other = np.random.default_rng(5).normal(size=directions.shape)
    _write_hands(tmp_path, directions, other if right == "another model" else None)
    if right == "damaged":
        (tmp_path / "MANO_RIGHT.pkl").write_bytes(b"<html>please log in</html>")
    left = load_hand(tmp_path, side="left")
    np.testing.assert_allclose(left.shapedirs, directions * FLIP[:, None], atol=1e-7)


@pytest.mark.parametrize("fix", [True, False])
def test_argument_beats_the_comparison(tmp_path, fix):
    directions = FIELDS["shapedirs"]
    for of_left in (directions, directions * FLIP[:, None]):
        _write_hands(tmp_path, of_left, directions)
        left = load_hand(tmp_path, side="left", fix_left_shapedirs=fix)
        expected = of_left * FLIP[:, None] if fix else of_left
        np.testing.assert_allclose(left.shapedirs, expected, atol=1e-7)


def test_saved_hand_loads_back(tmp_path, folder):
    hand = load_hand(folder)
    save_hand(tmp_path / "mine.npz", hand)
    again = load_hand(tmp_path / "mine.npz")
    for field in ("v_template", "posedirs", "faces", "coarse", "mean_pose"):
        np.testing.assert_array_equal(getattr(again, field), getattr(hand, field))
    assert again.name == hand.name
    with pytest.raises(FileFormatError, match="side='right'"):
        load_hand(tmp_path / "mine.npz", side="left")
    with pytest.raises(ValueError, match=r"\.npz"):
        save_hand(tmp_path / "mine.pkl", hand)


def test_published_downsampling_file_loads(tmp_path, folder):
    matrix = np.zeros((195, 778))
    matrix[np.arange(195), FIELDS["D_idx"]] = 1.0
    matrix[3, 5] = 0.25
    mano_files.write_downsampling(tmp_path / "mano_downsampling.npz", matrix)
    hand = load_hand(folder, downsampling=tmp_path / "mano_downsampling.npz")
    np.testing.assert_array_equal(hand.coarse, matrix)


@pytest.mark.parametrize(
    "name, content",
    [
        ("no zip", b"hello"),
        ("no D", None),
        ("wrong size", np.eye(4)),
        ("evil", "evil"),
        ("numbers that are none", np.full((195, 778), np.nan)),
    ],
)
def test_bad_downsampling_file_is_named(tmp_path, name, content):
    path = tmp_path / "down.npz"
    if name == "no zip":
        path.write_bytes(content)
    elif name == "no D":
        np.savez(path, A=np.eye(3))
    elif name == "evil":

        class Evil:
            def __reduce__(self):
                return (exec, (f"open({str(tmp_path / 'trap')!r}, 'w')",))

        holder = np.empty(1, object)
        holder[0] = Evil()
        np.savez(path, D=holder)
    else:
        mano_files.write_downsampling(path, content)
    with pytest.raises(FileFormatError, match=r"down\.npz.*D"):
        load_hand(downsampling=path)
    assert not (tmp_path / "trap").exists()


def _changed(**fields):
    content = {k: v for k, v in FIELDS.items() if k != "D_idx"} | fields
    return pickle.dumps({k: v for k, v in content.items() if v is not None}, 4)


def _with(key, index, value):
    array = np.array(FIELDS[key])
    array[index] = value
    return _changed(**{key: array})


BAD = {
    "empty": (b"", "MANO_RIGHT.pkl"),
    "text": (b"<html>please log in</html>", "MANO_RIGHT.pkl"),
    "no dictionary": (pickle.dumps([1, 2]), "no dictionary"),
    "field absent": (_changed(weights=None), "weights"),
    "field is text": (_changed(f="faces"), "f holds no numbers"),
    "wrong shape": (_changed(posedirs=np.zeros((778, 3, 207))), "posedirs"),
    "wrong vertices": (_changed(v_template=np.zeros((6890, 3))), "v_template"),
    "no directions": (_changed(shapedirs=np.ones(())), "shapedirs"),
    "flat directions": (_changed(shapedirs=np.zeros((778, 30))), "shapedirs"),
    "nan": (_with("shapedirs", (5, 1, 2), np.nan), "shapedirs"),
    "face out of range": (_with("f", (0, 0), 778), "faces"),
    "parents in a ring": (_with("kintree_table", (0, 3), 9), "parents"),
    "wrong kintree": (_changed(kintree_table=np.zeros((2, 24), int)), "kintree_table"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_mano_file_is_one_clear_error(tmp_path, case):
    data, field = BAD[case]
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(data)
    with pytest.raises(FileFormatError) as caught:
        load_hand(path)
    message = str(caught.value)
    assert str(path) in message and field in message
    assert "\n" not in message and "mano.is.tue.mpg.de" in message


@pytest.mark.parametrize("kind", ["csc_matrix", "csr_matrix"])
def test_damaged_sparse_matrix_is_refused(kind):
    made = getattr(scipy.sparse, kind)(FIELDS["J_regressor"])
    good = {k: getattr(made, k) for k in ("data", "indices", "indptr")} | {"_shape": made.shape}
    dense = sparse_to_dense(StandIn(kind, good), "x", "J")
    np.testing.assert_array_equal(dense, FIELDS["J_regressor"])
    for change in (
        {"_shape": (1 << 40, 778)},
        {"_shape": (778, 16)},
        {"indptr": good["indptr"] * 1000000},
        {"indices": good["indices"] - 778},
        {"indices": good["indices"] + 778},
        {"data": None},
    ):
        with pytest.raises(FileFormatError, match="x: J"):
            sparse_to_dense(StandIn(kind, good | change), "x", "J")


def test_absent_files_and_bad_npz(tmp_path):
    with pytest.raises(FileFormatError, match=r"MANO_RIGHT\.pkl.*no such file"):
        load_hand(tmp_path)
    with pytest.raises(FileFormatError, match=r"absent\.npz"):
        load_hand(tmp_path / "absent.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(FileFormatError, match=r"bad\.npz"):
        load_hand(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    with pytest.raises(FileFormatError, match=r"other\.npz.*v_template"):
        load_hand(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="side='both'"):
        load_hand(side="both")
