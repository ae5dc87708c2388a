"""The ``conceptaudit`` program, also as ``python -m conceptaudit``."""

from conceptaudit.process import claim_process, leave_when_asked


def run() -> None:
    """Run the program; the entry point that ``pip`` installs."""
    leave_when_asked()  # before anything that takes time is imported
    claim_process()
    from conceptaudit.cli.main import run as run_verbs

    run_verbs()


if __name__ == "__main__":
    run()
