"""``conceptaudit status``: how far a run is, what it has dropped, and what it costs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import duration, emit_json, say, say_table
from conceptaudit.cli.generated import takes_options
from conceptaudit.cli.parts import places_of
from conceptaudit.display import quantity
from conceptaudit.options.fields import argument, option

if TYPE_CHECKING:
    from conceptaudit.runstatus import RunStatus

SHOWN = 5


@takes_options
def status(
    run: Path = argument("What the command was told to write (-o)."),
    *,
    price_cpu: float = option(0.0, "Price of a core-hour, in any currency.", within="[0.0, inf)"),
    price_gpu: float = option(0.0, "Price of a GPU-hour.", within="[0.0, inf)"),
    as_json: bool = AS_JSON,
) -> None:
    """Show how far a run is: stages, parts, rate, time left, dropped samples, cost.

    Works while the run goes on, and changes nothing. Core-hours and GPU-hours are those reserved:
    the time of every process that has logged, times the cores and GPUs that it may use. Machines
    of a Ray cluster other than the first are not in them.

    \u0008
    Example:
      conceptaudit status runs/big --price-cpu 0.04 --price-gpu 1.10
    """
    from conceptaudit.artifacts import STARTED
    from conceptaudit.runstatus import run_status

    place = next((one for one in places_of(run) if (one / STARTED).is_file()), run)
    found = run_status(place)
    money = found.cost(price_cpu=price_cpu, price_gpu=price_gpu)
    if as_json:
        record = {**asdict(found), "folder": str(found.folder), "hours_left": found.hours_left}
        emit_json({**record, "cost": money if price_cpu or price_gpu else None})
        return
    _show(found)
    line = f"reserved so far: {found.core_hours:,.2f} core-hours, {found.gpu_hours:,.2f} GPU-hours"
    say(line + (f", {money:,.2f} in money" if price_cpu or price_gpu else ""))


def _show(found: RunStatus) -> None:
    """Print everything but the cost."""
    from conceptaudit.runstatus import FINISHED

    ending = f" ({found.ending})" if found.ending else ""
    say(f"{found.folder}: {found.kind}, {found.state}{ending}")
    if found.partial:
        say(
            f"PARTIAL: {found.partial['n_shards']:,} of {quantity(found.partial['n_all'], 'shard')}"
        )
    if found.stages:
        rows = [
            [one.name, one.n_done, one.n_all, one.per_hour, _left(one.hours_left)]
            for one in found.stages
        ]
        say_table(["stage", "shards done", "of", "per hour", "time left"], rows)
    if found.n_parts is not None:
        say(
            f"parts: {len(found.parts_done):,} of {found.n_parts:,} done, "
            f"{len(found.parts_running):,} running"
        )
    if found.missing:
        say(f"missing: {found.missing}")
    if found.state != FINISHED and found.hours_left:
        say(f"about {_left(found.hours_left)} left for the stages that have begun")
    say(f"samples so far: {found.n_samples:,} read, {found.n_dropped:,} dropped")
    for why, count in list(found.dropped.items())[:SHOWN]:
        say(f"  {count:,} {why}")


def _left(hours: float | None) -> str:
    return "–" if hours is None else duration(hours * 3600)
