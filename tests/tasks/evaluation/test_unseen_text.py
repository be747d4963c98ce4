"""Text without gold: the part to learn from, and the part that is held out."""

from __future__ import annotations

import json
from pathlib import Path

from e2emern.tasks.evaluation.unseen_text import main, part_of


def test_no_text_is_both_learned_from_and_held_out(tmp_path: Path) -> None:
    passages = [f"Passage {number} says that aspirin helps." for number in range(200)]
    documents = [{"id": str(number), "text": f"Document {number} is about COVID-19. " * 3} for number in range(20)]
    (tmp_path / "passages.txt").write_text("\n".join([*passages, "", ""]))
    (tmp_path / "documents.jsonl").write_text("\n".join(map(json.dumps, documents)))
    assert main([f"{tmp_path}/passages.txt", f"{tmp_path}/documents.jsonl", "--output", f"{tmp_path}/unseen"]) == 0

    train = (tmp_path / "unseen/train.txt").read_text().splitlines()
    dev = (tmp_path / "unseen/pubmed.dev.txt").read_text().splitlines()
    held_out = [json.loads(line) for line in (tmp_path / "unseen/litcovid.dev.jsonl").read_text().splitlines()]
    assert dev == [text for text in passages if part_of(text, 10) == 0]
    assert [text for text in train if text in passages] == [text for text in passages if part_of(text, 10) == 1]
    learned = [text for text in train if text not in passages]
    texts = [str(each["text"]).strip() for each in documents]
    assert sorted([*learned, *(each["text"] for each in held_out)]) == sorted(texts)
    assert dev
    assert learned
    assert held_out
