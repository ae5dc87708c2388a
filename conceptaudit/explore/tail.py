"""Pages of a long-tail set: its classes, why each image is in it or not, what models make of it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pandas as pd

from conceptaudit.artifacts import MANIFEST, read_json
from conceptaudit.errors import ConceptAuditError
from conceptaudit.explore.media import LARGE, SMALL, thumbnail
from conceptaudit.explore.views import NotThereError, Site
from conceptaudit.longtail import REASONS
from conceptaudit.reading import exact_texts, read_parquet
from conceptaudit.report.count_charts import tail_chart
from conceptaudit.report.sections.longtail import file_inside, removed_by_reason
from conceptaudit.store.shards import stage_tables

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from conceptaudit.longtail import LongTailSet

MOST_PAIRS = 24
MOST_REMOVED = 200


class TailResults:
    """What `evaluate` wrote about a set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = read_json(folder / MANIFEST)
        self.names: list[str] = [str(name) for name in manifest.get("classes", ())]
        self.accuracies = _csv(folder / "accuracies.csv")
        self.confusions = _csv(folder / "confusions.csv")

    @cached_property
    def guesses(self) -> pd.DataFrame:
        """First guess for every image, of the first model: ``key``, ``concept``, ``guess``."""
        folders = sorted(path for path in self.folder.glob("guesses-*") if path.is_dir())
        paths = stage_tables(folders[0]) if folders else []
        parts = [read_parquet(path, columns=["key", "class_index", "guess_1"]) for path in paths]
        if not parts or not self.names:
            return pd.DataFrame({"key": [], "concept": [], "guess": []})
        table = pd.concat(parts, ignore_index=True)
        known = table[["class_index", "guess_1"]].max(axis=1) < len(self.names)
        table = table[known]
        return pd.DataFrame(
            {
                "key": table["key"].astype("str"),
                "concept": [self.names[i] for i in table["class_index"]],
                "guess": [self.names[i] for i in table["guess_1"]],
            }
        )


def _csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame()
    return exact_texts(pd.read_csv(path, dtype={"concept": "str", "predicted": "str"}))


class TailPages(Site):
    """A set, one of its classes, an image of it."""

    def routes(self) -> list[Route]:
        """List the addresses."""
        from starlette.routing import Route

        return [
            Route("/set", self.overview),
            Route("/set/class/{number:int}", self.one_class),
            Route("/set/image/{row:int}", self.image),
        ]

    @property
    def _set(self) -> LongTailSet:
        if self.session.longtail is None:
            raise NotThereError("No long-tail set was named (--set).")
        return self.session.longtail

    @cached_property
    def _results(self) -> list[TailResults]:
        return [TailResults(Path(one)) for one in self.session.options.tail_results]

    @cached_property
    def _predicted(self) -> pd.DataFrame | None:
        """Predicted and measured accuracy by class, where curve and results allow it."""
        from conceptaudit.curves import check_predictions
        from conceptaudit.zeroshot.readers import read_accuracies

        if self.session.curve is None or not self._results:
            return None
        frequencies = self.session.runs[0].record.frequencies
        try:
            measured = read_accuracies([str(one.folder) for one in self._results])
            checks = check_predictions(self.session.curve, frequencies, measured)
        except ConceptAuditError:
            return None
        return checks[0].table

    def overview(self, request: Request) -> Response:
        """Show the classes."""
        made = self._set
        classes = [dict(one) for one in made.manifest["classes"]]
        measured = self._measured()
        for one in classes:
            one["predicted"] = self._prediction(one["concept"])
            one["measured"] = measured.get(one["concept"])
            rows = made.images.index[made.images["concept"] == one["concept"]]
            one["rows"] = rows[:4].tolist()
        return self.page(
            request,
            "tail.html",
            made=made,
            classes=classes,
            removed=removed_by_reason(made),
            chart=tail_chart(made),
            pairs=self._pairs(None),
            pictured="file" in made.images,
        )

    def _measured(self) -> dict[str, dict[str, float]]:
        measured = {}
        for one in self._results[:1]:
            for row in one.accuracies.to_dict("records"):
                measured[str(row["concept"])] = {
                    "n": float(row.get("acc1", float("nan"))),
                    "n_correct": float(row.get("n_correct", float("nan"))),
                    "n_images": float(row.get("n_images", float("nan"))),
                }
        return measured

    def one_class(self, request: Request) -> Response:
        """Show the images of a class, why each is in it, and why others are not."""
        made = self._set
        number = request.path_params["number"]
        if number >= len(made.manifest["classes"]):
            raise NotThereError("The set has no such class.")
        one = made.manifest["classes"][number]
        images = made.images[made.images["concept"] == one["concept"]]
        out = made.removed[made.removed["concept"] == one["concept"]]
        guesses: dict[str, str] = {}
        for result in self._results[:1]:
            table = result.guesses
            guesses = dict(zip(table["key"], table["guess"], strict=True))
        return self.page(
            request,
            "tail_class.html",
            made=made,
            one=one,
            images=[
                {**{str(k): v for k, v in row.items()}, "row": place,
                 "guess": guesses.get(_key_of(str(row["file"])))}
                for place, row in zip(images.index.tolist(), images.to_dict("records"), strict=True)
            ],
            removed=[
                {**{str(k): v for k, v in row.items()},
                 "meaning": REASONS.get(str(row["reason"]), str(row["reason"]).replace("_", " "))}
                for row in out.head(MOST_REMOVED).to_dict("records")
            ],
            n_removed=len(out),
            pairs=self._pairs(str(one["concept"])),
            predicted=self._prediction(str(one["concept"])),
            measured=self._measured().get(str(one["concept"])),
        )  # fmt: skip

    def _prediction(self, concept: str) -> dict[str, float] | None:
        table = self._predicted
        if table is None:
            return None
        rows = table[table["concept"] == concept][["predicted", "low", "high"]].to_dict("records")
        return {str(name): float(value) for name, value in rows[0].items()} if rows else None

    def _pairs(self, concept: str | None) -> list[dict[str, Any]]:
        """Images that were taken for another class, each beside an image of that class."""
        if not self._results or "file" not in self._set.images:
            return []
        result = self._results[0]
        confused = result.confusions
        if confused.empty:
            return []
        if concept is not None:
            confused = confused[confused["concept"] == concept]
        images = self._set.images
        row_of = {_key_of(str(file)): place for place, file in enumerate(images["file"])}
        first_of = {str(name): rows[0] for name, rows in images.groupby("concept").indices.items()}
        pairs = []
        for row in confused.head(MOST_PAIRS).to_dict("records"):
            wrong = result.guesses
            wrong = wrong[
                (wrong["concept"] == row["concept"]) & (wrong["guess"] == row["predicted"])
            ]
            shown = [row_of[key] for key in wrong["key"] if key in row_of][:2]
            if shown:
                pairs.append(
                    {
                        "concept": row["concept"],
                        "predicted": row["predicted"],
                        "n": int(row["n"]),
                        "share": float(row["share"]),
                        "shown": shown,
                        "other": first_of.get(str(row["predicted"])),
                        "sample": self._sample(str(row["predicted"])),
                    }
                )
        return pairs

    def _sample(self, concept: str) -> int | None:
        """Return the audited sample that shows a concept best, for a class that the set lacks."""
        run = self.session.runs[0]
        if concept not in run.ids or not run.has_images:
            return None
        tags = run.tags(run.ids[concept])
        return int(tags.image[tags.scores.argmax()]) if len(tags.image) else None

    def image(self, request: Request) -> Response:
        """Send an image of the set, encoded anew; only files that its own table names inside it."""
        from starlette.responses import Response

        made = self._set
        place = request.path_params["row"]
        if place >= len(made.images) or "file" not in made.images:
            raise NotThereError("The set has no such image.")
        path = file_inside(made.folder, str(made.images["file"].iloc[place]))
        side = LARGE if request.query_params.get("size") == "large" else SMALL
        try:
            data = None if path is None else thumbnail(path.read_bytes(), side)
        except OSError:
            data = None
        if data is None:
            return Response(b"", status_code=404)
        return Response(
            data, media_type="image/webp", headers={"cache-control": "private, max-age=600"}
        )


def _key_of(file: str) -> str:
    """Key under which an evaluation of the set knows one of its files."""
    path = PurePosixPath(file)
    parts = path.with_suffix("").parts
    return "/".join(parts[1:] if parts and parts[0] == "images" else parts)
