"""Gold corpora: read, joined and counted."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2emern.model.corpus import GoldMention, read_corpus, write_corpus
from e2emern.tasks.errors import InputError, SourceError
from e2emern.tasks.training.gold import (
    describe_unknown_ids,
    find_gold,
    join_corpora,
    read_gold,
    read_statistics,
    read_tagged,
)
from tests.model import tiny

PUBTATOR = """\
7|t|Diabetic neuropathy and aspirin
7|a|Breast and ovarian cancer.
7\t0\t19\tDiabetic neuropathy\tSpecificDisease\tMESH:D003929
7\t24\t31\taspirin\tChemical\tD001241
7\t32\t57\tBreast and ovarian cancer\tCompositeMention\tD001943|D010051

"""
GOUT = "7|t|Gout and aspirin\n7|a|No pain.\n7\t0\t4\tGout\tDisease\tD006073\n\n"
TAGGED = "Renal\tB\nfailure\tI\nafter\tO\ncolitis\tB\n\nNo\tO\nrash\tI\n\n"


def test_types_are_folded_and_what_a_corpus_does_not_annotate_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "gold.PubTator"
    path.write_text(PUBTATOR)
    (document,) = read_gold(path, corpus="ncbi", split="train", annotated_types=("Disease",))
    assert document.mentions == (
        GoldMention(0, 19, "Disease", ("MESH:D003929",)),
        GoldMention(32, 57, "Disease", ("D001943", "D010051"), composite=True),
    )


def test_columns_of_tags_become_one_document_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "gold.tsv"
    path.write_text(TAGGED)
    first, second = read_tagged(path, corpus="tags", split="train", annotated_types=("Disease",))
    assert first.text == "Renal failure after colitis"
    assert [first.text[m.start : m.end] for m in first.mentions] == ["Renal failure", "colitis"]
    assert [sentence.text for sentence in first.sentences] == [first.text]
    assert [second.text[m.start : m.end] for m in second.mentions] == ["rash"]
    assert (first.document_id, second.document_id) == ("gold.tsv:4", "gold.tsv:7")


def test_only_a_line_feed_ends_a_line_and_a_byte_order_mark_is_no_token(tmp_path: Path) -> None:
    path = tmp_path / "gold.tsv"
    path.write_bytes("\ufeffRenal\tB\r\nfail\u2028ure\tI\r\n\x85\x0c\tO\r\n".encode())
    (document,) = read_tagged(path, corpus="tags", split="train", annotated_types=("Disease",))
    assert document.text == "Renal fail\u2028ure \x85\x0c"
    assert document.mentions == (GoldMention(0, 14, "Disease", ()),)


@pytest.mark.parametrize(
    ("text", "types", "reason"),
    [
        ("Renal\tB\nfailure I\n", ("Disease",), "line 2: found 'failure I', expected a token, a tab and B, I or O"),
        ("Renal\tB\n", ("Disease", "Chemical"), "tags without types; name the type: --annotates tags=Disease"),
    ],
)
def test_invalid_columns_are_refused(tmp_path: Path, text: str, types: tuple[str, ...], reason: str) -> None:
    path = tmp_path / "gold.tsv"
    path.write_text(text)
    with pytest.raises(SourceError, match=reason):
        list(read_tagged(path, corpus="tags", split="train", annotated_types=types))


def test_no_document_is_joined_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(PUBTATOR)
    join_corpora([f"a/train={tmp_path / 'one'}", f"a/dev={tmp_path / 'two'}"], output=tmp_path / "splits.parquet")
    with pytest.raises(InputError, match=r"^document \w+ is twice in a/train; name each gold file once$"):
        join_corpora([f"a/train={tmp_path / 'one'}", f"a/train={tmp_path / 'two'}"], output=tmp_path / "same.parquet")
    assert not (tmp_path / "same.parquet").exists()


def test_corpora_are_joined_into_one_file(tmp_path: Path) -> None:
    (tmp_path / "gold.PubTator").write_text(PUBTATOR)
    (tmp_path / "gold.tsv").write_text(TAGGED)
    output, lines = tmp_path / "corpus.parquet", list[str]()
    named = [f"ncbi/train={tmp_path}/gold.PubTator", f"tags/train={tmp_path}/gold.tsv"]
    join_corpora(named, annotates=["tags=Disease"], output=output, log=lines.append)
    assert lines == ["ncbi/train: 1 document, 3 mentions", "tags/train: 2 documents, 3 mentions"]
    assert [document.corpus for document in read_corpus(output)] == ["ncbi", "tags", "tags"]


SPELT = """\
7|t|Diabetic neuropathy and aspirin
7|a|Breast cancer, TP53 and gout.
7\t0\t19\tDiabetic neuropathy\tdisease\tmesh:D003929
7\t24\t31\taspirin\tDRUG\thttp://id.nlm.nih.gov/mesh/D001241
7\t32\t45\tBreast cancer\tDiseaseOrPhenotypicFeature\tCUI-less
7\t47\t51\tTP53\tGeneOrGeneProduct\t7157
7\t56\t60\tgout\tMODIFIER\tNA|D006073*
7\t56\t60\tGout\tDisease\tD006073
"""


def test_spellings_are_normalized_and_skipped_annotations_counted(tmp_path: Path) -> None:
    path, lines = tmp_path / "gold.PubTator", list[str]()
    path.write_text(SPELT)
    (document,) = read_gold(path, corpus="ncbi", split="train", log=lines.append)
    assert document.mentions == (
        GoldMention(0, 19, "Disease", ("mesh:D003929",)),
        GoldMention(24, 31, "Chemical", ("http://id.nlm.nih.gov/mesh/D001241",)),
        GoldMention(32, 45, "Disease", ()),
        GoldMention(56, 60, "Disease", ("D006073*",)),
    )
    assert lines == [
        "gold.PubTator: passed over: 1 GeneOrGeneProduct",
        "gold.PubTator: 1 invalid annotation: 1 other words at its offsets",
        "gold.PubTator: for example, line 8: found 'gout' at 56-60, expected 'Gout'",
    ]


@pytest.mark.parametrize("written", ["CUI-less", "None", "NA", "NIL", "-", "-1", "", "MESH:-1", "none"])
def test_a_mention_without_an_id_has_no_concept(tmp_path: Path, written: str) -> None:
    path = tmp_path / "gold.PubTator"
    path.write_text(f"7|t|Gout\n7|a|\n7\t0\t4\tGout\tDisease\t{written}\n")
    (document,) = read_gold(path, corpus="ncbi", split="train")
    assert document.mentions == (GoldMention(0, 4, "Disease", ()),)


def test_a_file_without_usable_mentions_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "gold.PubTator"
    path.write_text(PUBTATOR)
    with pytest.raises(InputError) as raised:
        read_gold(path, corpus="ncbi", split="train", annotated_types=("Gene",))
    assert str(raised.value) == (
        f"{path}: 0 of 3 annotations usable: found 1 Chemical, 1 CompositeMention, 1 SpecificDisease, "
        "expected Gene in any known spelling"
    )


def test_ids_that_the_vocabulary_lacks_are_counted(tmp_path: Path) -> None:
    path, lines = tmp_path / "gold.PubTator", list[str]()
    path.write_text(
        "7|t|Breast cancer, gout and cisplatin\n7|a|\n7\t0\t13\tBreast cancer\tDisease\tmesh:D001|D8\n"
        "7\t15\t19\tgout\tDisease\tD9\n7\t15\t19\tgout\tDisease\tD9\n7\t24\t33\tcisplatin\tChemical\tC007\n"
    )
    mesh = tiny.save_entities(tmp_path, tiny.CONCEPTS)
    join_corpora([f"a/b={path}"], output=tmp_path / "corpus.parquet", mesh=mesh, log=lines.append)
    assert lines[-1] == "3 of 5 gold ids are not in the vocabulary of MeSH tiny, such as D9"
    documents = read_corpus(tmp_path / "corpus.parquet")
    assert describe_unknown_ids(documents[:0], tiny.vocabulary()) is None


@pytest.mark.parametrize(
    ("named", "annotates", "message"),
    [
        ("gold.PubTator", "", r"^gold\.PubTator: expected CORPUS/SPLIT=FILE, such as bc5cdr/train=CDR\.PubTator$"),
        ("a/b=none.tsv", "a=Disease", r"^none\.tsv: cannot be read \(No such file or directory\)$"),
        ("a/b=none.PubTator", "", r"^none\.PubTator: "),
        ("a/b=none.tsv", "A=Disease", r"^--annotates A: no file is of this corpus, but of a$"),
        ("a/b=x.tsv", "a=Gene", r"^--annotates a=Gene: expected CORPUS=TYPE, of Disease and Chemical$"),
    ],
)
def test_what_cannot_be_joined_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, annotates: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as raised:
        join_corpora([named], annotates=[annotates] if annotates else [], output=Path("corpus.parquet"))
    assert "\n" not in str(raised.value)
    assert not Path("corpus.parquet").exists()


def test_corpus_and_split_come_from_file_names_or_are_reported(tmp_path: Path) -> None:
    for name in ("bc5cdr.dev.PubTator", "gold.txt", "CDR_Dev.PubTator.txt"):
        (tmp_path / name).write_text(GOUT)
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
    path.write_text(GOUT)
    assert find_gold([str(path)])[0].annotated_types == ("Disease",)
    path.write_text(GOUT.replace("D006073\n", "D006073\n7\t9\t16\taspirin\tChemical\tD001241\n"))
    assert find_gold([str(path)])[0].annotated_types == ("Disease", "Chemical")


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (["none.txt"], r"none.txt: no such gold file \(setting gold, or --gold\); expected FILE or CORPUS/SPLIT=FILE"),
        (["{tmp}/empty.txt"], "empty.txt: the file is empty; expected PubTator text$"),
        (["{tmp}/junk.txt"], "junk.txt: line 4: a second .a. line with other text; expected one per document$"),
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
def test_gold_that_cannot_be_used_is_reported_in_a_line(tmp_path: Path, named: list[str], reason: str) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "junk.txt").write_text(GOUT.strip() + "\n7|a|Other.\n")
    (tmp_path / "plain.txt").write_text("7|t|Gout\n7|a|No pain.\n")
    (tmp_path / "gold.txt").write_text(GOUT)
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
