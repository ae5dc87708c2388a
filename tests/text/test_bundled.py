"""The bundled pipeline needs no PyTorch, and keeps it from nobody else."""

import subprocess
import sys
from importlib.util import find_spec

from thinc import compat

from conceptaudit.ownership import is_own_process
from conceptaudit.text.bundled import load_bundled

PROGRAM = """
import sys
from conceptaudit.ownership import claim_process
claim_process()
from conceptaudit.text.bundled import load_bundled
nlp = load_bundled()
assert "torch" not in sys.modules
print(*(token.lemma_ for token in nlp("two dogs chase balls") if token.pos_ == "NOUN"))
import torch
assert torch.ones(2).sum() == 2
"""


def test_a_process_of_ours_leaves_torch_out_until_it_is_wanted() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "dog ball\n"


def test_within_another_program_spacy_finds_it() -> None:
    assert not is_own_process()
    assert load_bundled().lang == "en"
    assert compat.has_torch == (find_spec("torch") is not None)
