"""The gold documents that a user names."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model.corpus import write_corpus
from tasks.errors import InputError
from tasks.training.gold import find_gold, read_statistics
from tests.model import tiny

PUBTATOR = "7|t|Gout and aspirin\n7|a|No pain.\n7\t0\t4\tGout\tDisease\tD006073\n\n"


def test_files_say_what_they_are_or_are_told(tmp_path: Path) -> None:
    for name in ("bc5cdr.dev.PubTator", "gold.txt", "CDR_Dev.PubTator.txt"):
        (tmp_path / name).write_text(PUBTATOR)
    write_corpus([*tiny.gold(), *tiny.gold(split="dev")], tmp_path / "corpus.parquet")
    found = find_gold(
        [
            str(tmp_path / "bc5cdr.dev.PubTator"),
            str(tmp_path / "gold.txt"),
            str(tmp_path / "CDR_Dev.PubTator.txt"),
            f"cdr/test={tmp_path}/gold.txt",
            f"tiny/dev={tmp_path}/corpus.parquet",
        ]
    )
    assert {(document.corpus, document.split) for document in found} == {
        ("bc5cdr", "dev"), ("gold", "gold"), ("CDR_Dev", "gold"), ("cdr", "test"),
        ("tiny", "dev"),
    }  # fmt: skip
    assert len(found) == 9
    assert len(find_gold([str(tmp_path / "corpus.parquet")])) == 10


def test_a_file_marks_the_types_that_occur_in_it(tmp_path: Path) -> None:
    path = tmp_path / "gold.txt"
    path.write_text(PUBTATOR)
    assert find_gold([str(path)])[0].annotated_types == ("Disease",)
    path.write_text(PUBTATOR.replace("D006073\n", "D006073\n7\t9\t16\taspirin\tChemical\tD001241\n"))
    assert find_gold([str(path)])[0].annotated_types == ("Disease", "Chemical")


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (["none.txt"], "none.txt: no such gold file; expected FILE or CORPUS/SPLIT=FILE"),
        (["{tmp}/empty.txt"], "empty.txt: the file is empty; expected PubTator text$"),
        (["{tmp}/junk.txt"], "junk.txt: line 4: a second .a. line with other text; expected one a document$"),
        (
            ["{tmp}/plain.txt"],
            "plain.txt: 0 of 0 annotations usable: found none, expected Disease or Chemical in any known spelling$",
        ),
        (
            ["{tmp}/gold.txt", "gold/gold={tmp}/gold.txt"],
            "document 7 is twice in gold/gold; name each gold file once",
        ),
        (["tiny/test={tmp}/corpus.parquet"], "corpus.parquet: no split tiny/test; it holds tiny/train"),
        (["{tmp}/text.parquet"], "text.parquet: "),
        (
            ["{tmp}/fewer.parquet"],
            "fewer.parquet: no column text, sentences, abbreviations, mentions; expected a corpus as `e2emern corpus`",
        ),
    ],
)
def test_gold_that_cannot_be_used_is_told_in_a_line(tmp_path: Path, named: list[str], reason: str) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "junk.txt").write_text(PUBTATOR.strip() + "\n7|a|Other.\n")
    (tmp_path / "plain.txt").write_text("7|t|Gout\n7|a|No pain.\n")
    (tmp_path / "gold.txt").write_text(PUBTATOR)
    (tmp_path / "text.parquet").write_text("no Parquet")
    write_corpus(tiny.gold(), tmp_path / "corpus.parquet")
    named_alone = ["corpus", "split", "document_id", "annotated_types"]
    pq.write_table(pq.read_table(tmp_path / "corpus.parquet", columns=named_alone), tmp_path / "fewer.parquet")
    with pytest.raises(InputError, match=reason) as raised:
        find_gold([name.format(tmp=tmp_path) for name in named])
    assert "\n" not in str(raised.value)


def test_statistics_need_a_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "mesh.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match=r"mesh.parquet: cannot be read as an entities table"):
        read_statistics(tiny.gold(), mesh=tmp_path / "mesh.parquet")
