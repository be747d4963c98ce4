"""Publish gate: the figures of the tables may not change beyond set limits against the previous snapshot.

Losses are limited, but growth is not: every new document is in a source whose record counts reconcile, and a first
baseline multiplies the tables. The figures per document show the effect of a bad source or model. Another model or
vocabulary changes these figures for good reason, so their limits are wider. The limit on lost documents is not, so an
unfinished backfill is not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from e2emern.warehouse.layout import Versions

# Shares of mentions by branch (C04, D02 ...) of the vocabulary in `entities`. A concept of several branches counts in
# equal parts in each; one outside the trees counts as 'no branch'.
_BRANCHES_SQL = """
WITH
    numbered AS (
        SELECT mesh_id, unnest(tree_numbers) AS number FROM entities
        UNION ALL
        SELECT mapped.mesh_id, unnest(descriptor.tree_numbers)
        FROM (SELECT mesh_id, unnest(mapped_to) AS descriptor_id FROM entities) AS mapped
        JOIN entities AS descriptor ON descriptor.mesh_id = mapped.descriptor_id
    ),
    branch AS (SELECT DISTINCT mesh_id, split_part(number, '.', 1) AS branch FROM numbered),
    weighed AS (SELECT mesh_id, branch, 1 / count(*) OVER (PARTITION BY mesh_id) AS weight FROM branch),
    final AS (
        SELECT coalesce(branch, 'no branch') AS branch, sum(mentions * coalesce(weight, 1)) AS mentions
        FROM {concepts} LEFT JOIN weighed USING (mesh_id)
        GROUP BY ALL
    )
SELECT branch, mentions / sum(mentions) OVER () AS share FROM final
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Allowed changes from the previous snapshot; shares are between 0 and 1."""

    least_documents: int = 5_000  # a smaller previous snapshot is too small to compare with
    documents_lost: float = 0.01  # share of documents
    mentions_lost: float = 0.03  # share of mentions
    mentions_per_document: float = 0.10  # relative change
    unlinked: float = 0.03  # change of the share of mentions without a concept
    concept_mix: float = 0.05  # total variation distance of the shares of branches
    across_versions: float = 3.0  # factor on all but documents_lost under another model or vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of a snapshot that the gate compares; `branches` are shares of linked mentions."""

    versions: Versions
    documents: int
    mentions: int
    linked: int
    branches: Mapping[str, float]

    @property
    def mentions_per_document(self) -> float:
        """Mean number of mentions of a document."""
        return self.mentions / max(self.documents, 1)

    @property
    def unlinked(self) -> float:
        """Share of mentions without a concept."""
        return (self.mentions - self.linked) / max(self.mentions, 1)


def exceeded(before: Figures, now: Figures, *, limits: Limits) -> list[str]:
    """Return a line for each figure beyond its limit: its name, old and new value, and the limit."""
    if before.documents < limits.least_documents:
        return []
    width = 1.0 if before.versions == now.versions else limits.across_versions
    found = []
    for name, was, now_is, share in (
        ("documents", before.documents, now.documents, limits.documents_lost),
        ("mentions", before.mentions, now.mentions, limits.mentions_lost * width),
    ):
        if now_is < was * (1 - share):
            found.append(f"{name}: was {was:,}, is {now_is:,}, limit {share:.0%} lost")
    was_mean, is_mean = before.mentions_per_document, now.mentions_per_document
    if abs(is_mean - was_mean) > was_mean * limits.mentions_per_document * width:
        limit = limits.mentions_per_document * width
        found.append(f"mentions per document: was {was_mean:.2f}, is {is_mean:.2f}, limit {limit:.0%} either way")
    if abs(now.unlinked - before.unlinked) > limits.unlinked * width:
        limit = 100 * limits.unlinked * width
        found.append(
            f"unlinked share of mentions: was {before.unlinked:.1%}, is {now.unlinked:.1%}, "
            f"limit {limit:.0f} points either way"
        )
    if found_mix := _concept_mix(before.branches, now.branches, limit=limits.concept_mix * width):
        found.append(found_mix)
    if found and before.versions != now.versions:
        found[-1] += f" (wider limits: {before.versions} -> {now.versions})"
    return found


def branch_shares(connection: duckdb.DuckDBPyConnection, concepts: str) -> dict[str, float]:
    """Return the share of mentions in each tree branch of the connection's `entities`, for a table of concepts."""
    return dict(connection.execute(_BRANCHES_SQL.format(concepts=concepts)).fetchall())


def total_variation(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the total variation distance of two distributions: 0 if equal, 1 if disjoint."""
    return sum(abs(one.get(key, 0.0) - other.get(key, 0.0)) for key in {*one, *other}) / 2


def _concept_mix(before: Mapping[str, float], now: Mapping[str, float], *, limit: float) -> str | None:
    moved = {branch: now.get(branch, 0.0) - before.get(branch, 0.0) for branch in {*before, *now}}
    distance = total_variation(before, now)
    if not before or not now or distance <= limit:
        return None
    most = max(sorted(moved), key=lambda branch: abs(moved[branch]))
    return (
        f"concept mix: branch {most} was {before.get(most, 0.0):.1%}, is {now.get(most, 0.0):.1%} of linked mentions; "
        f"distance of all branches {distance:.2f}, limit {limit:.2f}"
    )
