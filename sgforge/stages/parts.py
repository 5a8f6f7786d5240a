"""Components in the options of others: `Use` names one, `part` and `parts` declare the option, `Part` is it at work.

    @attrs.frozen
    class CriticOptions:
        judge: Use = part("judge", "judge")
        rewards: tuple[Use, ...] = parts("reward", some=True)

In TOML `judge = "judge"` or `judge = {use = "judge", model = "..."}`, and `rewards = [{use = "format", weight = 0.2}]`,
in Python `rewards=[sgforge.use("format", weight=0.2)]`. What such an option holds is checked, keyed, built, set up and
closed with its holder, which finds it in `resources.parts["rewards"]`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from sgforge.errors import ConfigError

if TYPE_CHECKING:
    from sgforge.stages.values import Resources

__all__ = ["PART_KEYS", "Part", "Use", "as_use", "kind_of_part", "part", "parts", "use"]

PART_KEYS: Final = ("use", "weight", "name")
"""Keys of a part's table that are not options of its component."""
_KIND: Final = "part"


def _finite(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"weight must be a finite number, not {value}")


def _shown(instance: object, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    if value is not None and not (isinstance(value, str) and value and value.isprintable()):
        raise ValueError(f"name must be one line of printable text, not {value!r}")


def _some(instance: object, attribute: attrs.Attribute[Any], value: tuple[Use, ...]) -> None:
    if not value:
        raise ValueError("must name at least one component")
    if not any(one.weight for one in value):
        raise ValueError("the weights of all are 0, so that nothing is worth anything")


@attrs.frozen
class Use:
    """A component in an option of another: its name, or an instance, and its options, not yet checked.

    `weight`: a finite number, what it counts for beside the others of its list; what that means is the holder's.
    `name`: what it is called in reports; by default its component's name, numbered from the second of a name on.
    """

    use: Any
    options: Mapping[str, Any] = attrs.field(factory=dict, converter=dict)
    weight: float = attrs.field(default=1.0, converter=float, validator=_finite)
    name: str | None = attrs.field(default=None, validator=_shown)

    @property
    def label(self) -> str:
        """The component's name as shown to people: an instance goes by its class."""
        return self.use if isinstance(self.use, str) else type(self.use).__name__

    def as_table(self) -> dict[str, Any]:
        """As a config says it; an instance is told by its class."""
        own = {"use": self.label, "weight": self.weight}
        return {**own, **({} if self.name is None else {"name": self.name}), **self.options}


def use(component: Any, *, weight: float = 1.0, name: str | None = None, **options: Any) -> Use:
    """A component for an option of another: the name of one with its options, or an instance.

    Raises:
        ConfigError: the weight is not finite, the name is no line of text, or an instance is given options.
    """
    if options and not isinstance(component, str):
        raise ConfigError(f"use({type(component).__name__}, ...): an instance has its options already")
    try:
        return Use(component, {key: value for key, value in options.items() if value is not None}, weight, name)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"use({component!r}): {error}") from None


def as_use(value: Any) -> Any:
    """A name or an instance as a `Use`; None and what is one already stay."""
    return value if value is None or isinstance(value, Use) else Use(value)


def _as_uses(value: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(map(as_use, value))


def part(kind: str, default: Any = attrs.NOTHING) -> Any:
    """An option of type `Use` (`Use | None` if the default is None) that holds a component of this kind.

    Without a default the option is required.
    """
    return attrs.field(default=default, converter=as_use, metadata={_KIND: kind})


def parts(kind: str, default: Any = attrs.NOTHING, *, some: bool = False) -> Any:
    """An option of type `tuple[Use, ...]` that holds components of this kind; required without a default.

    `some`: at least one, not all of weight 0.
    """
    return attrs.field(default=default, converter=_as_uses, validator=_some if some else None, metadata={_KIND: kind})


def kind_of_part(field: attrs.Attribute[Any]) -> str | None:
    """The kind of the components that an option holds; None for any other option."""
    found: str | None = field.metadata.get(_KIND)
    return found


@attrs.frozen(eq=False)
class Part:
    """A component at work in another.

    `component`: None until it is built. `resources`: what it is set up with. Its methods are sync (batches) or async
    (one sample a call) as that method of its holder is which the engine calls, whichever way they were written.
    """

    name: str
    weight: float
    resources: Resources
    component: Any = None
