"""Whether captions are counted exactly or fast."""

from __future__ import annotations

from collections.abc import Sequence

from conceptaudit.auditing.drawn import ROWS_OF_UNKNOWN, DrawnDataset
from conceptaudit.datasets.base import CAPTION_UNIT, Dataset, Shard
from conceptaudit.errors import ConfigError
from conceptaudit.options.audit import EXACT, FAST, AuditOptions
from conceptaudit.text.fast import FastTextTagger
from conceptaudit.text.tagger import TextTagger, annotator_of

FAST_ABOVE = 1_000_000
"""Captions above which ``auto`` counts fast."""


def choose_text_mode(
    tagger: TextTagger, dataset: Dataset, options: AuditOptions, *, calibrates: bool
) -> tuple[TextTagger | FastTextTagger, tuple[str, ...]]:
    """Return the stage for the captions, and what to tell about the choice.

    Parameters
    ----------
    tagger : TextTagger
        The exact stage.
    dataset : Dataset
        Its size decides where the options leave it open.
    options : AuditOptions
    calibrates : bool
        Whether thresholds for images are learnt from the captions' tags, which have to be whole.

    Raises
    ------
    ConfigError
        The fast mode was asked for together with what it cannot do.
    """
    hindrance = _hindrance(tagger, options, calibrates=calibrates)
    if options.text_mode == FAST and hindrance is not None:
        raise ConfigError(
            f"The text mode 'fast' cannot be had with {hindrance}. Use --text-mode exact, or leave "
            "that out."
        )
    if options.text_mode == EXACT:
        return tagger, ()
    fast = FastTextTagger(exact=tagger, error=options.text_error)
    if options.text_mode == FAST:
        return fast, ()
    n = dataset.n if isinstance(dataset, DrawnDataset) else _n_captions(dataset.shards())
    if n <= FAST_ABOVE:
        return tagger, ()
    if hindrance is not None:
        note = (
            f"Every one of about {n:,} captions is decided, which takes long: the fast text mode "
            f"cannot be had with {hindrance}."
        )
        return tagger, (note,)
    return fast, (f"With about {n:,} captions, more than {FAST_ABOVE:,}, text is counted fast.",)


def _hindrance(tagger: TextTagger, options: AuditOptions, *, calibrates: bool) -> str | None:
    reasons = {
        "documents": options.unit != CAPTION_UNIT,
        "counts by language": options.by_language,
        "co-occurrence": options.cooccurrence,
        "thresholds learnt from the captions (--calibration none leaves them out)": calibrates,
    }
    if not annotator_of(tagger).can_sample:
        reasons[f"{options.spacy_model!r}, a pipeline that is not for English"] = True
    return next((reason for reason, holds in reasons.items() if holds), None)


def _n_captions(shards: Sequence[Shard]) -> int:
    return sum(ROWS_OF_UNKNOWN if shard.stop < 0 else shard.stop - shard.start for shard in shards)
