"""What a process loads and computes once."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sgforge.stages import Resources, Shared


class Weights:
    """Something that is large."""


def test_a_value_is_made_once_for_as_long_as_someone_holds_it():
    shared, made = Shared(), []

    def make():
        made.append(Weights())
        return made[-1]

    one, other = shared.get("w", make), shared.get("w", make)
    assert one is other
    assert len(made) == 1
    assert shared.get("v", make) is not one
    made.clear()
    del one, other
    shared.get("w", make)
    assert len(made) == 1, "nobody held it any more"


def test_threads_that_ask_at_the_same_time_get_one_value_and_other_keys_do_not_wait():
    shared, begun, may_end, made = Shared(), threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        assert may_end.wait(30)
        made.append(1)
        return Weights()

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(shared.get, "slow", slow) for _ in range(3)]
        assert begun.wait(30)
        assert isinstance(pool.submit(shared.get, "fast", Weights).result(30), Weights)
        may_end.set()
        assert len({id(one.result(30)) for one in asked}) == 1
    assert made == [1]


def test_what_has_a_size_is_kept_up_to_the_limit_the_last_used_longest():
    shared, made = Shared(max_bytes=100), []

    def get(key):
        def make():
            made.append(key)
            return np.zeros(5)

        return shared.get(key, make, size=lambda value: value.nbytes)

    for key in "abaca":  # 40 bytes each: two stay
        get(key)
    assert made == ["a", "b", "c"]
    get("b")
    assert made == ["a", "b", "c", "b"]
    held = get("d")
    get("e"), get("f")
    assert get("d") is held, "it is not kept any more, but someone holds it"
    assert made.count("d") == 1


def test_what_is_larger_than_the_limit_is_not_kept():
    shared = Shared(max_bytes=10)
    assert shared.get("a", lambda: (1, 2), size=11) == (1, 2)
    assert shared.get("a", lambda: (3, 4), size=1) == (3, 4)


def test_a_making_that_fails_is_tried_again():
    shared = Shared()

    def fail():
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        shared.get("a", fail)
    assert isinstance(shared.get("a", Weights), Weights)


def test_one_making_may_need_another():
    shared = Shared()
    assert shared.get("a", lambda: [shared.get("b", lambda: [1], size=8)], size=8) == [[1]]


def test_what_cannot_be_held_weakly_must_have_a_size():
    with pytest.raises(TypeError, match="a tuple cannot be shared without a size"):
        Shared().get("a", lambda: (1,))


def test_none_is_no_value_to_share():
    with pytest.raises(TypeError, match="NoneType"):
        Shared().get("a", lambda: None)


def test_all_components_of_a_process_have_one_store_and_another_process_its_own():
    assert Resources().shared is Resources(seed=3).shared
    assert pickle.loads(pickle.dumps(Resources())).shared is Resources().shared
