"""The bundled pipeline needs no PyTorch, and keeps it from nobody else."""

import os
import subprocess
import sys

OURS = """
import sys
from conceptaudit.process import claim_process
claim_process()
from conceptaudit.text.pipeline import load_bundled
nlp = load_bundled()
assert "torch" not in sys.modules
print(*(token.lemma_ for token in nlp("two dogs chase balls") if token.pos_ == "NOUN"))
import torch
assert torch.ones(2).sum() == 2
"""

ANOTHER = """
from importlib.util import find_spec
from conceptaudit.process import is_own_process
from conceptaudit.text.pipeline import load_bundled
assert not is_own_process()
print(load_bundled().lang)
from thinc import compat
assert compat.has_torch == (find_spec("torch") is not None)
"""


def output_of(program: str) -> str:
    environment = {name: value for name, value in os.environ.items() if "OWN_PROCESS" not in name}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=True, capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip
    return done.stdout


def test_a_process_of_ours_leaves_torch_out_until_it_is_wanted() -> None:
    assert output_of(OURS) == "dog ball\n"


def test_within_another_program_spacy_finds_it() -> None:
    assert output_of(ANOTHER) == "en\n"
