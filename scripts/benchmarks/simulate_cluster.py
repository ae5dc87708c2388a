"""What stragglers and failures cost at a thousand workers, by shard size and retry policy.

    python scripts/benchmarks/simulate_cluster.py --workers 1000 --hours 48

A discrete-event simulation, seeded. Work is a fixed number of core hours cut into shards of equal
size; the time of a shard varies from shard to shard, some machines are slow for the whole run, and
workers die at random. What a dead worker had of its shard is lost; it is replaced after a while.
Policies:

- ``array``, with 1, 10 or 50 parts per worker (`--shard`): shard k belongs to part k mod n, and the
  scheduler hands parts out. A part that dies is handed out again and goes on after its last
  finished shard; starting a part costs the time that models take to load.
- ``shared``: one queue for all workers (`--engine ray`), lost shards go back to it.
- ``shared, twice``: as before, and when the queue is empty idle workers repeat the shards that
  have run longest; whoever ends first counts. (Not in the program: what it would gain.)

Every shard also costs a fixed time (scheduling, opening files, writing the result whole), which is
what small shards pay. Prints, per shard size and policy, how much longer than the ideal the run
took and how much work was lost; medians and worst of several seeds.
"""

import argparse
import heapq
import json
from collections import deque
from dataclasses import asdict, dataclass, replace

import numpy as np

TWICE = "shared, twice"
POLICIES = {
    "array, 1 part per worker": 1,
    "array, 10 parts per worker": 10,
    "array, 50 parts per worker": 50,
    "shared": 0,
    TWICE: 0,
}
"""Parts per worker; 0 is a queue of shards."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What the simulated cluster is like.

    Parameters
    ----------
    workers : int
        Workers at work at a time.
    hours : float
        Length of the run if nothing went wrong and nothing cost extra.
    spread : float
        Standard deviation of the logarithm of a shard's time.
    slow_share, slow_by : float
        Share of the workers that are slow, and by which factor.
    hours_between_failures : float
        Mean time to the death of a worker.
    restart_minutes : float
        Until a dead worker is replaced and has loaded its models.
    seconds_per_shard : float
        Fixed cost of a shard.
    seconds_per_part : float
        Fixed cost of starting a part of an array job.
    """

    workers: int = 1_000
    hours: float = 48.0
    spread: float = 0.25
    slow_share: float = 0.03
    slow_by: float = 3.0
    hours_between_failures: float = 200.0
    restart_minutes: float = 5.0
    seconds_per_shard: float = 1.0
    seconds_per_part: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to.

    Parameters
    ----------
    stretch : float
        Its length over the ideal one.
    lost : float
        Work that was thrown away, over all work.
    deaths : int
        Workers that died.
    """

    stretch: float
    lost: float
    deaths: int


def simulate(cluster: Cluster, minutes: float, policy: str, seed: int) -> Outcome:
    """Run the work once.

    Parameters
    ----------
    cluster : Cluster
    minutes : float
        Mean time of a shard on a worker that is not slow.
    policy : str
        One of `POLICIES`.
    seed : int
    """
    rng = np.random.default_rng(seed)
    ideal = cluster.hours * 3600
    n_shards = max(round(cluster.workers * ideal / (minutes * 60)), 1)
    sigma = cluster.spread
    sizes = rng.lognormal(-sigma * sigma / 2, sigma, n_shards)
    sizes *= cluster.workers * ideal / sizes.sum()
    slow = rng.random(cluster.workers) < cluster.slow_share
    speed = np.where(slow, 1 / cluster.slow_by, 1.0)
    return Run(cluster, sizes, speed, policy, rng).outcome()


class Run:
    """One run in progress: an event per end of a shard, death, and restart."""

    def __init__(
        self,
        cluster: Cluster,
        sizes: np.ndarray,
        speed: np.ndarray,
        policy: str,
        rng: np.random.Generator,
    ) -> None:
        self.cluster, self.sizes, self.policy, self.rng = cluster, sizes, policy, rng
        self.speed = speed.copy()
        n = cluster.workers
        per_worker = POLICIES[policy]
        shards = range(len(sizes))
        n_parts = min(per_worker * n, len(sizes)) if per_worker else len(sizes)
        self.parts = deque(deque(shards[part::n_parts]) for part in range(n_parts))
        self.held: list[deque[int]] = [deque() for _ in range(n)]
        self.part_cost = cluster.seconds_per_part if per_worker else 0.0
        self.left = len(sizes)
        self.done = np.zeros(len(sizes), dtype=bool)
        self.running: dict[int, dict[int, float]] = {}
        self.events: list[tuple[float, int, str, int, int]] = []
        self.count = 0
        self.idle: set[int] = set()
        self.dies = rng.exponential(cluster.hours_between_failures * 3600, n)
        self.lost, self.deaths, self.now = 0.0, 0, 0.0

    def outcome(self) -> Outcome:
        """Run to the end."""
        for worker in range(self.cluster.workers):
            self.take(worker)
        while self.left:
            self.now, _, what, worker, shard = heapq.heappop(self.events)
            getattr(self, what)(worker, shard)
        ideal = self.cluster.hours * 3600
        return Outcome(
            stretch=self.now / ideal,
            lost=self.lost / (self.cluster.workers * ideal),
            deaths=self.deaths,
        )

    def push(self, when: float, what: str, worker: int, shard: int) -> None:
        """Plan an event."""
        self.count += 1
        heapq.heappush(self.events, (when, self.count, what, worker, shard))

    def take(self, worker: int) -> None:
        """Give a worker its next shard: one of the queue, or one that another is busy with."""
        cost = self.cluster.seconds_per_shard
        if not self.held[worker] and self.parts:
            self.held[worker] = self.parts.popleft()
            cost += self.part_cost
        if self.held[worker]:
            shard = self.held[worker].popleft()
        else:
            shard = self.longest() if self.policy == TWICE else -1
            if shard < 0:
                self.idle.add(worker)
                return
        self.running.setdefault(shard, {})[worker] = self.now
        seconds = self.sizes[shard] / self.speed[worker] + cost
        if self.now + seconds < self.dies[worker]:
            self.push(self.now + seconds, "finish", worker, shard)
        else:
            self.push(max(self.dies[worker], self.now), "die", worker, shard)

    def longest(self) -> int:
        """Return the shard that has run longest, if nobody repeats it yet."""
        alone = [(min(who.values()), shard) for shard, who in self.running.items() if len(who) == 1]
        return min(alone)[1] if alone else -1

    def finish(self, worker: int, shard: int) -> None:
        """End a shard; a second copy of it is dropped when it ends."""
        began = self.running[shard].pop(worker)
        if self.done[shard]:
            self.lost += (self.now - began) * self.speed[worker]
        else:
            self.done[shard] = True
            self.left -= 1
        if not self.running[shard] or self.done[shard]:
            self.forget(shard)
        self.take(worker)

    def forget(self, shard: int) -> None:
        """Leave no shard that is done among those to repeat, but let its copies end."""
        if not self.running[shard]:
            del self.running[shard]

    def die(self, worker: int, shard: int) -> None:
        """Lose a worker and what it had of its shard; its successor is not slow by inheritance."""
        began = self.running[shard].pop(worker)
        self.lost += (self.now - began) * self.speed[worker]
        self.deaths += 1
        if not self.running[shard]:
            del self.running[shard]
            if not self.done[shard]:
                self.held[worker].appendleft(shard)
        if self.held[worker]:
            self.parts.appendleft(self.held[worker])
            self.held[worker] = deque()
            self.wake()
        slow = self.rng.random() < self.cluster.slow_share
        self.speed[worker] = 1 / self.cluster.slow_by if slow else 1.0
        restart = self.now + self.cluster.restart_minutes * 60
        self.dies[worker] = restart + self.rng.exponential(
            self.cluster.hours_between_failures * 3600
        )
        self.push(restart, "start", worker, -1)

    def wake(self) -> None:
        """Let an idle worker take what came back."""
        if self.idle:
            self.take(self.idle.pop())

    def start(self, worker: int, _: int) -> None:
        """Begin again on a new machine."""
        self.take(worker)


def main() -> None:
    """Simulate every shard size and policy, and print a table and one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in asdict(Cluster()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 3, 10, 30, 120, 360])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--policies", nargs="*", choices=POLICIES, default=list(POLICIES))
    arguments = vars(parser.parse_args())
    minutes, seeds = arguments.pop("minutes"), arguments.pop("seeds")
    policies = arguments.pop("policies")
    cluster = replace(Cluster(), **arguments)
    rows = []
    print("| minutes per shard | policy | longer than ideal, median (worst) | work lost | deaths |")
    print("|--:|---|--:|--:|--:|")
    for size in minutes:
        for policy in policies:
            found = [simulate(cluster, size, policy, seed) for seed in range(seeds)]
            stretch = [100 * (outcome.stretch - 1) for outcome in found]
            lost = 100 * float(np.median([outcome.lost for outcome in found]))
            deaths = float(np.median([outcome.deaths for outcome in found]))
            print(
                f"| {size:g} | {policy} | {np.median(stretch):.1f} % ({max(stretch):.1f} %) "
                f"| {lost:.2f} % | {deaths:.0f} |",
                flush=True,
            )
            rows.append({"minutes": size, "policy": policy, "stretch": stretch, "lost": lost})
    print(json.dumps({"bench": "simulate_cluster", "cluster": asdict(cluster), "rows": rows}))


if __name__ == "__main__":
    main()
