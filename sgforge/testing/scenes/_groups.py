"""The small groups that things of a scene stand in, with the facts that hold there.

Each kind of interaction has a look-alike group without it, so that no label alone tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from sgforge.graph import Category
from sgforge.testing.scenes import _makers as make
from sgforge.testing.scenes._dice import Dice
from sgforge.testing.scenes._things import Thing

__all__ = ["GROUPS", "Fact", "Group"]


@attrs.frozen
class Fact:
    """What the generator knows to hold between two things because it put them so."""

    subject: int
    predicate: str
    object: int
    category: Category


@attrs.frozen
class Group:
    """Things that stand together around X = 0 with their front at D = 0; facts index the group's things."""

    things: tuple[Thing, ...]
    facts: tuple[Fact, ...] = ()


_Maker: TypeAlias = Callable[[Dice], Thing]


def _alone(dice: Dice) -> Group:
    makers: tuple[_Maker, ...] = (
        make.ball,
        make.crate,
        make.cone,
        make.tree,
        make.tree,
        make.robot,
        make.balloon,
        make.apple,
        make.cup,
    )
    thing = dice.pick(makers)(dice)
    if thing.kind == "robot" and dice.chance(0.5):
        thing = make.waving(thing, dice.pick((-1, 1)))
    return Group((thing,))


def _on(lower: Thing, upper: Thing, index: int, x: float = 0.0) -> Thing:
    """`upper` put on `lower`, which has this index in its group."""
    depth = lower.depth + max(0.35 * lower.thick, 0.5 * (lower.thick - upper.thick))
    return attrs.evolve(upper, x=lower.x + x, y=lower.top, depth=depth, support=index)


def _stacked(upper: int, lower: int) -> tuple[Fact, ...]:
    return (
        Fact(upper, "on", lower, "spatial"),
        Fact(lower, "under", upper, "spatial"),
        Fact(lower, "supporting", upper, "functional"),
    )


def _laid_table(dice: Dice) -> Group:
    table = make.table(dice)
    things = [table]
    facts: list[Fact] = []
    slots = [-0.32, 0.0, 0.32]
    for slot in slots[: dice.whole(1, 3)] if dice.chance(0.5) else slots[dice.whole(0, 2) :]:
        item = dice.pick((make.cup, make.apple, make.book, make.small_bowl, make.small_ball))(dice)
        things.append(_on(table, item, 0, slot * table.width))
        facts += _stacked(len(things) - 1, 0)
    if dice.chance(0.5):
        item = dice.pick((make.ball, make.small_crate, make.apple))(dice)
        if item.height < 0.62 * table.height:
            x = dice.between(-0.2, 0.2) * table.width
            things.append(attrs.evolve(item, x=x, depth=0.45 * table.thick, thick=0.04))
            facts += [
                Fact(len(things) - 1, "under", 0, "spatial"),
                Fact(0, "above", len(things) - 1, "spatial"),
            ]
    return Group(tuple(things), tuple(facts))


def _holding(dice: Dice) -> Group:
    side = dice.pick((-1, 1))
    robot = make.robot(dice, dice.pick((0, side)))
    hand = (side * 0.36, dice.between(0.44, 0.56))
    hands = (hand, make.DOWN[1]) if side < 0 else (make.DOWN[0], hand)
    x, y = hand[0] * robot.height, hand[1] * robot.height
    item = dice.pick((make.small_ball, make.cup, make.apple, make.book, make.cone, make.balloon, make.balloon))(dice)
    if item.kind == "balloon":
        lift = dice.between(0.1, 0.16)
        item = attrs.evolve(item, x=x + side * 0.02, y=y + lift, anchor=(-side * 0.02, -lift))
    else:
        item = attrs.evolve(item, x=x + side * 0.3 * item.width, y=y - 0.35 * item.height, thick=0)
    things = (attrs.evolve(robot, hands=hands), attrs.evolve(item, depth=-0.015, support=-1))
    return Group(things, (Fact(0, "holding", 1, "interactional"),))


def _hugging(dice: Dice) -> Group:
    """A robot that holds a crate with both hands before its body."""
    robot = attrs.evolve(make.robot(dice), hands=((-0.17, 0.42), (0.17, 0.42)))
    crate = attrs.evolve(make.crate(dice, 0.11, 0.13), y=0.3 * robot.height, depth=-0.02, thick=0.004)
    return Group((robot, crate), (Fact(0, "holding", 1, "interactional"),))


def _pushing(dice: Dice) -> Group:
    side = dice.pick((-1, 1))
    robot = make.robot(dice, side)
    reach = side * 0.42
    robot = attrs.evolve(robot, hands=((reach, 0.4), (reach, 0.46)))
    item = make.crate(dice, 0.19, 0.24) if dice.chance(0.7) else make.ball(dice, dice.between(0.19, 0.22))
    item = attrs.evolve(item, x=reach * robot.height + side * (0.5 * item.width + 0.01))
    return Group((robot, item), (Fact(0, "pushing", 1, "interactional"),))


def _beside(dice: Dice) -> Group:
    """A robot that only stands near something: what pushing and holding must be told from."""
    robot = make.robot(dice, dice.pick((-1, 0, 1)))
    if dice.chance(0.4):
        robot = make.waving(robot, dice.pick((-1, 1)))
    makers: tuple[_Maker, ...] = (make.crate, make.ball, make.cup, make.apple, make.cone, make.balloon)
    item = dice.pick(makers)(dice)
    side = dice.pick((-1, 1))
    away = 0.28 * robot.height + 0.5 * item.width + dice.between(0.03, 0.1)
    return Group((robot, attrs.evolve(item, x=side * away)))


def _standing(dice: Dice) -> Group:
    crate = attrs.evolve(make.crate(dice, 0.18, 0.24), height=dice.between(0.1, 0.14))
    robot = attrs.evolve(make.robot(dice, dice.pick((-1, 0, 1))), height=0.3, width=0.11)
    if dice.chance(0.4):
        robot = make.waving(robot, dice.pick((-1, 1)))
    return Group((crate, _on(crate, robot, 0)), (*_stacked(1, 0), Fact(1, "standing on", 0, "interactional")))


def _stack(dice: Dice) -> Group:
    lower = attrs.evolve(make.crate(dice, 0.2, 0.25), height=dice.between(0.13, 0.17))
    upper = dice.pick((make.small_crate, make.small_ball, make.cone, make.apple, make.cup))(dice)
    things = [lower, _on(lower, upper, 0, dice.between(-0.04, 0.04))]
    facts = [*_stacked(1, 0)]
    if upper.kind == "crate" and dice.chance(0.6):
        things.append(_on(things[1], dice.pick((make.apple, make.cup))(dice), 1))
        facts += _stacked(2, 1)
    return Group(tuple(things), tuple(facts))


def _full_bowl(dice: Dice) -> Group:
    bowl = make.bowl(dice, 0.24, 0.3)
    things = [bowl]
    facts: list[Fact] = []
    spots = ((0.0,), (-0.2, 0.2), (-0.26, 0.26, 0.0))[dice.whole(0, 2)]
    for number, spot in enumerate(spots):
        item = (make.apple if dice.chance(0.7) else make.small_ball)(dice)
        depth = bowl.thick * (0.55 - 0.12 * number)
        things.append(attrs.evolve(item, x=spot * bowl.width, y=0.55 * bowl.height, depth=depth, thick=0.02))
        index = len(things) - 1
        facts += [
            Fact(index, "inside", 0, "spatial"),
            Fact(0, "contains", index, "spatial"),
        ]
    if dice.chance(0.4):
        item = make.apple(dice)
        things.append(attrs.evolve(item, x=dice.pick((-1, 1)) * (0.5 * bowl.width + 0.08)))
    return Group(tuple(things), tuple(facts))


def _tied(dice: Dice) -> Group:
    anchor = dice.pick((make.crate, make.cone))(dice)
    lift, x = dice.between(0.14, 0.22), dice.between(-0.05, 0.05)
    depth = 0.4 * anchor.thick
    balloon = attrs.evolve(make.balloon(dice), x=x, y=anchor.top + lift, depth=depth, anchor=(-x, -lift - 0.01))
    return Group((anchor, balloon), (Fact(1, "tied to", 0, "functional"), Fact(1, "above", 0, "spatial")))


def _greeting(dice: Dice) -> Group:
    gap = dice.between(0.2, 0.27)
    left, right = make.waving(make.robot(dice), 1), make.waving(make.robot(dice), -1)
    things = (attrs.evolve(left, x=-gap), attrs.evolve(right, x=gap, height=left.height, width=left.width))
    return Group(things, (Fact(0, "greeting", 1, "social"), Fact(1, "greeting", 0, "social")))


def _strangers(dice: Dice) -> Group:
    """Two robots that do not greet: at most one waves, or both look away from each other."""
    gap = dice.between(0.17, 0.24)
    if dice.chance(0.5):
        left, right = make.waving(make.robot(dice), -1), make.waving(make.robot(dice), 1)
    else:
        left, right = make.waving(make.robot(dice), 1), make.robot(dice, dice.pick((0, 1)))
    return Group((attrs.evolve(left, x=-gap), attrs.evolve(right, x=gap)))


def _leaning(dice: Dice) -> Group:
    side = dice.pick((-1, 1))
    support = attrs.evolve(make.crate(dice, 0.18, 0.24), height=dice.between(0.17, 0.22))
    run, rise = dice.between(0.1, 0.14), support.height * 1.12
    foot = side * (0.5 * support.width + run)
    plank = Thing(
        kind="plank",
        x=foot,
        y=0,
        depth=-0.02,
        width=0.05,
        height=rise,
        thick=0.03,
        colour="brown",
        anchor=(-side * run * 1.15, rise),
    )
    return Group((support, plank), (Fact(1, "leaning against", 0, "interactional"),))


def _lying(dice: Dice) -> Group:
    """A plank flat on the ground near a crate."""
    length = dice.between(0.2, 0.28)
    plank = Thing(
        kind="plank", x=0, y=0, depth=-0.02, width=length, height=0.03, thick=0.03, colour="brown", anchor=(length, 0.0)
    )
    crate = make.crate(dice, 0.14, 0.2)
    gap = dice.between(0.02, 0.05) + 0.5 * crate.width
    x = -gap if dice.chance(0.5) else length + gap
    return Group((plank, attrs.evolve(crate, x=x)))


GROUPS: Final[tuple[Callable[[Dice], Group], ...]] = (
    *(_alone, _alone, _alone, _laid_table, _laid_table, _holding, _holding, _hugging, _pushing, _pushing, _beside),
    *(_beside, _standing, _stack, _full_bowl, _full_bowl, _tied, _greeting, _strangers, _leaning, _lying),
)
