"""State keys of many images in one buffer behave as a list of them."""

from __future__ import annotations

import pytest

from sgforge.dataset.states.state_index import as_keys
from sgforge.statekey import KEY_BYTES, StateKeys

GIVEN = [bytes([number]) * KEY_BYTES for number in (7, 3, 250)]


def test_they_are_read_as_a_list_would_be() -> None:
    keys = StateKeys(GIVEN)
    assert list(keys) == GIVEN
    assert (len(keys), keys[0], keys[-1], keys[1:]) == (3, GIVEN[0], GIVEN[2], GIVEN[1:])
    assert keys == GIVEN
    assert keys == StateKeys.of_bytes(b"".join(GIVEN))
    assert GIVEN[1] in keys
    assert b"x" * KEY_BYTES not in keys
    for row in (3, -4):
        with pytest.raises(IndexError):
            keys[row]
    assert not StateKeys()


def test_a_copy_changes_alone() -> None:
    keys = StateKeys(GIVEN)
    other = StateKeys(keys)
    other[-1] = b"z" * KEY_BYTES
    other.append(GIVEN[0])
    assert list(other) == [GIVEN[0], GIVEN[1], b"z" * KEY_BYTES, GIVEN[0]]
    assert list(keys) == GIVEN


def test_the_index_takes_them_as_it_takes_a_list() -> None:
    keys = StateKeys(GIVEN)
    found = as_keys(keys)
    keys[0] = b"z" * KEY_BYTES  # what was taken stays as it was
    assert found.tolist() == as_keys(GIVEN).tolist()
    assert found.shape == (3, KEY_BYTES)
