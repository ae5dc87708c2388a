"""The head of the report: what was audited, and the numbers to remember."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from conceptaudit.report.formatting import count, percent, reason
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.templating import Section, render

MOST_NOTES = 8
"""More notes than these are folded."""

LIMITS = ("Partial:", "not calibrated", "not audited", "can never", "Skipped", "could not")
"""Words of notes that limit what the numbers mean; the others tell what was detected."""


def headline(run: RunRecord, *, titled: bool) -> Markup:
    """Say in one sentence what was looked for; with a title of the user's own, also where."""
    return render("_lead.html", run=run, titled=titled)


def tail_share(counts: np.ndarray, held: float) -> float:
    """Share of concepts, rarest first, that together hold at most a share of all tags.

    >>> tail_share(np.array([90, 9, 1, 0]), 0.10)
    0.75
    """
    total = int(counts.sum())
    if not total:
        return 1.0
    running = np.cumsum(np.sort(counts))
    return float((running <= held * total).sum() / len(counts))


def overview(run: RunRecord) -> Section:
    """Build the key numbers, the account and the notes."""
    counts = run.table[run.strictest].to_numpy(dtype=np.int64)
    alignment = run.alignment
    corrected = alignment.get("corrected") or {}
    partial = run.manifest.get("partial")
    account = run.manifest["account"]
    # what limits the numbers comes before what was merely detected
    notes = sorted(map(str, run.manifest["notes"]), key=lambda note: not _limits(note))
    return Section(
        identifier="overview",
        title="In short",
        short="In short",
        values={
            "run": run,
            "n": len(counts),
            "found": {column: int((run.table[column] > 0).sum()) for column in run.counted},
            "tenth": tail_share(counts, 0.10),
            "hundredth": tail_share(counts, 0.01),
            "misaligned": alignment if _is_aligned(alignment) else None,
            "corrected": corrected if corrected.get("nothing_named_is_shown") is not None else None,
            "partial": partial if isinstance(partial, dict) else None,
            "notes": notes,
            "most_notes": MOST_NOTES,
            "accounts": {
                side: _account(account[side]) for side in ("text", "image") if side in account
            },
        },
    )


def _limits(note: str) -> bool:
    return any(word in note for word in LIMITS)


def _is_aligned(alignment: dict[str, Any]) -> bool:
    return alignment.get("n_misaligned") is not None and bool(alignment.get("n_both_tagged"))


def _account(account: dict[str, Any]) -> dict[str, Any]:
    """Lay one side's account out: rows of the table, and whether they add up."""
    total = max(account["n_samples"], 1)
    lines = [("read", account["n_samples"]), ("counted", account["n_used"])]
    lines += [(f"dropped: {reason(code)}", n) for code, n in account["dropped"].items()]
    lines += [(f"counted, but {reason(code)}", n) for code, n in account["noted"].items()]
    return {
        "rows": [[label, count(n), percent(n / total)] for label, n in lines],
        "adds_up": account["n_used"] + sum(account["dropped"].values()) == account["n_samples"],
    }
