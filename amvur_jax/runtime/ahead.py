"""The next one made while the last one is still worked on."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items, in order, each made by one other thread while the caller works on the one before.

    What making one raises is raised in its place, and ends it. Close it to stop early: the one that is being
    made then is waited for.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        coming: Future[Any] = thread.submit(next, iterator, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, iterator, end)
            yield item
