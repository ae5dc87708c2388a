"""``conceptaudit demo``: the whole job on a simulated dataset."""

from __future__ import annotations

from pathlib import Path

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import emit_json, progress_bar, say
from conceptaudit.cli.generated import takes_options
from conceptaudit.display import quantity
from conceptaudit.options import shared
from conceptaudit.options.fields import flag, option


@takes_options
def demo(
    *,
    out: Path = option(Path("demo"), "Folder for everything.", flags=("-o",)),
    seed: int = option(1, "Of the simulated data."),
    samples: int = option(6_000, "Pairs in the audited dataset."),
    workers: int | None = shared.workers(default=None),
    overwrite: bool = flag("Replace an earlier demo."),
    as_json: bool = AS_JSON,
) -> None:
    """Audit, fit, predict, build a long-tail set and report, on simulated data, offline.

    The true counts of the simulated dataset are known, so the report can say how far off each
    number is.

    \u0008
    Example:
      conceptaudit demo -o demo
    """
    from dataclasses import replace

    from conceptaudit.demo import DemoSize, run_demo

    size = replace(DemoSize(), n_samples=samples)
    with progress_bar() as progress:
        result = run_demo(
            out, size=size, seed=seed, workers=workers, overwrite=overwrite, progress=progress
        )
    fit = result.curve.fits[0]
    factors = {"text": 10**result.text_error, "image": 10**result.image_error}
    if as_json:
        emit_json(
            {
                "folder": str(result.folder),
                "report": str(result.report),
                "account": result.run.account,
                "count_error_factor": factors,
                "slope_per_decade": [fit.line.slope, fit.line.slope_low, fit.line.slope_high],
                "r_per_concept": fit.line.r,
                "held_out_coverage": result.coverage,
                "n_held_out": len(result.held_out),
                "n_long_tail_images": len(result.tail.images),
                "n_tail_inside": [result.tail_check.n_inside, len(result.tail_check.table)],
            }
        )
        return
    account = result.run.account["text"]
    say(
        f"\nAudited {quantity(account['n_samples'], 'simulated pair')} of "
        f"{quantity(len(result.run.table), 'concept')}."
    )
    say(
        f"Against truth, counts of frequent concepts are off by a factor of {factors['text']:.2f} "
        f"in text and {factors['image']:.2f} in images (median; thresholds calibrated "
        "from the captions)."
    )
    say(
        f"Accuracy grows by {100 * fit.line.slope:.1f} points per decade of frequency "
        f"({100 * fit.line.slope_low:.1f} to {100 * fit.line.slope_high:.1f}), "
        f"r = {fit.line.r:.2f} over {quantity(fit.usage.n_used, 'concept')}."
    )
    say(
        f"{100 * result.coverage:.0f} % of {quantity(len(result.held_out), 'held-out class')} lie "
        f"in their {100 * result.curve.level:.0f} % interval."
    )
    say(
        f"Long-tail set: {quantity(len(result.tail.images), 'image')} of "
        f"{quantity(len(result.tail.concepts), 'rare concept')}; {result.tail_check.n_inside:,} of "
        f"{len(result.tail_check.table):,} came out inside the interval predicted before."
    )
    folder = result.folder
    say(f"\nOpen {result.report}, or look around:")
    say(
        f"  conceptaudit explore {folder / 'audit'} --curve {folder / 'curve'} "
        f"--set {folder / 'longtail'} --tail-results {folder / 'tail-evaluation'}"
    )
