"""What to look for in an image: phrases of the options or a vocabulary, the graph's labels, what a caption lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sgforge.edits import Edit
from sgforge.graph import Caption, Sample
from sgforge.labels.name_files import read_names
from sgforge.stages import Failure, Resources
from sgforge_sam.config import SamConceptsOptions, SamTextOptions

__all__ = ["NOTHING_NAMED", "Phrases", "listed"]

NOTHING_NAMED: Final = "nothing-named"
"""Reason under which images are counted for which nobody named anything to look for."""
_MOST_WORDS: Final = 6
"""Words of a phrase: what a caption has between two marks and is longer is a sentence, and names no one thing."""
_ARTICLES: Final = ("and ", "a ", "an ", "the ")


class Phrases:
    """The phrases of each image, each once: those of the options first, then those of the vocabulary."""

    def __init__(self, options: SamTextOptions | SamConceptsOptions) -> None:
        self._options = options
        self._captioner: Any = None
        self._always = list(options.phrases)

    def setup(self, resources: Resources) -> None:
        """Read the vocabulary, and take the captioner, where there is one; a faulty file is a `ConfigError`."""
        vocabulary = self._options.vocabulary
        if vocabulary is not None:
            self._always += read_names(vocabulary.expanduser(), "labels", most_words=_MOST_WORDS)
        for part in resources.parts.get("captioner", ()):
            self._captioner = part.component

    def of(self, samples: Sequence[Sample]) -> list[tuple[str, ...] | Failure]:
        """What to look for in each image; none where nobody names anything."""
        captions: Iterable[Caption | Failure | None]
        if self._captioner is not None:
            captions = map(_caption, self._captioner.caption(samples))
        else:
            captions = (sample.values.get("caption") for sample in samples)
        return [self._of(*pair) for pair in zip(samples, captions, strict=True)]

    def _of(self, sample: Sample, caption: Caption | Failure | None) -> tuple[str, ...] | Failure:
        if isinstance(caption, Failure):
            return caption
        found = list(self._always)
        if "labels" in self._options.also:
            found += [region.label for region in sample.graph.regions.values() if region.label]
        if caption is not None and (self._captioner is not None or "caption" in self._options.also):
            found += listed(caption)
        return tuple(dict.fromkeys(found))


def _caption(answer: Edit | Failure) -> Caption | Failure | None:
    if isinstance(answer, Failure):
        return Failure(answer.reason, f"captioner: {answer.detail or answer.reason}")
    return next((value.value for value in answer.values if value.column == "caption"), None)


def listed(caption: Caption) -> list[str]:
    """The things that a caption lists: what its spans mark; without spans what stands between its marks, in lower case.

    "A red cup, the table; two dogs" lists "red cup", "table" and "two dogs". Longer parts are sentences and list none.
    """
    if caption.spans:
        texts: Iterator[str] = (caption.text[span.start : span.end] for span in caption.spans)
    else:
        texts = iter(re.split(r"[,;.:\n]+", caption.text))
    plain = (_bare(text) for text in texts)
    return [text for text in plain if text and len(text.split()) <= _MOST_WORDS]


def _bare(text: str) -> str:
    bare = " ".join(text.lower().split()).strip(" -*\"'")
    for article in _ARTICLES:
        bare = bare.removeprefix(article)
    return bare
