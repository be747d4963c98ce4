"""E2EMERN: one encoder and three levels of heads (Zhou et al., ACL 2021, section 3.2).

    low    which tokens are mentions?            y_i = softmax(W_l h_i + b_l)
    mid    does the text mention entity e?       y_m = sigmoid(W_m [h_e; h_a] + b_m),  h_a = sum_i a_i h_i
    high   which tokens mention e?               G = sigmoid(W_g [H; H_a] + b_g)
                                                 H_f = H * (1 - G) + H_e * G,  y_h = softmax(W_h h_f + b_h)

Three attentions a_i can be chosen, since the weights of the one that the paper prints do not depend on the entity
(`PrintedAttention`); `uniform`, for the ablation, is the plain mean.
No level runs the encoder per (sentence, entity) pair: sentences and entity names are encoded separately, and the levels
combine the two. Shapes: B sentences, N word pieces, M entities, D hidden size, L labels. Entities are (B, M, D), or
(1, M, D) if all sentences share them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from e2emern.model.errors import FileError
from e2emern.model.notation import ENTITY_TYPES
from e2emern.model.tagging import TAG_SCHEMES, tag_names

ATTENTIONS = ("printed", "released", "bilinear", "uniform")
FUSIONS = ("gate", "concatenation")


class E2emernConfig(PreTrainedConfig):
    """The configuration of the network.

    Args:
        encoder: configuration of any `AutoModel` encoder, as a dictionary with `model_type`.
        entity_types: types of the low level, in the order of their tags.
        tag_scheme: `BIO` or `BIOES`, how tags encode mentions (`spans`).
        attention: `printed`, `released`, `bilinear`, or `uniform` (mean of the tokens, for the ablation).
        fusion: `gate` or `concatenation` (the paper's "w/o gate": W_h reads [h_i; h_a; h_e]).
        use_mid, use_high: whether the level exists.
        low_weight: weight of the low level; 1 in equation 4, 0 to train only a linker.
        mid_weight, high_weight: lambda and mu of equation 4.
        candidate_weight: weight of the candidate loss, ours (see `candidate_loss`).
        span_threshold: minimum probability of a span that is not linked to a concept; fitted on dev.
        resolver: weights of the evidence at inference (see `inference.resolver`); fitted on dev.

    Raises:
        ValueError: an unknown attention, fusion or tag scheme.
    """

    model_type = "e2emern"

    def __init__(
        self,
        *,
        encoder: dict[str, Any] | None = None,
        entity_types: tuple[str, ...] | list[str] = ENTITY_TYPES,
        tag_scheme: str = "BIO",
        attention: str = "bilinear",
        fusion: str = "gate",
        use_mid: bool = True,
        use_high: bool = True,
        low_weight: float = 1.0,
        mid_weight: float = 0.125,
        high_weight: float = 0.1,
        candidate_weight: float = 0.0,
        span_threshold: float = 0.5,
        resolver: dict[str, dict[str, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        if attention not in ATTENTIONS:
            raise ValueError(f"attention is {attention!r}, expected one of {', '.join(ATTENTIONS)}")
        if fusion not in FUSIONS:
            raise ValueError(f"fusion is {fusion!r}, expected one of {', '.join(FUSIONS)}")
        if tag_scheme not in TAG_SCHEMES:
            raise ValueError(f"tag_scheme is {tag_scheme!r}, expected one of {', '.join(TAG_SCHEMES)}")
        self.encoder = encoder or {"model_type": "bert"}
        self.entity_types = list(entity_types)
        self.tag_scheme = tag_scheme
        self.attention = attention
        self.fusion = fusion
        self.use_mid = use_mid
        self.use_high = use_high
        self.low_weight = low_weight
        self.mid_weight = mid_weight
        self.high_weight = high_weight
        self.candidate_weight = candidate_weight
        self.span_threshold = span_threshold
        self.resolver = resolver
        super().__init__(**kwargs)

    @property
    def tags(self) -> list[str]:
        """The tags in order, such as O, B-Disease, I-Disease, B-Chemical, I-Chemical."""
        return tag_names(self.entity_types, scheme=self.tag_scheme)

    @property
    def reads_entities(self) -> bool:
        """Whether the network uses entities: a level, or the candidate loss of the bilinear attention."""
        return self.use_mid or self.use_high or (self.attention == "bilinear" and self.candidate_weight > 0)


@dataclass(frozen=True)
class Attended:
    """The output of the mid level's attention for sentences and entities."""

    weights: Tensor  # (B, M, N) or (B, 1, N): a_i, zero on padding
    features: Tensor  # (B, M, D): h_a


class Attention(nn.Module):
    """Attends to the tokens of sentences for entities, given the queries of these, which the sentences share."""

    def queries(self, entities: Tensor) -> Tensor:
        """Return the part of the attention that depends only on the entity: (..., D) to (...) or (..., D)."""
        return entities


class E2emernModel(PreTrainedModel):
    """The network. `E2emernModel.on_encoder` makes a new one, `E2emernModel.load` loads a saved one."""

    config_class = E2emernConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    _supports_sdpa = True
    attention: Attention

    def __init__(self, config: E2emernConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        if encoder is None:
            options = dict(config.encoder)
            encoder = AutoModel.from_config(AutoConfig.for_model(options.pop("model_type"), **options))
        self.encoder = encoder
        size, tags = encoder.config.hidden_size, len(config.tags)
        self.low_head = nn.Linear(size, tags)  # W_l, b_l
        if config.reads_entities:
            self.attention = _ATTENTION_OF[config.attention](size)
        if config.use_mid:
            self.mid_head = nn.Linear(2 * size, 1)  # W_m, b_m
            if config.attention == "bilinear":
                self.mid_product = nn.Parameter(torch.eye(size))  # lets the classifier compare h_a with h_e
        if config.use_high:
            if config.fusion == "gate":
                self.gate = nn.Linear(2 * size, size)  # W_g, b_g
            self.high_head = nn.Linear(size if config.fusion == "gate" else 3 * size, tags)  # W_h, b_h
        self.post_init()

    @classmethod
    def load(cls, name: str | Path, *, dtype: torch.dtype = torch.float32) -> E2emernModel:
        """Load a saved model (safetensors only). Without this check transformers would fill missing weights randomly.

        Raises:
            FileError: a weight of its configuration is missing, or another one is present.
        """
        loaded = cls.from_pretrained(name, dtype=dtype, use_safetensors=True, output_loading_info=True)
        model, found = cast(
            tuple[E2emernModel, dict[str, Any]], loaded
        )  # the type stubs of transformers only know the model as result
        for verb, keys in (("lack", found["missing_keys"]), ("have the unexpected", found["unexpected_keys"])):
            if keys:
                raise FileError(f"its weights {verb} {min(keys)}; they are not those of its configuration", Path(name))
        return model

    @classmethod
    def on_encoder(cls, name: str, **options: Any) -> E2emernModel:
        """Put new heads on the pre-trained encoder `name`: a transformers folder, a hub name, or a saved model.

        Heads of a saved model that fit the new one are kept.

        Raises:
            ValueError: the weights of a saved model do not match its configuration.
        """
        of_ours = isinstance(AutoConfig.from_pretrained(name), E2emernConfig)
        before = cls.load(name) if of_ours else None
        encoder = before.encoder if before else AutoModel.from_pretrained(name, dtype=torch.float32)
        described = {key: value for key, value in encoder.config.to_dict().items() if key != "dtype"}
        model = cls(E2emernConfig(encoder=described, **options), encoder)
        if before and before.config.entity_types == model.config.entity_types:
            own, kept = model.state_dict(), before.state_dict()
            shared = {key for key in own.keys() & kept.keys() if own[key].shape == kept[key].shape}
            model.load_state_dict({key: kept[key] for key in shared}, strict=False)
        return model

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear) and not getattr(module, "_is_hf_initialized", False):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return H = h_1..h_N, one row per word piece: (B, N) ids and mask to (B, N, D)."""
        hidden: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden

    def encode_names(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return h_e, the mean-pooled encoding of entity names: (M, N) ids and mask to (M, D)."""
        return mean_pooled(self.encode(input_ids, attention_mask), attention_mask)

    def low(self, hidden: Tensor) -> Tensor:
        """Return the logits of the low level: (B, N, D) to (B, N, L)."""
        logits: Tensor = self.low_head(hidden)
        return logits

    def attend(self, hidden: Tensor, mask: Tensor, entities: Tensor) -> Attended:
        """Return the entity-attention feature h_a: H (B, N, D), mask (B, N), entities (B or 1, M, D)."""
        attended: Attended = self.attention(hidden, mask, self.attention.queries(entities))
        return attended

    def mid(self, attended: Attended, entities: Tensor) -> Tensor:
        """Return the logits of the mid level, before the sigmoid: (B, M)."""
        weights, bias = self.mid_classifier(entities)
        return (attended.features * weights).sum(-1) + bias

    def mid_classifier(self, entities: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mid level's classifier of h_a for each entity: weights (..., D) and bias (...)."""
        size = entities.shape[-1]
        of_entity, of_text = self.mid_head.weight[0].split(size)  # W_m [h_e; h_a] without building the pair
        weights = of_text.expand_as(entities)
        if self.config.attention == "bilinear":
            weights = weights + entities @ self.mid_product.T / math.sqrt(size)
        return weights, entities @ of_entity + self.mid_head.bias

    def high(self, hidden: Tensor, attended: Attended, entities: Tensor) -> Tensor:
        """Return the logits of the high level: H (B, N, D), entities (B or 1, M, D) to (B, M, N, L)."""
        size = hidden.shape[-1]
        features = attended.features
        if self.config.fusion == "concatenation":
            of_token, of_text, of_entity = self.high_head.weight.split(size, dim=1)
            per_pair = features @ of_text.T + entities @ of_entity.T + self.high_head.bias  # (B, M, L)
            return (hidden @ of_token.T).unsqueeze(1) + per_pair.unsqueeze(2)
        of_token, of_text = self.gate.weight.split(size, dim=1)  # W_g [H; H_a] as a sum of two products
        per_token = F.linear(hidden, of_token, self.gate.bias).unsqueeze(1)  # (B, 1, N, D)
        gate = torch.sigmoid(per_token + (features @ of_text.T).unsqueeze(2))  # (B, M, N, D)
        fused = torch.lerp(hidden.unsqueeze(1).to(gate.dtype), entities.unsqueeze(2).to(gate.dtype), gate)
        logits: Tensor = self.high_head(fused)
        return logits

    def score_bank(self, hidden: Tensor, mask: Tensor, bank: Tensor) -> Tensor:
        """Return the mid logits of every sentence with every entity of a bank (M, D), without building h_a: (B, M).

        Equal to `mid(attend(...))`; with bilinear attention it is the two matrix products of
        `sum_i softmax_i(H W_a E')_ie (H W_m E')_ie`, and memory is B x N x M instead of B x M x D.
        """
        if not isinstance(self.attention, BilinearAttention):
            return self.mid(self.attend(hidden, mask, bank.unsqueeze(0)), bank.unsqueeze(0))
        size = hidden.shape[-1]
        of_entity, of_text = self.mid_head.weight[0].split(size)
        weights = hidden @ self.attention.product @ bank.T / math.sqrt(size)  # (B, N, M)
        weights = weights.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).softmax(1)
        values = hidden @ self.mid_product @ bank.T / math.sqrt(size) + (hidden @ of_text).unsqueeze(-1)
        logits: Tensor = (weights * values).sum(1) + bank @ of_entity + self.mid_head.bias
        return logits


def mean_pooled(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of H over the pieces that are not padding: (M, N, D) and mask (M, N) to (M, D)."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


class PrintedAttention(Attention):
    """a_i = softmax_i(W_a [h_i; h_e] + b_a), as the paper prints it.

    W_a [h_i; h_e] = w . h_i + w' . h_e + b_a, and the last two terms are the same for every i, so the
    softmax over i cancels them: the weights are the same for every entity.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.score = nn.Linear(2 * size, 1)

    def queries(self, entities: Tensor) -> Tensor:
        """Return w' . h_e + b_a: (..., D) to (...)."""
        return entities @ self.score.weight[0, entities.shape[-1] :] + self.score.bias

    def forward(self, hidden: Tensor, mask: Tensor, queries: Tensor) -> Attended:
        scores = (hidden @ self.score.weight[0, : hidden.shape[-1]]).unsqueeze(1) + queries.unsqueeze(-1)
        return _average(scores, hidden, mask)


class ReleasedAttention(Attention):
    """The attention of the code that the authors released: h_a = ELU(W tanh([sum_i a_i h_i; h_e]) + b).

    Its weights a_i do not depend on the entity either, but the two non-linearities after pooling combine text and
    entity.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.score = nn.Linear(2 * size, 1)
        self.mix = nn.Linear(2 * size, size)

    def queries(self, entities: Tensor) -> Tensor:
        """Return the entity's contribution inside ELU: (..., D) to (..., D)."""
        return F.linear(torch.tanh(entities), self.mix.weight[:, entities.shape[-1] :], self.mix.bias)

    def forward(self, hidden: Tensor, mask: Tensor, queries: Tensor) -> Attended:
        size = hidden.shape[-1]
        scores = (hidden @ self.score.weight[0, :size]).unsqueeze(1)  # without the terms that softmax cancels
        pooled = _average(scores, hidden, mask)
        mixed = torch.tanh(pooled.features) @ self.mix.weight[:, :size].T + queries
        return Attended(pooled.weights, F.elu(mixed))


class BilinearAttention(Attention):
    """a_ie = softmax_i(h_i' W h_e / sqrt(D)): our own, which depends on the entity. W starts as the identity."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.product = nn.Parameter(torch.eye(size))

    def scores(self, hidden: Tensor, entities: Tensor) -> Tensor:
        """Return h_i' W h_e / sqrt(D): (B, N, D) and (B or 1, M, D) to (B, M, N)."""
        return self.queries(entities) @ hidden.transpose(1, 2)

    def queries(self, entities: Tensor) -> Tensor:
        """Return W h_e / sqrt(D): (..., D) to (..., D)."""
        return entities @ self.product.T / math.sqrt(entities.shape[-1])

    def forward(self, hidden: Tensor, mask: Tensor, queries: Tensor) -> Attended:
        return _average(queries @ hidden.transpose(1, 2), hidden, mask)


class UniformAttention(Attention):
    """a_i = 1 / N: the paper's "w/o attention" ablation."""

    def __init__(self, size: int) -> None:
        super().__init__()

    def forward(self, hidden: Tensor, mask: Tensor, queries: Tensor) -> Attended:
        pooled = _average(torch.zeros_like(hidden[:, None, :, 0]), hidden, mask)
        return Attended(pooled.weights, pooled.features.expand(-1, queries.shape[1], -1))


AutoConfig.register(E2emernConfig.model_type, E2emernConfig)  # so that AutoTokenizer reads our folders

_ATTENTION_OF = {
    "printed": PrintedAttention,
    "released": ReleasedAttention,
    "bilinear": BilinearAttention,
    "uniform": UniformAttention,
}


def _average(scores: Tensor, hidden: Tensor, mask: Tensor) -> Attended:
    """Return the softmax of scores (B, M, N) over the tokens that are not padding, and the mean of H under it."""
    weights = scores.masked_fill(~mask.bool().unsqueeze(1), -torch.inf).softmax(-1)
    return Attended(weights, weights.to(hidden.dtype) @ hidden)
