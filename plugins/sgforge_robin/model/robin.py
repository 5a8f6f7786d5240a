"""Robin: vision tower, projector, mask-aware extractor and a causal language model (Synthetic Visual Genome)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import attrs
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from sgforge.errors import StepError
from sgforge_robin.model.attention import SHARED
from sgforge_robin.model.comparing import ComparingLayer
from sgforge_robin.model.extractor import MaskExtractor, pad_to_square
from sgforge_robin.model.naming import Named, NameIds
from sgforge_robin.model.pair_head import PairHead
from sgforge_robin.model.references import ReferenceLayer, add_references, numbers_of
from sgforge_robin.model.sending import sent
from sgforge_robin.model.shape import IGNORED, IMAGE_ID, ComparingShape, PairShape, RobinShape
from sgforge_robin.model.splice import RegionTokens, Row, Spliced, padded, splice_row
from sgforge_robin.model.tower import ConvNeXt

__all__ = ["Output", "RobinModel"]


class Output(NamedTuple):
    """What a forward gives: `logits` (B, L, rows), mean `loss` over learnt positions, `labels` and `attention_mask`.

    L counts the image's tokens in. Loss and labels are None where no labels were given.
    """

    logits: Tensor
    loss: Tensor | None
    labels: Tensor | None
    attention_mask: Tensor


class RobinModel(nn.Module):
    """`model(images, masks, input_ids, attention_mask, labels=None) -> (logits, loss, labels, attention_mask)`.

    `images`: (B, 3, S, S) pixels as `sgforge_robin.image_tensor` makes them, S a multiple of 32. `masks`: per row
    (N, h, w) in the frame of the image before it was made square, or None. `input_ids` (B, L): -200 stands for the
    image; `attention_mask` (B, L) is False at padding on the right. `labels` (B, L): -100 where nothing is learnt.
    A row whose `<mask>` tokens are not as many as its masks is a `StepError` that names it.
    """

    def __init__(self, shape: RobinShape, parity: bool = False, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.shape = shape
        self.parity = parity
        self.tower = ConvNeXt(shape.tower)
        self.projector = _projector(shape)
        self.extractor = MaskExtractor(shape.tower.dims, shape.inner, shape.width, shape.mask_side, parity)
        self.pair_head = None if shape.pair is None else PairHead(shape.pair, shape.width)
        self.to(dtype)
        self.language = _language(shape, dtype)
        self.comparing_layer: ComparingLayer | None = None
        if shape.comparing is not None:  # last, so that all else begins as it does without
            self.add_comparing_layer(shape.comparing)
        self.reference_layer: ReferenceLayer | None = None
        if shape.names is not None:
            self.add_reference_layer(shape.names)

    def recompute_activations(self) -> None:
        """Compute the language model's activations again in each backward pass instead of keeping them."""
        # Older versions of transformers know it by the second name alone; newer ones warn of that.
        enable = getattr(self.language, "activation_checkpointing_enable", self.language.gradient_checkpointing_enable)
        enable({"use_reentrant": False})

    def compile_parts(self) -> None:
        """Compile each layer of the language model, for CUDA; the weights stay theirs.

        They see few lengths, as packed rows are padded to a grain. The tower, which sees any number of images, is
        faster as it is (`benchmarks/gpu/robin.py`).
        """
        for layer in self.language.base_model.layers:
            layer.compile(dynamic=False)

    def run_as_written(self) -> None:
        """Run its parts without compiling them from here on: questions, of any length, would each be compiled anew."""
        for layer in self.language.base_model.layers:
            layer._compiled_call_impl = None

    def drop_nothing(self) -> None:
        """Switch dropout off for good, in training mode too, so that two passes give one result."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.0

    def add_pair_head(self, pair: PairShape) -> None:
        """Give it a new pair head, with random weights."""
        self.shape = attrs.evolve(self.shape, pair=pair)
        self.pair_head = PairHead(pair, self.shape.width).to(self.table.weight)

    def add_comparing_layer(self, comparing: ComparingShape) -> None:
        """Give it a new comparing layer, which changes nothing before it is trained."""
        self.shape = attrs.evolve(self.shape, comparing=comparing)
        self.comparing_layer = ComparingLayer(comparing, self.shape.width).to(self.table.weight)

    def add_reference_layer(self, names: NameIds) -> None:
        """Give it a new reference layer, which changes nothing before it is trained."""
        self.shape = attrs.evolve(self.shape, names=names)
        self.reference_layer = ReferenceLayer(self.shape.width).to(self.table.weight)

    def forward(
        self,
        images: Tensor,
        masks: Sequence[Tensor | None] | None,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Output:
        batch = self.spliced(images, masks, input_ids, attention_mask, labels)
        logits = self.language(inputs_embeds=batch.embeds, attention_mask=batch.attention_mask, use_cache=False).logits
        if labels is None:
            return Output(logits, None, None, batch.attention_mask)
        return Output(logits, mean_loss(logits, batch.labels), batch.labels, batch.attention_mask)

    def spliced(
        self,
        images: Tensor,
        masks: Sequence[Tensor | None] | None,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Spliced:
        """What the language model reads: the arguments are those of the model."""
        if images.ndim == 5:
            images = images.flatten(0, 1)
        given = [None] * len(input_ids) if masks is None else list(masks)
        if not len(images) == len(given) == len(input_ids):
            raise StepError(f"{len(images)} images and masks of {len(given)} for {len(input_ids)} rows of text")
        features = self.tower(images.to(self.dtype))
        tokens = self.image_tokens(features["res4"])
        rows = []
        for place, ids in enumerate(input_ids):
            kept = slice(None) if attention_mask is None else attention_mask[place].bool()
            own = {name: maps[place : place + 1] for name, maps in features.items()}
            regions = self.introduced(self.region_tokens(own, given[place]), ids[kept].tolist())
            row_labels = None if labels is None else labels[place][kept]
            rows.append(self.row(ids[kept], row_labels, tokens[place], regions, f"row {place}"))
        return padded(rows)

    def row(self, ids: Tensor, labels: Tensor | None, image: Tensor, regions: RegionTokens | None, where: str) -> Row:
        """One row of text spliced with its image and regions."""
        row = splice_row(self.table, ids, labels, image, regions, self.shape.tokens, where)
        if regions is None or regions.named is None:
            return row
        named, place = self.names.along(ids.tolist()), ids.tolist().index(IMAGE_ID)
        named[place : place + 1] = [Named()] * len(image)
        return attrs.evolve(row, embeds=self._referred(row.embeds, named, regions.named))

    def words(self, texts: Sequence[Sequence[int]], regions: RegionTokens | None) -> Tensor:
        """(L, width) embeddings of texts about these regions, one behind another."""
        ids = torch.tensor([token for text in texts for token in text], dtype=torch.long)
        embeds: Tensor = self.table(sent(ids, self.table.weight.device))
        if regions is None or regions.named is None:
            return embeds
        return self._referred(embeds, [one for text in texts for one in self.names.along(text)], regions.named)

    @staticmethod
    def _referred(embeds: Tensor, named: Sequence[Named], rows: Tensor) -> Tensor:
        return add_references(embeds, sent(torch.tensor(numbers_of(named)), embeds.device), rows)

    def image_tokens(self, res4: Tensor) -> Tensor:
        """(B, C, h, w) maps of stride 16 to (B, h * w, width) tokens, row by row."""
        out: Tensor = self.projector(res4.flatten(2).transpose(1, 2))
        return out

    def region_tokens(self, features: dict[str, Tensor], masks: Tensor | None) -> RegionTokens | None:
        """The tokens of the regions of one image, whose features these are; None without regions."""
        if masks is None or not len(masks):
            return None
        masks = sent(masks, features["res4"].device)
        if self.shape.aspect == "pad" and not self.parity:
            masks = pad_to_square(masks)
        regions = RegionTokens(*self.extractor(features, masks))
        return regions if self.comparing_layer is None else self.comparing_layer(regions)

    def introduced(self, regions: RegionTokens | None, ids: Sequence[int]) -> RegionTokens | None:
        """The regions as a text of these ids introduces them: with what a reference layer adds, if there is one."""
        if regions is None or self.reference_layer is None or self.shape.tokens is None:
            return regions
        texts = self.names.introduced(ids, self.shape.tokens.mask)
        if len(texts) != len(regions.mask):
            return regions  # the splice says what is wrong
        device = self.table.weight.device
        words = sent(torch.tensor([token for text in texts for token in text], dtype=torch.long), device)
        begins = sent(torch.tensor([0, *accumulate(map(len, texts))][:-1]), device)
        said = nn.functional.embedding_bag(words, self.table.weight, begins, mode="mean")
        return attrs.evolve(regions, named=self.reference_layer(regions, said))

    @property
    def names(self) -> NameIds:
        """How its tokenizer writes names of regions; a `StepError` where none has said."""
        names = self.shape.names
        if names is None or not names.words:
            raise StepError("a reference layer needs to know how names are written: no tokenizer has said")
        return names

    @property
    def table(self) -> nn.Embedding:
        """The language model's input embeddings."""
        table: nn.Embedding = self.language.get_input_embeddings()
        return table

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the tower, and of pixels."""
        return next(self.tower.parameters()).dtype


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each next token, mean over the positions that are learnt; NaN where there are none."""
    aim = labels[:, 1:].flatten()
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), aim, ignore_index=IGNORED)


def _projector(shape: RobinShape) -> nn.Module:
    width = shape.tower.dims[2]
    if shape.projector == "linear":
        return nn.Linear(width, shape.width)
    return nn.Sequential(nn.Linear(width, shape.width), nn.GELU(), nn.Linear(shape.width, shape.width))


def _language(shape: RobinShape, dtype: torch.dtype) -> Any:
    options = dict(shape.language)
    try:
        config = AutoConfig.for_model(options.pop("model_type"), **options)
        return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=SHARED)
    except (ValueError, KeyError) as error:
        raise StepError(f"transformers builds no language model from this config: {error}") from error
