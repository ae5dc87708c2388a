"""``python -m conceptaudit``: the same as the ``conceptaudit`` program."""

from conceptaudit.cli.main import run

if __name__ == "__main__":
    run()
