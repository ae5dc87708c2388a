"""Draw the caption tokens that people label as noun or not, to judge the noun tagger.

    python scripts/training/noun_label_sample.py            # print tokens in context, one per line
    python scripts/training/noun_label_sample.py --labels labels.txt --out LABELS_CSV
    python scripts/training/noun_label_sample.py --everyday # the same for everyday_nouns.csv

Words that captions use as nouns and otherwise are drawn at random, evenly over words and caption
sets, without asking any tagger: the sample is as hard as captions are. With ``--everyday`` they are
the names of things that class lists have (COCO, LVIS, ImageNet) and that the lexicon also lists as
verbs or adjectives, in singular and plural. A label is ``n`` (noun or
proper noun by the guidelines of Universal Dependencies), ``-`` (anything else) or ``x`` (left out:
the caption is not English, or nobody can tell). The table holds places and labels, no captions.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import pandas as pd  # noqa: E402
import spacy  # noqa: E402
from noun_tagger_scores import CAPTION_FILES, read_captions  # noqa: E402

from conceptaudit.text.normalize import caption_text  # noqa: E402
from conceptaudit.text.word_forms import english_plurals  # noqa: E402

LABELS = ROOT / "tests" / "text" / "noun_labels.csv"

CORE = """
    watch watches train trains orange park parks light lights drill drills ski skis
""".split()  # noqa: SIM905 -- read as words
CORE_EACH = 7
OTHERS = """
    play plays can ring saw bat match bowl run runs jump jumps ride rides swing swings surf walk
    walks fly dress dresses drink cut top fish duck slide rock dance cook plant cross box face
    look show stand water catch paint back fire beam stretch skate rope fishes kicks waves
""".split()  # noqa: SIM905 -- read as words
OTHERS_EACH = 2
EVERYDAY = """
    watch light orange train can tie cover fan ring paddle fly pet control scale stick sled shovel
    drill file iron bear saw pump clip flash drive sail lock mop hammer spray swing slide sign
    dress ski skateboard pan stove sink fork nail shade cone painting motor cherry remote fish
    duck cook plant groom umpire microwave glasses mug bowl plate cup park bat match box glass
    star tag boot bed home seed sock towel button pin strap tape ladder
""".split()  # noqa: SIM905 -- read as words
EVERYDAY_EACH = 10
SELDOM_VERBS = """
    dog shirt hat ball jacket beach bike table wall shorts bicycle uniform horse boat suit bench
    toy stage chair coat bag book motorcycle vest fence flag store costume umbrella cap backpack
    truck pole bridge bus skirt shop bird cart paper bar bottle blanket surfboard roof bull cat
    wheel goggles purse screen grill robe church canoe kayak gun cake sculpture mirror snowboard
    straw pipe pot banner dish telescope cow mat map raft belt wine hose card pillow stool plane
    chicken ship candle piano bread bow kite broom gown castle tower shoe chain knife corn crane
    parachute tank butterfly pen barrel monkey racket sandwich crown horn flute monitor curtain
    mouse key rack spoon torch wheelbarrow milk radio pencil rabbit soap egg snake clock pig
    whistle jar turtle scissors telephone shield bell lipstick soup eagle veil pepper frog ferry
    sponge coin mushroom fox crab balloon mask net bucket couch phone tent scarf drum
""".split()  # noqa: SIM905 -- read as words
SELDOM_EACH = 4
CONTEXT = 60
"""Characters of a caption shown on each side of the word."""


def rank(*parts: object) -> str:
    """Order of a draw: a hash, the same for everybody."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def draw(folder: Path) -> pd.DataFrame:
    """Draw tokens: set, row of the caption in it, word, position of the token, part, context."""
    nlp = spacy.blank("en")
    wanted = dict.fromkeys(CORE, CORE_EACH) | dict.fromkeys(OTHERS, OTHERS_EACH)
    rows = []
    for corpus in CAPTION_FILES:
        captions = read_captions(folder, corpus)
        holders: dict[str, list[int]] = {word: [] for word in wanted}
        for row, caption in enumerate(captions):
            for word in set(caption.lower().split()) & wanted.keys():
                holders[word].append(row)
        for word, candidates in holders.items():
            texts: set[str] = set()
            for row in sorted(candidates, key=lambda row, w=word: rank(corpus, w, row)):
                text = caption_text(captions[row])
                places = [t.i for t in nlp(text) if t.lower_ == word]
                if not places or text.lower() in texts:
                    continue
                texts.add(text.lower())
                place = min(places, key=lambda i, w=word, r=row: rank(corpus, w, r, i))
                token = nlp(text)[place]
                part = "held_out" if int(rank("part", corpus, word, row), 16) % 2 else "develop"
                left = text[max(0, token.idx - CONTEXT) : token.idx]
                right = text[token.idx + len(token) :][:CONTEXT]
                rows.append((corpus, row, word, place, part, f"{left}[{token.text}]{right}"))
                if len(texts) == wanted[word]:
                    break
    columns = ["corpus", "row", "word", "token", "part", "context"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        ["word", "corpus", "row"], ignore_index=True
    )


def draw_everyday(folder: Path) -> pd.DataFrame:
    """Draw tokens of everyday nouns, from the caption sets in turn; nouns are halved into parts."""
    nlp = spacy.blank("en")
    wanted = dict.fromkeys(EVERYDAY, EVERYDAY_EACH) | dict.fromkeys(SELDOM_VERBS, SELDOM_EACH)
    nouns = {form: noun for noun in wanted for form in (*english_plurals(noun), noun)}
    nouns |= {noun: noun for noun in wanted}  # "glasses" is no plural of glass here
    labelled = pd.read_csv(LABELS)
    seen = set(zip(labelled["corpus"], labelled["row"], strict=True))
    captions = {corpus: read_captions(folder, corpus) for corpus in CAPTION_FILES}
    holders: dict[tuple[str, str], set[int]] = {}
    for corpus, texts in captions.items():
        for row, text in enumerate(texts):
            for word in {run.strip('.,!?;:"') for run in text.lower().split()} & nouns.keys():
                if (corpus, row) not in seen:
                    holders.setdefault((nouns[word], corpus), set()).add(row)
    rows = []
    for noun, each in wanted.items():
        queues = {
            corpus: sorted(
                holders.get((noun, corpus), ()),
                key=lambda row, n=noun, c=corpus: rank("table", n, c, row),
                reverse=True,
            )
            for corpus in CAPTION_FILES
        }
        part = "develop" if int(rank("part" + noun), 16) % 2 else "held_out"
        texts_drawn: set[str] = set()
        while len(texts_drawn) < each and any(queues.values()):
            for corpus, queue in queues.items():
                while queue and len(texts_drawn) < each:
                    row = queue.pop()
                    text = caption_text(captions[corpus][row])
                    doc = nlp(text)
                    places = [t.i for t in doc if nouns.get(t.lower_) == noun]
                    if not places or text.lower() in texts_drawn:
                        continue
                    texts_drawn.add(text.lower())
                    place = min(places, key=lambda i, n=noun, c=corpus, r=row: rank(n, c, r, i))
                    token = doc[place]
                    left = text[max(0, token.idx - CONTEXT) : token.idx]
                    right = text[token.idx + len(token) :][:CONTEXT]
                    context = f"{left}[{token.text}]{right}"
                    rows.append((noun, corpus, row, token.lower_, place, part, context))
                    break
    columns = ["noun", "corpus", "row", "word", "token", "part", "context"]
    return pd.DataFrame(rows, columns=columns)


def main() -> None:
    """Print the draw, or join labels to it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--labels", type=Path, help="one character per token, in printed order")
    parser.add_argument("--out", type=Path, help="table of places and labels to write")
    parser.add_argument("--everyday", action="store_true", help="draw everyday nouns")
    args = parser.parse_args()
    realdata = Path(os.environ.get("CONCEPTAUDIT_REALDATA", ROOT.parent / "shared" / "data"))
    table = (draw_everyday if args.everyday else draw)(realdata / "captions")
    if args.labels is None:
        for i, row in table.iterrows():
            print(f"{i}\t{row.word}\t{row.context}")
        return
    labels = "".join(args.labels.read_text(encoding="utf-8").split())
    if len(labels) != len(table):
        sys.exit(f"{len(table)} tokens were drawn, but {args.labels} holds {len(labels)} labels")
    table["label"] = list(labels)
    kept = table[table["label"] != "x"].drop(columns="context")
    kept.assign(label=kept["label"].map({"n": "noun", "-": "other"})).to_csv(args.out, index=False)
    print(f"{len(kept)} labelled, {len(table) - len(kept)} left out", file=sys.stderr)


if __name__ == "__main__":
    main()
