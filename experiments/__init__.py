"""The paper's tables on our encoder: its ablation, attentions, frameworks and baselines, trained and scored anew.

Needs model/ alone, and a prepared corpus: it runs on a GPU machine without Prefect, DuckDB or parsers.
"""
