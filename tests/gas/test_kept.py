"""Values that are made once and kept."""

from __future__ import annotations

from sgforge_gas.kept import Kept


def test_each_value_is_made_once_until_as_many_are_kept_as_may_be() -> None:
    made: list[int] = []

    def doubled(number: int) -> int:
        made.append(number)
        return 2 * number

    kept = Kept(doubled, 2)
    assert [kept[number] for number in (1, 1, 5, 7, 7, 5, 1)] == [2, 2, 10, 14, 14, 10, 2]
    assert made == [1, 5, 7, 7]
    assert len(kept) == 2
