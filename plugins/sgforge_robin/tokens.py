"""The tokenizer of a Robin, its special tokens looked up by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from sgforge.errors import StepError
from sgforge_robin.model.naming import NameIds
from sgforge_robin.model.shape import SpecialIds
from sgforge_robin.regions import MOST_REGIONS

__all__ = ["MASK", "POS", "TURN_END", "TURN_START", "RobinTokenizer", "load_tokenizer"]

MASK: Final = "<mask>"
POS: Final = "<pos>"
TURN_START: Final = "<|im_start|>"
TURN_END: Final = "<|im_end|>"
_BOX: Final = ("<|box_start|>", "<|box_end|>")
_NEEDED: Final = (MASK, POS, TURN_START, TURN_END)
_FILE: Final = "tokenizer.json"
_NAME: Final = re.compile(r"[^A-Za-z]*region")
_DIGITS: Final = re.compile(r"[0-9]+")


def _byte_signs() -> dict[str, str]:
    """The byte that each sign of a byte-level vocabulary stands for: printable ones themselves, the others from 256."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    signs = {chr(byte): chr(byte) for byte in printable}
    return signs | {chr(256 + place): chr(byte) for place, byte in enumerate(others)}


_BYTES: Final = _byte_signs()


class RobinTokenizer:
    """A tokenizer with the special tokens of a Robin: `<mask>`, `<pos>`, `<|im_start|>`, `<|im_end|>`.

    Ids are looked up, never assumed: the place of `<mask>` differs between checkpoints. One that lacks them is a
    `StepError` that names them.
    """

    def __init__(self, tokenizer: Tokenizer, where: str = "the tokenizer") -> None:
        missing = [name for name in _NEEDED if tokenizer.token_to_id(name) is None]
        if missing:
            raise StepError(
                f"{where} has no {', '.join(missing)}: it is a plain language model's; "
                "train from it with the preset's first stage, or use the checkpoint's own"
            )
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The tokenizer.json of a checkpoint's folder."""
        file = folder / _FILE
        if not file.is_file():
            raise StepError(f"{folder} has no {_FILE}: a Robin needs its tokenizer beside its weights")
        try:
            return cls(Tokenizer.from_file(str(file)), str(file))
        except StepError:
            raise
        except Exception as error:  # the library raises Exception itself
            raise StepError(f"{file} cannot be read as a tokenizer: {error}") from error

    @classmethod
    def extended(cls, folder: Path) -> Self:
        """The tokenizer of a plain language model, `<mask>` and `<pos>` added at its end, as the released code does."""
        tokenizer = Tokenizer.from_file(str(folder / _FILE))
        tokenizer.add_special_tokens([AddedToken(name, special=True) for name in (MASK, POS)])
        return cls(tokenizer, str(folder))

    @classmethod
    def trained(cls, texts: Iterable[str], rows: int) -> Self:
        """A byte-level BPE of at most `rows` tokens learnt from these texts; it can write any text."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=rows,
            special_tokens=[AddedToken(name, special=True) for name in (TURN_START, TURN_END, *_BOX, MASK, POS)],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    def ids(self, text: str) -> list[int]:
        """Ids of a text, special tokens recognised: what people wrote must have passed `plain_name` or its kin."""
        found: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return found

    def text(self, ids: Sequence[int], special: bool = True) -> str:
        """The text of these ids, special tokens written out if `special`."""
        found: str = self._tokenizer.decode(list(ids), skip_special_tokens=not special)
        return found

    @cached_property
    def special(self) -> SpecialIds:
        """The ids that stand for regions."""
        return SpecialIds(self.id(MASK), self.id(POS))

    @cached_property
    def names(self) -> NameIds:
        """How names of regions are written; a `StepError` where `region` is several tokens, or joined with a number."""
        spelled = self.spellings(len(self))
        names = NameIds(
            words=frozenset(place for place, text in spelled.items() if _NAME.fullmatch(text)),
            digits={place: text for place, text in spelled.items() if _DIGITS.fullmatch(text)},
            breaks=frozenset(place for place, text in spelled.items() if "\n" in text),
            stops=frozenset(place for place, text in spelled.items() if text[0] in ",."),
            box=(self._box(0), self._box(1)),
            end=self.end,
        )
        for number in range(1, MOST_REGIONS + 1):
            for before in ("", " ", "\n"):
                if names.along(self.ids(f"{before}region{number}"))[-1].focus != number:
                    raise StepError(
                        f"this tokenizer does not write region{number} as a word and its digits: "
                        "leave out reference_layer"
                    )
        return names

    @cached_property
    def end(self) -> int:
        """The id that ends a turn."""
        return self.id(TURN_END)

    def _box(self, place: int) -> int:
        found = self._tokenizer.token_to_id(_BOX[place])
        return -1 if found is None else int(found)

    def id(self, token: str) -> int:
        """The id of one token, which must be there."""
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise StepError(f"the tokenizer has no {token}")
        return int(found)

    @cached_property
    def unspeakable(self) -> tuple[int, ...]:
        """Ids that an answer may never hold: of regions, of images, of the begin of a turn."""
        names = (MASK, POS, TURN_START, "<image>", "<im_patch>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>")
        found = (self._tokenizer.token_to_id(name) for name in names)
        return tuple(sorted(place for place in found if place is not None))

    def spellings(self, rows: int) -> dict[int, str]:
        """Ids below `rows` that are not special, each as one character a byte; of a byte-level tokenizer."""
        found = {}
        special = set(self._tokenizer.get_added_tokens_decoder())
        for piece, place in self._tokenizer.get_vocab().items():
            if place < rows and place not in special and piece and all(sign in _BYTES for sign in piece):
                found[place] = "".join(_BYTES[sign] for sign in piece)
        return dict(sorted(found.items()))

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{_FILE}.tmp"
        self._tokenizer.save(str(aside))
        aside.replace(folder / _FILE)


def load_tokenizer(folder: Path) -> RobinTokenizer:
    """The tokenizer of a checkpoint's folder."""
    return RobinTokenizer.load(folder)
