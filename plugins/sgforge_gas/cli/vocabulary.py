"""`sgforge gas vocabulary`: a vocabulary as a file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from sgforge.errors import ConfigError
from sgforge.graph import SceneGraph
from sgforge.text.wording import counted
from sgforge_gas.cli.arguments import whole
from sgforge_gas.vocabulary import Vocabulary, load_vocabulary, save_vocabulary
from sgforge_gas.vocabulary.mining import mine
from sgforge_gas.vocabulary.wordnet import DEFAULT_ROOTS, wordnet_vocabulary

__all__ = ["configure", "run"]

_EXAMPLES = """\
examples:
  sgforge gas vocabulary --output words.json                          our starter, to be edited
  sgforge gas vocabulary --dataset runs/svg --least 3 --output words.json
  sgforge gas vocabulary --graphs graphs.jsonl --output words.json
  sgforge gas vocabulary --wordnet /usr/share/wordnet --synset animal.n.01 --synset vehicle.n.01 --output words.json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--dataset", metavar="DATASET[@ref]", help="mine its graphs, with what was seen together")
    parser.add_argument("--graphs", metavar="FILE", type=Path, help="mine a graph JSONL file")
    parser.add_argument("--least", metavar="N", type=whole, default=1, help="leave out what was seen less often (1)")
    parser.add_argument("--wordnet", metavar="FOLDER", type=Path, help="the folder with data.noun and index.noun")
    parser.add_argument(
        "--synset", metavar="NAME", action="append", help=f"nouns under it, such as animal.n.01 ({DEFAULT_ROOTS[0]})"
    )
    parser.add_argument("--words", metavar="FILE", type=Path, help="how known words are said (our starter)")
    parser.add_argument("--output", metavar="FILE", type=Path, required=True, help="the JSON file to write")


def run(args: argparse.Namespace) -> int:
    """Write the file, and say what it holds."""
    given = [name for name in ("dataset", "graphs", "wordnet") if getattr(args, name) is not None]
    if len(given) > 1:
        raise ConfigError(f"--{given[0]} and --{given[1]}: one of them at a time")
    if args.synset and args.wordnet is None:
        raise ConfigError("--synset needs --wordnet")
    vocabulary = _made(args, load_vocabulary(args.words))
    save_vocabulary(vocabulary, args.output)
    words = (
        counted(len(vocabulary.nouns), "object"),
        counted(len({one.word for one in vocabulary.adjectives}), "attribute"),
        counted(len(vocabulary.predicates), "relation"),
        counted(len(vocabulary.scene), "scene attribute"),
    )
    print(f"{args.output}: {', '.join(words)}")
    return 0


def _made(args: argparse.Namespace, words: Vocabulary) -> Vocabulary:
    if args.wordnet is not None:
        return wordnet_vocabulary(args.wordnet, args.synset or DEFAULT_ROOTS, words)
    if args.dataset is not None:
        return mine(_of_dataset(args.dataset), args.dataset, least=args.least, words=words)
    if args.graphs is not None:
        return mine(_of_file(args.graphs), args.graphs.name, least=args.least, words=words)
    return words


def _of_dataset(name: str) -> Iterator[SceneGraph]:
    from sgforge.dataset import Dataset
    from sgforge.dataset.folder import split_ref

    path, ref = split_ref(name)
    return (sample.graph for sample in Dataset.open(path, ref))


def _of_file(path: Path) -> Iterator[SceneGraph]:
    from sgforge.jsonl import read_jsonl

    return (sample.graph for sample in read_jsonl(path))
