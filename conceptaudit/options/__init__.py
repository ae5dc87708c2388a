"""Options: each is written once, for Python, for ``--help`` and for its own check.

An option record is a frozen dataclass whose fields are made by `fields.option`; the command line
is generated from it (`conceptaudit.cli.generated`). Nothing here imports anything heavy.
"""
