"""Answers as models write them: every template around every choice is read as that choice, and nothing is guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge_eval.tasks.base import FileOptions, Predictions
from sgforge_eval.tasks.captions import SugarCrepeTask
from sgforge_eval.tasks.saying import LETTERS, boxes_in_text, chosen_letter, yes_or_no

CASE = json.loads((Path(__file__).parents[1] / "data" / "evals" / "cases" / "answer_forms.json").read_text())
CHOICES = ("dog", "cat", "a man riding a horse", "on the table")
# What stands for {} is a letter, "(B)" or a number in brackets.
AROUND_MARKS = (
    *("{}", " {}\n", "{}.", "**{}**", "`{}`", "<answer>{}</answer>", "<think>A or B?</think><answer>{}</answer>"),
    *(
        "Answer: {}",
        "**Answer:** {}",
        "answer: **{}**",
        "The answer is {}",
        "The correct answer is: {}.",
        "The answer is **{}**",
    ),
    *(
        "I think the answer is {}",
        "Based on the image, the answer is {}.",
        "It is {}",
        "It's {}.",
        "Option {}",
        "Output {}.",
    ),
    *("I would choose {}.", "The best option is {}", "I would go with {}, since it fits.", "The answer is option {}."),
    *(
        "Final answer: {}",
        "\\\\boxed{{{}}}",
        "{}\n\nThe picture shows it clearly.",
        "The answer is {} because it is visible.",
    ),
)
AROUND_TEXTS = (
    *(
        "{}",
        "{}.",
        "**{}**",
        '"{}"',
        "<answer>{}</answer>",
        "The answer is {}.",
        "It is {}",
        "Answer: {}",
        "I choose {}.",
    ),
    *("a {}", "The {}.", "The answer is the {}"),
)
EITHER = ("{} or {}", "{} and {}", "The answer is {} or {}", "{}/{}", "Both {} and {}", "Neither {} nor {} is right.")
NOT = ("Not {}", "The answer is not {}", "I don't think it is {}", "It cannot be {}.", "None, not even {}")


def _marks(index: int) -> list[str]:
    return [LETTERS[index], f"({LETTERS[index]})", f"[{LETTERS[index]}]", f"({index + 1})", f"{LETTERS[index]}."]


@given(st.sampled_from(AROUND_MARKS), st.integers(0, 3), st.integers(0, 4))
def test_every_mark_is_read_in_every_template(template: str, index: int, form: int) -> None:
    assert chosen_letter(template.format(_marks(index)[form]), CHOICES) == index


@given(st.sampled_from(AROUND_TEXTS), st.integers(0, 3))
def test_every_choice_is_read_by_its_text(template: str, index: int) -> None:
    text = CHOICES[index]
    if template.casefold().endswith(("a {}", "the {}.", "the {}")) and text.startswith("a "):
        text = text[2:]
    assert chosen_letter(template.format(text), CHOICES) == index


@given(st.sampled_from(EITHER), st.permutations(range(4)), st.integers(0, 3))
def test_two_choices_are_no_choice(template: str, order: list[int], form: int) -> None:
    first, second = (_marks(index)[form] for index in order[:2])
    assert chosen_letter(template.format(first, second), CHOICES) is None


@given(st.sampled_from(NOT), st.integers(0, 3), st.integers(0, 3))
def test_what_is_refused_is_not_chosen(template: str, index: int, form: int) -> None:
    assert chosen_letter(template.format(_marks(index)[form]), CHOICES) is None


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=60))
def test_any_text_names_one_choice_or_none(text: str) -> None:
    assert chosen_letter(text, CHOICES) in (None, 0, 1, 2, 3)
    assert yes_or_no(text) in (None, True, False)


@pytest.mark.parametrize(
    "text",
    [
        *("", "E", "(5)", "0", "A bird", "I see a dog", "Beautiful", "dog and cat", "I am not sure", "There are 2"),
        *("The image shows a cat.", "The answer is A. No wait, the answer is B", "It is in the picture"),
    ],
)
def test_what_names_nothing_is_not_guessed(text: str) -> None:
    assert chosen_letter(text, CHOICES) is None


@pytest.mark.parametrize(("text", "letter"), CASE["letters"])
def test_forms_of_a_letter(text: str, letter: str) -> None:
    assert chosen_letter(text, CHOICES) == LETTERS.index(letter)


def test_a_sentence_after_a_mark_explains_it() -> None:
    assert chosen_letter("B. The cat is not on it.", CHOICES) == 1
    assert chosen_letter("(2) best describes it; (1) does not.", CHOICES) == 1


@pytest.mark.parametrize(("text", "value"), CASE["yes_no"])
def test_forms_of_yes_and_no(text: str, value: bool) -> None:
    assert yes_or_no(text) is value


@given(
    st.sampled_from(["{}", "{}.", "**{}**", "{}, it is.", "<answer>{}</answer>", "The answer is {}.", "Answer: {}"]),
    st.sampled_from([("yes", True), ("Yes", True), ("no", False), ("true", True), ("False", False), ("correct", True)]),
)
def test_yes_and_no_in_every_template(template: str, word: tuple[str, bool]) -> None:
    assert yes_or_no(template.format(word[0])) is word[1]


@pytest.mark.parametrize(
    "text", ["yes and no", "Yes/No", "The answer is not clear", "maybe", "It is true. It is false."]
)
def test_what_says_both_or_neither_says_nothing(text: str) -> None:
    assert yes_or_no(text) is None


def test_what_is_not_true_is_false() -> None:
    assert yes_or_no("The statement is not true.") is False


@pytest.mark.parametrize(("text", "box"), CASE["boxes"])
def test_forms_of_a_box(text: str, box: list[float]) -> None:
    assert boxes_in_text(text) == [tuple(box)]


@given(
    st.lists(st.floats(-999, 1999).map(lambda value: round(value, 2)), min_size=4, max_size=4),
    st.sampled_from(
        ["[{}, {}, {}, {}]", "({},{},{},{})", "({}, {}), ({}, {})", "[[{}, {}, {}, {}]]", "{{{} {} {} {}}}"]
    ),
    st.sampled_from(["{}", "The box is {}.", "<box>{}</box>", '```json\n{{"bbox_2d": {}}}\n```']),
)
def test_a_box_is_read_as_it_was_written(box: list[float], form: str, around: str) -> None:
    assert boxes_in_text(around.format(form.format(*box))) == [tuple(box)]


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        *(("(1)", 0), ("Output (1)", 0), ("Output (2).", 1)),
        ("I'm sorry, I can't assist with identifying or describing what is in images.", None),
        ("Neither caption describes the image. It shows a man and a woman at a table.", None),
        ("Neither caption fits. The jacket is red. Therefore, I cannot output either (1) or (2) as correct.", None),
        (
            "It is a civilian jet, and nothing shows that it lands. Therefore, neither (1) nor (2) is fully correct.",
            None,
        ),
    ],
)
def test_forms_in_the_public_answers_to_sugarcrepe(answer: str, index: int | None) -> None:
    """All forms met in about 150 of its 2,812 answers on replace-rel; the authors' file reads them in the same way."""
    assert chosen_letter(answer, ("A man stands on a board.", "A man falls off a board.")) == index


def test_captions_answered_in_sentences(tmp_path) -> None:
    """Forms of SugarCrepe's public GPT-4V answers, and how its own file reads them."""
    rows = {str(key): {"filename": "x.jpg", "caption": f"a {key}", "negative_caption": f"b {key}"} for key in range(4)}
    (tmp_path / "s.json").write_text(json.dumps(rows))
    neither = "I'm sorry, it shows a cake. Therefore, neither caption (1) nor (2) accurately describes the image."
    given_answers = {
        "0#0": ("Output (1).", True),
        "0#1": ("(2)", True),
        "1#0": (
            'Neither of the captions describes it. Hence, neither option (1) "a 1" nor (2) "b 1" is correct.',
            False,
        ),
        "1#1": ("Output (1).", False),
        "2#0": (neither, False),
        "2#1": ("Output (2).", True),
        "3#0": ("(1)", True),
        "3#1": ("Caption (2) best describes the image.", True),
    }
    predictions = Predictions()
    for key, (answer, _) in given_answers.items():
        predictions.add({"id": key, "answer": answer})
    official = sum(right for _, right in given_answers.values()) / len(given_answers)
    assert SugarCrepeTask(FileOptions(tmp_path / "s.json")).evaluate(predictions).values["accuracy"] == official
