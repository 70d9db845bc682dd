"""At which step a worker died, and that the third does not begin it; a worker dies by leaving no end."""

from amvur_jax.bulk.notes import Notes


def begun(path, steps, dies_at=None):
    """The steps that a worker may begin."""
    notes = Notes(path).__enter__()
    found = []
    for step in steps:
        if notes.begin(step):
            found.append(step)
            if step == dies_at:
                notes._file.close()
                return found
    notes.__exit__(None, None, None)
    return found


def test_a_step_at_which_two_have_died_is_not_begun_again(tmp_path):
    path = tmp_path / "notes"
    assert begun(path, range(20), dies_at=12) == list(range(13))
    assert begun(path, range(20), dies_at=1) == [0, 1]  # another one: each is tried once more
    assert begun(path, range(20), dies_at=12) == list(range(13))
    assert begun(path, range(20)) == [i for i in range(20) if i != 12]


def test_what_has_ended_did_not_die(tmp_path):
    for _ in range(4):
        assert begun(tmp_path / "notes", range(3)) == [0, 1, 2]
    for _ in range(3):  # before its first step
        Notes(tmp_path / "notes")._file.close()
    assert begun(tmp_path / "notes", range(3)) == [0, 1, 2]
