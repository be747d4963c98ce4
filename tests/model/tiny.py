"""A small world for the tests of the model: a tokenizer, encoders of two architectures, concepts and gold text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from e2emern.model.corpus import GoldDocument, GoldMention, write_corpus
from e2emern.model.document import Concept, Sentence
from e2emern.model.network import E2emernConfig, E2emernModel
from e2emern.model.training.losses import joint_loss
from e2emern.model.training.samples import Sampler, make_samples
from e2emern.model.vocabulary import Vocabulary
from e2emern.warehouse.layout import Home
from e2emern.warehouse.mesh.entities import write_entities

WORDS = (
    "the a of in with and patients had was after treated by for no severe breast ovarian colon cancer neoplasm ##s "
    "tumor fever familial mediterranean disease aspirin cisplatin toxicity renal failure chronic acute kidney "
    "( ) . , - induced rash headache caused"
).split()

CONCEPTS = (
    Concept("D001", "Disease", ("Breast Neoplasms", "breast cancer", "Neoplasms, Breast"), "descriptor", ("C04.588",)),
    Concept("D002", "Disease", ("Colonic Neoplasms", "colon cancer"), "descriptor", ("C04.588.274",)),
    Concept("D003", "Disease", ("Familial Mediterranean Fever",), "descriptor", ("C16.320.382",)),
    Concept("D004", "Disease", ("Renal Insufficiency", "renal failure", "kidney failure"), "descriptor", ("C12.777",)),
    Concept("D005", "Disease", ("Headache",), "descriptor", ("C23.888",)),
    Concept("D006", "Chemical", ("Aspirin", "acetylsalicylic acid"), "descriptor", ("D02.455",)),
    Concept("C007", "Chemical", ("Cisplatin",), "supplementary", (), ("D010984",)),
)  # fmt: skip

SENTENCES = (
    ("The patients had severe breast cancer.", (("breast cancer", "Disease", ("D001",)),)),
    ("Colon cancer was treated with cisplatin.",
     (("Colon cancer", "Disease", ("D002",)), ("cisplatin", "Chemical", ("C007",)))),
    ("Aspirin caused renal failure and headache.",
     (("Aspirin", "Chemical", ("D006",)), ("renal failure", "Disease", ("D004",)), ("headache", "Disease", ("D005",)))),
    ("Familial mediterranean fever after treated patients.", (("Familial mediterranean fever", "Disease", ("D003",)),)),
    ("No patients with rash.", ()),
)  # fmt: skip


def vocabulary() -> Vocabulary:
    return Vocabulary(CONCEPTS, version="tiny", aliases={"114480": "D001"})


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer over `WORDS` and single letters."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *dict.fromkeys([*WORDS, *letters, *("##" + c for c in letters)]),
    ]
    backend = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **{f"{k}_token": v for k, v in names.items()})


def encoder(*, hidden: int = 16, kind: str = "bert", positions: int = 64) -> BertModel | RobertaModel:
    """Return a random encoder of two layers."""
    torch.manual_seed(0)
    shape = {
        "vocab_size": len(tokenizer()), "hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 2 * hidden, "max_position_embeddings": positions,
    }  # fmt: skip
    if kind == "bert":
        return BertModel(BertConfig(**shape)).eval()
    return RobertaModel(RobertaConfig(**shape, pad_token_id=0)).eval()


def network(*, hidden: int = 16, kind: str = "bert", **options: object) -> E2emernModel:
    """Return the network on a random encoder, with random heads, in evaluation mode."""
    base = encoder(hidden=hidden, kind=kind)
    model = E2emernModel(E2emernConfig(encoder=base.config.to_dict(), **options), base)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("encoder."):
                parameter.normal_(std=0.3)
    return model.eval()


def save_encoder(folder: Path) -> Path:
    """Write the random encoder and the tokenizer as a transformers folder."""
    encoder(hidden=32).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def gold(
    *, corpus: str = "tiny", split: str = "train", types: tuple[str, ...] = ("Disease", "Chemical")
) -> list[GoldDocument]:
    """Return one document per sentence of `SENTENCES`; the ids differ between splits."""
    prefix = "" if split == "train" else f"{split}-"
    documents = []
    for number, (text, mentions) in enumerate(SENTENCES):
        documents.append(
            GoldDocument(
                corpus, split, f"{prefix}{number}", types, text, (Sentence(0, len(text), text),), (),
                tuple(
                    GoldMention(text.index(words), text.index(words) + len(words), kind, concepts)
                    for words, kind, concepts in mentions
                    if kind in types
                ),
            )
        )  # fmt: skip
    return documents


def save_training(folder: Path) -> None:
    """Write the inputs of a training: `encoder`, `corpus.parquet` (train and dev), `entities/tiny.parquet`."""
    save_encoder(folder / "encoder")
    write_corpus(gold() * 3 + gold(split="dev"), folder / "corpus.parquet")
    save_entities(folder)


def save_entities(folder: Path, concepts: Sequence[Concept] = CONCEPTS) -> Path:
    """Write `entities/tiny.parquet`, a vocabulary of MeSH tiny, and return its path."""
    rows = [
        {
            "mesh_id": c.mesh_id, "name": c.name, "names": list(c.names), "entity_type": c.entity_type,
            "name_kinds": ["preferred", *["entry"] * (len(c.names) - 1)],
            "tree_numbers": list(c.tree_numbers), "record_type": c.record_type, "mapped_to": list(c.mapped_to),
            "aliases": [], "mesh_version": "tiny",
        }
        for c in concepts
    ]  # fmt: skip
    write_entities(Home(folder), rows, mesh_version="tiny")
    return Home(folder).entities("tiny")


def learn(network: E2emernModel, vocabulary: Vocabulary) -> E2emernModel:
    """Train a network until it knows the five sentences by heart, and return it."""
    samples = make_samples(gold(), tokenizer=tokenizer(), vocabulary=vocabulary)
    sampler = Sampler(samples, vocabulary=vocabulary, tokenizer=tokenizer(), tags=network.config.tags)
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=5e-3)
    for epoch in range(120):
        for batch in sampler.epoch(epoch):
            loss = joint_loss(network, batch).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()
