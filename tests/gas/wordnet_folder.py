"""A tiny WordNet folder in the format of wndb(5WN), written by hand for the tests."""

from __future__ import annotations

from pathlib import Path

# offset, words, above, below
_SYNSETS = [
    (1740, ["physical_object"], [], [2000, 3000, 3200, 4000]),
    (2000, ["animal", "beast"], [1740], [2100, 2200]),
    (2100, ["dog", "domestic_dog"], [2000], [2150]),
    (2150, ["puppy"], [2100], []),
    (2200, ["bat"], [2000], []),
    (3000, ["vehicle"], [1740], [3100]),
    (3100, ["hay_wagon"], [3000], []),
    (3200, ["food"], [1740], []),
    (4000, ["bat", "club"], [1740], []),
]
_HEAD = "  1 This software and database is being provided to you, the LICENSEE, by\n  2 Princeton University\n"


def write_wordnet(folder: Path) -> Path:
    """Write index.noun and data.noun."""
    data, senses, pointers = [_HEAD], {}, {}
    for offset, words, above, below in _SYNSETS:
        links = [f"@ {one:08d} n 0000" for one in above] + [f"~ {one:08d} n 0000" for one in below]
        names = " ".join(f"{word} 0" for word in words)
        data.append(
            f"{offset:08d} 03 n {len(words):02x} {names} {len(links):03d} {' '.join(links)} | a gloss | of it\n"
        )
        for word in words:
            senses.setdefault(word, []).append(offset)
            pointers[word] = 2
    index = [_HEAD]
    for word in sorted(senses):
        found = " ".join(f"{one:08d}" for one in senses[word])
        count = len(senses[word])
        index.append(f"{word} n {count} {pointers[word]} @ ~ {count} 0 {found}  \n")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.noun").write_text("".join(data))
    (folder / "index.noun").write_text("".join(index))
    return folder
