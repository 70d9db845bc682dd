"""Items made by another thread while the one before is worked on."""

import itertools
import threading

import pytest

from amvur_jax.runtime.ahead import ahead


def test_items_come_in_order_and_the_next_is_made_meanwhile():
    made = [threading.Event() for _ in range(4)]

    def make(i):
        made[i].set()
        return i

    for i, item in enumerate(ahead(map(make, range(4)))):
        assert item == i
        assert made[min(i + 1, 3)].wait(60)


def test_none_is_made_that_nobody_will_ask_for():
    made = []
    some = ahead(map(made.append, itertools.count()))
    assert made == []  # not before the first is asked for
    assert next(some) is None
    some.close()
    assert len(made) == 2
    assert list(ahead([])) == []


def test_an_error_is_raised_in_its_place():
    some = ahead(1 / i for i in (1, 2, 0, 4))
    assert [next(some), next(some)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(some)
    with pytest.raises(StopIteration):
        next(some)
