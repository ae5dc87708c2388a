r"""Long-tail sets: how fast they are made, and how much of what was planted is found.

    python scripts/benchmarks/bench_longtail.py faults
    python scripts/benchmarks/bench_longtail.py faults --clean
    python scripts/benchmarks/bench_longtail.py faults --cifar DATA/cifar100
    python scripts/benchmarks/bench_longtail.py copies --photos DATA/photos/coco-mini
    python scripts/benchmarks/bench_longtail.py duplicates --candidates 30000
    python scripts/benchmarks/bench_longtail.py speed --pool SCRATCH --rows 1000000 --concepts 300

`faults` plants copies, leaks, other senses and other classes among the lab's pictures, or training
images of CIFAR-100 among its test images, and says how many are found and how pure classes are.
`copies` plants altered copies of photographs (mirrored, cropped, framed, turned) and counts by kind
how many the leak check and the search for duplicates find. `duplicates` times the latter among
made-up candidates. `speed` makes a pool of clustered embeddings in SCRATCH (1 GB, kept for the next
run; delete it afterwards) and measures a whole build. Each ends with a JSON line.
"""

import argparse

import longtail_copies
import longtail_duplicates
import longtail_faults
import longtail_speed

COMMANDS = {
    "copies": longtail_copies,
    "duplicates": longtail_duplicates,
    "faults": longtail_faults,
    "speed": longtail_speed,
}
"""Modules with `add_options` and `main`."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        module.add_options(commands.add_parser(name, help=module.__doc__))
    args = parser.parse_args()
    COMMANDS[args.command].main(args)
