"""Pack the published text vectors of ImageNet's class names that the package ships.

    python scripts/package_data/make_text_vectors.py

Vectors of "a" and the name, by OpenAI's ViT-B/32 and by open_clip's ViT-B/32 trained on LAION-400M
(CVMI-Lab/clip-beyond-tail, MIT), and which names are the background that concepts are centred on:
the 256 that captions of LAION-400M name most (counts of the same repository), names that two
classes share left out. Reads the folder that CONCEPTAUDIT_REALDATA names (default: ../shared/data).
"""

from __future__ import annotations

import os
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "conceptaudit" / "image" / "data" / "imagenet_text_vectors.npz"
FILES = {
    "ViT-B-32/openai": "in1k_clip_vitb32_wit400m_a+cname.npy",
    "ViT-B-32/laion400m_e32": "in1k_openclip_vitb32_laion400m_a+cname.npy",
}
N_BACKGROUND = 256


def main() -> None:
    """Write the archive; the same inputs give the same bytes."""
    real = Path(os.environ.get("CONCEPTAUDIT_REALDATA", ROOT.parent / "shared" / "data"))
    folder = real / "clip" / "imagenet_text_vectors"
    names = pd.read_csv(folder / "classes.csv")["concept"].astype(str)
    counts = pd.read_csv(real / "reference_counts" / "clip_beyond_tail.csv")
    counts = counts[(counts["corpus"] == "laion400m") & (counts["dataset"] == "imagenet")]
    n_text = names.map(counts.groupby("concept")["n_text"].max()).fillna(-1)
    n_text[names.duplicated(keep=False)] = -1
    chosen = np.sort(np.argsort(-n_text.to_numpy(), kind="stable")[:N_BACKGROUND])
    arrays = {"names": names.to_numpy(dtype=str), "background": chosen.astype(np.int16)}
    arrays |= {
        model: np.load(folder / file, allow_pickle=False).astype(np.float16)
        for model, file in FILES.items()
    }
    with zipfile.ZipFile(OUT, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = BytesIO()
            np.save(buffer, array, allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED
            )
    print(f"{len(names)} names, {OUT.stat().st_size:,} bytes; {', '.join(names[chosen])}")


if __name__ == "__main__":
    main()
