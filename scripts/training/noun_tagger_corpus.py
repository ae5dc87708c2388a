"""What the noun tagger learns from: English-EWT, Open English WordNet, and how both are varied."""

from __future__ import annotations

import collections
import gzip
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.text.word_forms import (
    ADJECTIVE,
    ADVERB,
    VERB_BASE,
    LexiconEntry,
    WordForms,
)


def _words(text: str) -> list[str]:
    return text.split()


_KEPT_FEATURES = ("Number", "VerbForm")
_CLOSED = frozenset(["ADP", "AUX", "CCONJ", "DET", "INTJ", "PART", "PRON", "SCONJ"])
_NUMBERED = {"NOUN", "PROPN"}
_ANIMATE = {"person", "animal"}
_BEINGS = frozenset(
    _words(
        """
        person people surfer couple crowd team band family group audience crew police staff choir
        army company government public duo trio herd flock pair cast squad troupe orchestra
        """
    )
)
"""Nouns for who does something, whose first sense WordNet files elsewhere."""

_CONCRETE = {"person", "artifact", "animal", "food", "plant", "object", "body"}
# Pairs of one thing, and singulars that end like plurals, which the corpus is too small to show.
_OWN_LEMMA = _words(
    """
    glasses panties knickers statistics shorts tights leggings overalls pyjamas pajamas
    goggles binoculars eyeglasses spectacles sunglasses pliers briefs boxers breeches chinos
    corduroys jodhpurs khakis fatigues scissors tweezers lens species series corps
    crossroads mathematics physics news gens genus customs checkers craps suspenders
    underpants trousers pants jeans clothes tongs shears clippers headquarters barracks
    gallows molasses cosmos chassis rapids velours mumps measles christmas swiss texas
    kansas las vegas paris james thomas charles louis jesus mars venus texas chess
    gymnastics athletics aerobics billiards ethics politics tennis gas bus yes
    """
)
# Plurals of two nouns, or of none that the lexicon has: the sense that captions have in mind.
_LEMMAS = {
    "axes": "axe",
    "bases": "base",
    "elves": "elf",
    "oxen": "ox",
    "lenses": "lens",
    "onesies": "onesie",
    "selfies": "selfie",
    "taxis": "taxi",
    "men": "man",
    "women": "woman",
}

# Verbs of captions that neither corpus shows ("snack on", "tans on the beach", "buttons his coat").
_CAPTION_VERBS = frozenset(
    _words(
        """
        snack button towel plate tattoo tape rope weed drizzle tile sun tan box field sort right
        second short shelter level pedicure bandage home
        """
    )
)
# Fruits and the like that WordNet lists as colours; "cherry blossom" is no colour of a blossom.
_NOT_ADJECTIVES = _words("cherry salmon coral velvet caramel carnation canary birch peach")
MAX_RARE = 0.06
"""Uses of a rare reading per use as a noun, at most."""

MAX_RARE_ADJECTIVE = 0.1
"""The same for adjectives: what stands before a noun is one by the lexicon, "a motor boat"."""

MAX_RARE_MOTION, MIN_NOUN_MOTION = 0.03, 20
"""The same for verbs of motion, which captions have more than any corpus: "canoe", "bike"."""

MIN_NOUN = 3
"""Uses as a noun from which something can be said."""

_MOTION = 38  # https://wordnet.princeton.edu/documentation/lexnames5wn
_SENSE_POS = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
_CORPUS_POS = {"NOUN": "n", "PROPN": "n", "VERB": "v", "AUX": "v", "ADJ": "a", "ADV": "r"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A tagged sentence: parallel tuples, one item per token; lemmas may be empty strings."""

    words: tuple[str, ...]
    pos: tuple[str, ...]
    features: tuple[str, ...]
    lemmas: tuple[str, ...]


def reduce_features(pos: str, features: str) -> str:
    """Keep number of nouns and form of verbs; plurale tantum counts as plural."""
    kept = []
    for feature in features.split("|"):
        name, _, value = feature.partition("=")
        if name not in _KEPT_FEATURES or (name == "Number") != (pos in _NUMBERED):
            continue
        kept.append(f"{name}={'Plur' if value == 'Ptan' else value}")
    return "|".join(kept)


def read_ud(folder: Path, part: str, *, skip_typos: bool = False) -> list[Sentence]:
    """Read one part of English-EWT: syntactic words, without empty nodes.

    With ``skip_typos`` the lemma of a misspelt word is left empty.
    """
    sentences = []
    rows: list[list[str]] = []
    with gzip.open(folder / f"en_ewt-{part}.conllu.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            cells = line.rstrip("\n").split("\t")
            if cells[0].isdigit():
                rows.append(cells)
            elif cells == [""] and rows:
                typo = [skip_typos and "Typo=Yes" in row[5] for row in rows]
                sentences.append(
                    Sentence(
                        words=tuple(row[1] for row in rows),
                        pos=tuple(row[3] for row in rows),
                        features=tuple(reduce_features(row[3], row[5]) for row in rows),
                        lemmas=tuple("" if t else r[2] for r, t in zip(rows, typo, strict=True)),
                    )
                )
                rows = []
    return sentences


def read_lexicon(folder: Path) -> dict[str, LexiconEntry]:
    """Single-word lemmas of Open English WordNet in lower case."""
    table = pd.read_parquet(folder / "lemmas.parquet")
    lexnames = pd.read_parquet(folder / "noun_synsets.parquet").set_index("synset")["lexname"]
    animate = set(lexnames.index[lexnames.isin(_ANIMATE)])
    first = table[table.pos == "n"].assign(first=lambda t: t.synsets.str.partition("|")[0])
    beings = set(first.lemma[first["first"].isin(animate)].str.lower()) | _BEINGS
    table = table[table.lemma.str.fullmatch(r"[^\W\d_]+'?[^\W\d_]*")]
    senses: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    irregular: dict[str, dict[str, set[str]]] = {}
    for row in table.itertuples():
        lemma = row.lemma.lower()
        senses[lemma][row.pos] += row.n_senses
        forms = {f.lower() for f in row.irregular_forms.split("|") if f.isalpha()} - {lemma}
        if forms:
            irregular.setdefault(lemma, {}).setdefault(row.pos, set()).update(forms)
    return {
        lemma: LexiconEntry(
            senses={pos: min(n, 99) for pos, n in counts.items()},
            irregular={p: tuple(sorted(f)) for p, f in irregular.get(lemma, {}).items()},
            animate="n" in counts and lemma in beings,
        )
        for lemma, counts in senses.items()
    }


def concrete_nouns(folder: Path, forms: WordForms) -> list[str]:
    """Names of people, animals, plants, food and things that are nouns only."""
    table = pd.read_parquet(folder / "noun_synsets.parquet")
    table = table[table.lexname.isin(_CONCRETE)]
    words = {word for members in table.members for word in members.split("|")}
    return sorted(
        w
        for w in words
        if w.isalpha()
        and w.islower()
        and len(w) > 2
        and forms.is_noun_only(w)
        and not w.endswith("s")
    )


def concrete_homographs(folder: Path, forms: WordForms) -> list[str]:
    """Names of animals, plants, food and things that are verbs as well: "saw", "train"."""
    table = pd.read_parquet(folder / "noun_synsets.parquet")
    table = table[table.lexname.isin(_CONCRETE - {"person"})]
    words = {word for members in table.members for word in members.split("|")}
    return sorted(
        w
        for w in words
        if w.isalpha()
        and w.islower()
        and 3 <= len(w) <= 8  # longer ones are seldom both in use
        and not w.endswith(("s", "ing", "ed"))
        and forms.code(w) & VERB_BASE
        and not forms.code(w) & (ADJECTIVE | ADVERB)
    )


def is_function_word(counts: Mapping[str, int]) -> bool:
    """Whether counts of a form's tags are mostly those of closed classes and interjections."""
    closed = sum(n for pos, n in counts.items() if pos in _CLOSED)
    return 2 * closed >= sum(counts.values())


def rare_readings(
    wordnet: Path, entries: Mapping[str, LexiconEntry], train: list[Sentence]
) -> set[tuple[str, str]]:
    """Find verbs and adjectives that running text hardly ever has beside the noun.

    Counted are the uses in SemCor (the file ``index.sense`` of Princeton WordNet 3.1 has them by
    sense) and in English-EWT.
    """
    uses: collections.Counter[tuple[str, str]] = collections.Counter()
    motion = set()
    for line in (wordnet / "index.sense").read_text(encoding="utf-8").splitlines():
        key, _, _, count = line.split()
        lemma, _, sense = key.partition("%")
        pos = _SENSE_POS[sense[0]]
        uses[lemma, pos] += int(count)
        if pos == "v" and int(sense.split(":")[1]) == _MOTION:
            motion.add(lemma)
    for sentence in train:
        for word, tag, lemma in zip(sentence.words, sentence.pos, sentence.lemmas, strict=True):
            if tag in _CORPUS_POS:
                for form in {word.lower(), lemma.lower()} - {""}:
                    uses[form, _CORPUS_POS[tag]] += 1
    rare = {(lemma, "a") for lemma in _NOT_ADJECTIVES}
    for lemma, entry in entries.items():
        if "n" not in entry.senses:
            continue
        for pos in entry.senses.keys() & {"v", "a"}:
            in_motion = pos == "v" and lemma in motion
            share, least = MAX_RARE if pos == "v" else MAX_RARE_ADJECTIVE, MIN_NOUN
            if in_motion:
                share, least = MAX_RARE_MOTION, MIN_NOUN_MOTION
            if uses[lemma, "n"] >= least and uses[lemma, pos] <= share * uses[lemma, "n"]:
                rare.add((lemma, pos))
    return {(lemma, pos) for lemma, pos in rare if pos != "v" or lemma not in _CAPTION_VERBS}


def build_forms(lexicon: Path, train: list[Sentence], wordnet: Path) -> WordForms:
    """Add to the lexicon what corpora know better: lemmas, words that are no nouns, rare readings.

    Parameters
    ----------
    lexicon
        The folder of Open English WordNet's tables.
    train
        English-EWT train.
    wordnet
        Folder ``dict`` of Princeton WordNet 3.1.
    """
    plain = WordForms(entries=read_lexicon(lexicon), lemma_exceptions={}, not_nouns=[])
    tags: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    lemmas: dict[tuple[str, str, bool], collections.Counter[str]] = {}
    for sentence in train:
        rows = zip(sentence.words, sentence.pos, sentence.features, sentence.lemmas, strict=True)
        for word, pos, features, lemma in rows:
            tags[word.lower()][pos] += 1
            if lemma and lemma != "_":
                key = (word.lower(), pos, "Plur" in features)
                lemmas.setdefault(key, collections.Counter())[lemma.lower()] += 1
    # A word that web text uses otherwise more often than not is left to the network.
    not_nouns = [
        form
        for form, counts in tags.items()
        if plain.is_noun_only(form) and 2 * (counts["NOUN"] + counts["PROPN"]) < counts.total()
    ]
    exceptions = {}
    by_form: dict[tuple[str, str], collections.Counter[str]] = collections.defaultdict(
        collections.Counter
    )
    wrong = set()
    for (form, pos, plural), counts in lemmas.items():
        by_form[form, pos].update(counts)
        if plain.lemma(form, pos, plural=plural) != counts.most_common(1)[0][0]:
            wrong.add((form, pos))
    for form, pos in wrong:
        exceptions[form, pos] = by_form[form, pos].most_common(1)[0][0]
    exceptions.update({(form, "NOUN"): form for form in _OWN_LEMMA})
    exceptions.update({(form, "NOUN"): lemma for form, lemma in _LEMMAS.items()})
    return WordForms(
        entries=plain.entries,
        lemma_exceptions=exceptions,
        not_nouns=not_nouns,
        rare=rare_readings(wordnet, plain.entries, train),
    )


def vary(sentence: Sentence, rng: random.Random) -> Sentence:
    """Disguise a sentence at random: lower case, no full stop, title case, capitals, a fragment."""
    start, end = 0, len(sentence.words)
    if rng.random() < 0.3 and end > 2 and sentence.pos[end - 1] == "PUNCT":
        end -= 1
    if rng.random() < 0.12 and end - start > 8:
        start = rng.randrange(end - 5)
        end = min(end, start + rng.randrange(4, 14))
    style = rng.random()
    words = sentence.words[start:end]
    if style < 0.42:
        words = tuple(word.lower() for word in words)
    elif style < 0.46:
        words = tuple(word[:1].upper() + word[1:] for word in words)
    elif style < 0.48:
        words = tuple(word.upper() for word in words)
    return Sentence(
        words=words,
        pos=sentence.pos[start:end],
        features=sentence.features[start:end],
        lemmas=sentence.lemmas[start:end],
    )
