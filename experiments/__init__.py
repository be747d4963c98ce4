"""The paper's tables on our encoder: ablation, attentions, frameworks and baselines, trained and scored again.

Needs only model/ and a prepared corpus, so that it runs on a GPU machine without Prefect, DuckDB or parsers.
"""
