"""A valid instance of a JSON schema, always the same for the same request: the fake provider's default answer."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from sgforge.testing.fake_provider.messages import FakeAnswer, FakeRequest

__all__ = ["answer_by_schema", "instance"]

_WORDS: Final[Mapping[str, Sequence[str]]] = {
    "predicate": ("on", "next to", "holding", "looking at", "behind", "part of", "wearing", "talking to"),
    "label": ("person", "dog", "table", "cup", "tree", "car"),
    "category": ("spatial", "interactional", "functional", "social", "emotional"),
    "description": ("a small red thing near the middle", "a tall shape at the side", "something with soft edges"),
    "attribute": ("red", "tall", "wooden", "wet", "round"),
    "answer": ("yes", "no"),
}
_ANY: Final = ("alpha", "beta", "gamma", "delta")
_FEW: Final = 3
_DEFAULT_MAXIMUM: Final = 3


def answer_by_schema(request: FakeRequest) -> FakeAnswer:
    """Answer a schema with an instance; "yes" or "no" to a question without one."""
    chance = random.Random(request.question)
    if request.schema is not None:
        return FakeAnswer(orjson.dumps(instance(request.schema, chance)).decode())
    yes = chance.random()
    return FakeAnswer("yes" if yes >= 0.5 else "no", tokens={"yes": yes, "no": 1 - yes})


def instance(schema: Mapping[str, Any], chance: random.Random, name: str = "", root: Any = None) -> Any:
    """A value that satisfies the schema: objects, arrays, enums, bounds, anyOf and references are understood.

    `name` is the property's name; texts are chosen by it where it is one of a scene graph's.
    """
    root = schema if root is None else root
    if "$ref" in schema:
        return instance(_resolve(schema["$ref"], root), chance, name, root)
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            return instance(schema[keyword][0], chance, name, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return chance.choice(schema["enum"])
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _of_type(kind[0] if isinstance(kind, list) else kind, schema, chance, name, root)


def _of_type(kind: str, schema: Mapping[str, Any], chance: random.Random, name: str, root: Any) -> Any:
    match kind:
        case "object":
            return {key: instance(sub, chance, key, root) for key, sub in schema.get("properties", {}).items()}
        case "array":
            least = schema.get("minItems", 1)
            count = chance.randint(least, max(least, min(schema.get("maxItems", least + _FEW), least + _FEW)))
            return [instance(schema.get("items", {}), chance, name, root) for _ in range(count)]
        case "integer":
            return chance.randint(*_bounds(schema))
        case "number":
            low, high = _bounds(schema)
            return round(chance.uniform(low, min(high, low + 1)), 3)
        case "boolean":
            return chance.random() < 0.5
        case "null":
            return None
    return _text(schema, chance, name)


def _bounds(schema: Mapping[str, Any]) -> tuple[int, int]:
    # From 1, as what models are shown is numbered.
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    high = schema.get("maximum", schema.get("exclusiveMaximum", max(low, _DEFAULT_MAXIMUM) + 1) - 1)
    return int(low), int(max(low, high))


def _text(schema: Mapping[str, Any], chance: random.Random, name: str) -> str:
    singular = name.removesuffix("s")
    text = chance.choice(_WORDS.get(name) or _WORDS.get(singular) or _ANY)
    text = text.ljust(schema.get("minLength", 0), "a")
    return text[: schema.get("maxLength", len(text))]


def _resolve(reference: str, root: Any) -> Mapping[str, Any]:
    target = root
    for step in reference.removeprefix("#/").split("/"):
        target = target[step]
    found: Mapping[str, Any] = target
    return found
