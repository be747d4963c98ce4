"""British spellings become those of MeSH, and others stay."""

from __future__ import annotations

import pytest

from e2emern.model.spelling import american


@pytest.mark.parametrize(
    ("british", "expected"),
    [
        ("oedema", "edema"),
        ("Oedema", "Edema"),
        ("ischaemic heart disease", "ischemic heart disease"),
        ("Haemopericardium", "Hemopericardium"),
        ("gastrointestinal haemorrhage", "gastrointestinal hemorrhage"),
        ("iron deficiency anaemia", "iron deficiency anemia"),
        ("oesophageal tumours", "esophageal tumors"),
        ("diarrhoea and dyspnoea", "diarrhea and dyspnea"),
        ("dimethyl sulphoxide", "dimethyl sulfoxide"),
        ("17-beta-oestradiol", "17-beta-estradiol"),
        ("foetal distress", "fetal distress"),
        ("coeliac disease", "celiac disease"),
        ("local anaesthetics", "local anesthetics"),
        ("leucopenia", "leukopenia"),
        ("Phaeochromocytoma", "Pheochromocytoma"),
        ("nerve fibres", "nerve fibers"),
        ("behavioural disorders", "behavioral disorders"),
    ],
)
def test_british_words(british: str, expected: str) -> None:
    assert american(british) == expected
    assert american(expected) == expected


@pytest.mark.parametrize("words", ["cancer", "aerobic exercise", "Michael", "toes", "poem", "fibrosis"])
def test_other_words_stay(words: str) -> None:
    assert american(words) == words
