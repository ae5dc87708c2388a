"""A calibration: thresholds and what they are worth, as a value and as a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from conceptaudit.artifacts import Json, digest_of, read_json, write_json
from conceptaudit.display import quantity
from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.image.calibration.histograms import FloatArray
from conceptaudit.image.calibration.signal import NO_SIGNAL
from conceptaudit.image.concept_vectors import contrast_vectors, vectors_digest
from conceptaudit.records import ConceptVocabulary, Float32Array

KIND = "calibration"
FORMAT = 2
DIGITS = 5  # significant ones of what is estimated: more than its intervals are worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Thresholds of image tags, and how often tags and captions err at them.

    Arrays have one value per concept unless their shape is given.
    """

    method: str  # what it was learned from: "captions", "labels" or "scores"
    rule: str  # how thresholds were chosen, see `conceptaudit.image.calibration.learning.RULES`
    concepts: tuple[str, ...]
    # digests of the vocabulary and of its vectors (model and prompts)
    vocabulary: str
    vectors: str
    background: str  # what concept vectors were centred on
    centre: FloatArray  # shape (dimension,): subtracted from every concept vector
    n_images: int  # images that were scored; an image with several captions counts once
    # images whose captions name the concept (or a kind of it), or that are known to show it
    evidence: np.ndarray
    thresholds: FloatArray  # cosine similarities to the contrasted vectors, in [-1, 1]
    precision: FloatArray  # expected share of tags that are right; NaN where it is not known
    # 90 % intervals of precision and recall of tags; NaN where they are not known
    precision_low: FloatArray
    precision_high: FloatArray
    recall_low: FloatArray
    recall_high: FloatArray
    # how well scores tell images whose captions name the concept from the others
    auc: FloatArray
    auc_low: FloatArray
    auc_high: FloatArray
    overall_auc: tuple[float, float, float]  # the same over common nouns, with its interval
    # why the concept's count of images is not given, see `conceptaudit.image.calibration.signal`;
    # "" where it is
    reasons: tuple[str, ...]
    upper: FloatArray  # at most this share of these images shows the concept; NaN where not known
    # share of these images that show the concept, with its 90 % interval
    prevalence: FloatArray
    prevalence_low: FloatArray
    prevalence_high: FloatArray
    # shape (n_concepts, 1 + n_draws): ``recall`` and ``false_alarm`` of tags, ``caption_recall``
    # and ``caption_mistake`` (shares of captions that name the concept where it is shown and
    # elsewhere; absent unless learned from captions). The first column is the best estimate, the
    # others are draws from what is known of all four together
    rates: dict[str, FloatArray]
    notes: tuple[str, ...] = ()  # what whoever uses it should know

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return len(self.centre)

    @property
    def identified(self) -> npt.NDArray[np.bool_]:
        """Concepts whose number of images can be given, shape (n_concepts,)."""
        return np.array([not reason for reason in self.reasons])

    @property
    def has_signal(self) -> bool:
        """Whether the model's scores say anything of what captions name."""
        return NO_SIGNAL not in self.reasons

    @property
    def digest(self) -> str:
        """SHA-256 of everything in it."""
        return digest_of(_as_json(self))

    def check(self, vocabulary: ConceptVocabulary, vectors: Float32Array) -> None:
        """Check that it was made for these concepts and this model."""
        found = None
        if self.dimension != vectors.shape[1]:
            found = f"vectors of dimension {self.dimension}, and these have {vectors.shape[1]}"
        elif self.concepts != vocabulary.names:
            found = (
                f"{quantity(len(self.concepts), 'concept that is', 'concepts that are')} not "
                f"these {len(vocabulary):,}"
            )
        elif self.vocabulary != vocabulary.digest:
            found = "concepts with other aliases or prompts"
        elif self.vectors != vectors_digest(vectors):
            found = "another model, other weights or other prompt templates"
        if found is not None:
            raise ArtifactMismatchError(
                f"The calibration was made for {found}. Calibrate again with "
                "'conceptaudit calibrate' and the model and concept list of this audit."
            )

    def tagging_vectors(self, vectors: Float32Array) -> Float32Array:
        """Return the vectors that the thresholds are for."""
        return contrast_vectors(vectors, self.centre.astype(np.float32))

    def save(self, path: str | Path) -> None:
        """Write it as JSON; the same calibration gives the same bytes."""
        body = _as_json(self)
        write_json(Path(path), {**body, "sha256": digest_of(body)})

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote."""
        value = read_json(Path(path))
        if not isinstance(value, dict) or value.get("kind") != KIND:
            raise DataError(
                f"{path} is not a calibration. Write one with 'conceptaudit calibrate … -o FILE'."
            )
        body = {key: item for key, item in value.items() if key != "sha256"}
        if value.get("format") != FORMAT:
            raise DataError(
                f"{path} has format {value.get('format')!r}, and this version reads {FORMAT}. "
                "Calibrate again with 'conceptaudit calibrate'."
            )
        if value.get("sha256") != digest_of(body):
            raise DataError(f"{path} does not match its own checksum: it was changed or cut off.")
        try:
            calibration = _from_json(body)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise DataError(f"{path} is damaged: {type(error).__name__} {error}.") from error
        return _checked(calibration, path)


def is_calibration(path: Path) -> bool:
    """Whether a file is a calibration of any format, as it was written."""
    try:
        value = read_json(path)
    except DataError:
        return False
    if not isinstance(value, dict) or value.get("kind") != KIND:
        return False
    sha256 = value.pop("sha256", None)
    return bool(sha256 == digest_of(value))


_TEXTS = ("method", "rule", "vocabulary", "vectors", "background")
_COLUMNS = (
    "thresholds", "precision", "precision_low", "precision_high", "recall_low", "recall_high",
    "auc", "auc_low", "auc_high", "upper", "prevalence", "prevalence_low", "prevalence_high",
)  # fmt: skip
"""Of one number per concept, NaN where it is not known."""


def rounded(calibration: Calibration) -> Calibration:
    """Round to the digits that are written, so that a calibration equals its file."""
    columns: dict[str, Any] = {name: _round(getattr(calibration, name)) for name in _COLUMNS}
    return replace(
        calibration,
        **columns,
        # all nine digits of a float32: every image's score rests on them
        centre=_round(calibration.centre, digits=9),
        overall_auc=_triple(_round(np.array(calibration.overall_auc))),
        rates={name: _round(values) for name, values in calibration.rates.items()},
    )


def _round(values: FloatArray, digits: int = DIGITS) -> FloatArray:
    return np.array([float(f"{v:.{digits}g}") for v in values.ravel()]).reshape(values.shape)


def _triple(values: FloatArray) -> tuple[float, float, float]:
    mean, low, high = (float(value) for value in values)
    return mean, low, high


def _numbers(values: FloatArray) -> Json:
    return [None if np.isnan(value) else float(value) for value in values]


def _floats(values: Json) -> FloatArray:
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)


def _as_json(calibration: Calibration) -> dict[str, Json]:
    return {
        "kind": KIND,
        "format": FORMAT,
        **{name: getattr(calibration, name) for name in _TEXTS},
        "centre": _numbers(calibration.centre),
        "overall_auc": _numbers(np.array(calibration.overall_auc)),
        "reasons": list(calibration.reasons),
        "n_images": calibration.n_images,
        "concepts": list(calibration.concepts),
        "evidence": [int(n) for n in calibration.evidence],
        **{name: _numbers(getattr(calibration, name)) for name in _COLUMNS},
        "rates": {
            name: [_numbers(row) for row in values] for name, values in calibration.rates.items()
        },
        "notes": list(calibration.notes),
    }


def _from_json(body: dict[str, Json]) -> Calibration:
    texts: dict[str, Any] = {name: str(body[name]) for name in _TEXTS}
    columns: dict[str, Any] = {name: _floats(body[name]) for name in _COLUMNS}
    return Calibration(
        concepts=tuple(map(str, body["concepts"])),
        centre=_floats(body["centre"]),
        overall_auc=_triple(_floats(body["overall_auc"])),
        reasons=tuple(map(str, body["reasons"])),
        n_images=int(body["n_images"]),
        evidence=np.array(body["evidence"], dtype=np.int64),
        rates={
            str(name): np.stack([_floats(row) for row in rows])
            for name, rows in body["rates"].items()
        },
        notes=tuple(map(str, body["notes"])),
        **texts,
        **columns,
    )


def _checked(calibration: Calibration, path: str | Path) -> Calibration:
    n = len(calibration.concepts)
    flat = [getattr(calibration, name) for name in (*_COLUMNS, "evidence")]
    flat.append(np.array(calibration.reasons))
    lengths = {values.size if values.ndim == 1 else -1 for values in flat}
    lengths |= {len(values) for values in calibration.rates.values()}
    if lengths != {n} or not {"recall", "false_alarm"} <= calibration.rates.keys():
        raise DataError(f"{path} is damaged: its columns do not have one row per concept ({n:,}).")
    if not bool(np.isfinite(calibration.centre).all()):
        raise DataError(f"{path} is damaged: the vector that it centres on is not finite.")
    for name, values in {"thresholds": calibration.thresholds, **calibration.rates}.items():
        low = -1.0 if name == "thresholds" else 0.0
        if not bool(((values >= low) & (values <= 1.0)).all()):
            raise DataError(f"{path} is damaged: its {name} must lie in [{low:g}, 1].")
    return calibration
