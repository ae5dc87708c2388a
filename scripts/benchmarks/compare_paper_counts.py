"""How far the published algorithm's counts are from ours, concept by concept, and why.

    python scripts/benchmarks/compare_paper_counts.py --captions CAPTIONS --concepts lvis.csv
    python scripts/benchmarks/compare_paper_counts.py --captions CAPTIONS --concepts imagenet

Counts every concept by the published algorithm and by ours, and by the seven in between that each
change one more rule, all from the same tagging of the same captions. What a rule changes is the
difference of two neighbours, so the changes of a concept add up to the whole difference; in another
order the parts would be somewhat different. Prints tables and one JSON line.
"""

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from conceptaudit.datasets import CAPTION, open_dataset
from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.normalize import caption_text, normalize, phrase_text
from conceptaudit.text.paper import caption_key, query_terms
from conceptaudit.text.phrases import head_of
from conceptaudit.text.pipeline import load_pipeline, map_docs
from conceptaudit.text.word_classes import HYPHENS
from conceptaudit.text.word_forms import english_head_forms
from conceptaudit.vocabulary import read_concepts

if TYPE_CHECKING:
    from spacy.tokens import Doc

RULES = (
    ("published", "the published algorithm"),
    ("absent terms", "a term that no caption holds counts: its concept is not found"),
    ("case", "case is folded in captions as in names"),
    ("digits, accents", "digits, hyphens and accents of captions are kept"),
    ("words of a name", "every word of a name counts, in any form that captions use for it"),
    ("head noun", "only the head of a name has to be a noun, none in a numbered name"),
    ("phrase", "words in a row, and spelling variants, in place of a bag of words"),
    ("longest match", "'dog' in 'hot dog' is none"),
    ("aliases", "aliases count"),
)
"""What each count has that the one before it lacks; the last is ours."""

Token = tuple[str, str, str, bool]
"""Text, lemma as it is, normalised lemma, whether a noun."""


class Variants:
    """All counts of one vocabulary, caption by caption.

    Parameters
    ----------
    vocabulary : ConceptVocabulary
    spacy_model : str
        Pipeline for captions and names.
    """

    def __init__(self, vocabulary: ConceptVocabulary, spacy_model: str) -> None:
        self.nlp = load_pipeline(spacy_model)
        self.vocabulary = vocabulary
        self.queries = query_terms(self.nlp, vocabulary.names)
        plain = [[normalize(term) for term in terms] for terms in self.queries]
        # each rule's questions: concept, the words it needs, whether of nouns only
        self.published = Bags([frozenset(terms) for terms in self.queries])
        self.folded = Bags([frozenset(terms) for terms in plain])
        self.phrases = [self._phrase(name) for name in vocabulary.names]
        bare = ConceptVocabulary(tuple(replace(c, aliases=()) for c in vocabulary))
        self.annotators = [
            CaptionAnnotator(self.nlp, words, any_pos=False, nested=nested)
            for words, nested in ((bare, True), (bare, False), (vocabulary, False))
        ]
        self.terms_held: set[str] = set()
        self.folded_held: set[str] = set()
        self.kept_held: set[str] = set()
        self.held: list[tuple[frozenset[str], frozenset[str], frozenset[str]]] = []
        self.counts = np.zeros((len(RULES), len(vocabulary)), dtype=np.int64)
        self._by_head: dict[str, list[int]] = {}
        for concept, (_, heads, _) in enumerate(self.phrases):
            for form in heads:
                self._by_head.setdefault(form, []).append(concept)

    def _phrase(self, name: str) -> tuple[frozenset[str], frozenset[str], bool]:
        """Other words of a name, the forms of its head, whether it is numbered."""
        split = [token.text for token in self.nlp.make_doc(phrase_text(name))]
        words = [word for text in split if (word := normalize(text).strip()) not in {"", *HYPHENS}]
        if not words:
            return frozenset(), frozenset(), False
        head = head_of(words)
        forms = {words[head], *english_head_forms(words[head], len(words) == 1)}
        numbered = len(words) > 1 and any(c.isdigit() for word in words for c in word)
        return frozenset(words[:head] + words[head + 1 :]), frozenset(forms), numbered

    def add(self, raw: Sequence[Token], prepared: Sequence[Token]) -> None:
        """Count one caption: as it is for the published rules, normalised for ours."""
        nouns = [token for token in raw if token[3]]
        keys = frozenset(caption_key(lemma) for _, lemma, _, _ in nouns)
        folded = frozenset(caption_key(lemma).lower() for _, lemma, _, _ in nouns)
        kept = frozenset(lemma for _, _, lemma, _ in nouns)
        self.held.append(
            (keys & self.published.words, folded & self.folded.words, kept & self.folded.words)
        )
        self.terms_held |= self.held[-1][0]
        self.folded_held |= self.held[-1][1]
        self.kept_held |= self.held[-1][2]
        self._count_words(prepared)

    def _count_words(self, tokens: Sequence[Token]) -> None:
        anything = {form for text, _, lemma, _ in tokens for form in (text, lemma)}
        named = {form for text, _, lemma, noun in tokens if noun for form in (text, lemma)}
        for rule, rest, heads in ((4, named, named), (5, anything, named)):
            for concept in self._candidates(anything):
                others, forms, numbered = self.phrases[concept]
                head_in = anything if rule == 5 and numbered else heads
                if others <= rest and forms & head_in:
                    self.counts[rule, concept] += 1

    def _candidates(self, words: Iterable[str]) -> set[int]:
        return {concept for word in words for concept in self._by_head.get(word, ())}

    def count_phrases(self, captions: Sequence[str]) -> None:
        """Count phrases in captions, by the rules that audits have."""
        for rule, annotator in enumerate(self.annotators, start=6):
            for annotated in annotator.tag(captions):
                if not isinstance(annotated, str):
                    self.counts[rule, list(annotated.counts)] += 1

    def finish(self) -> np.ndarray:
        """Count what needs to know the whole corpus; return shape (n_rules, n_concepts)."""
        published = self.published.without_absent(self.terms_held)
        for keys, folded, kept in self.held:
            for rule, bags, words in (
                (0, published, keys),
                (1, self.published, keys),
                (2, self.folded, folded),
                (3, self.folded, kept),
            ):
                for concept in bags.within(words):
                    self.counts[rule, concept] += 1
        return self.counts


class Bags:
    """Sets of words to be found whole in captions."""

    def __init__(self, bags: Sequence[frozenset[str]]) -> None:
        self.bags = bags
        self.words = frozenset(word for bag in bags for word in bag)
        self._with: dict[str, list[int]] = {}
        for i, bag in enumerate(bags):
            if bag:
                self._with.setdefault(min(bag), []).append(i)

    def without_absent(self, held: set[str]) -> "Bags":
        """Leave out words that the corpus lacks."""
        return Bags([bag & held for bag in self.bags])

    def within(self, words: frozenset[str]) -> Iterator[int]:
        """Find the bags of which a caption holds every word."""
        for word in words:
            for i in self._with.get(word, ()):
                if self.bags[i] <= words:
                    yield i


def tokens_of(doc: "Doc") -> list[Token]:
    """Take what counting needs from a tagged caption."""
    return [
        (
            normalize(token.text).strip(),
            token.lemma_,
            normalize(token.lemma_ or token.text).strip(),
            token.pos_ in {"NOUN", "PROPN"},
        )
        for token in doc
    ]


def read_captions(paths: Sequence[Path], rows: int | None) -> list[str]:
    """Read captions as the published code does: without rows that lack a caption or URL.

    With `rows`, that many are taken at equal distances, which is the same sample every time.
    """
    captions = [
        caption
        for path in paths
        for dataset in [open_dataset(path, require_url=True)]
        for shard in dataset.shards()
        for batch in dataset.read(shard, frozenset({CAPTION}))
        for caption in batch.captions or ()
        if caption is not None
    ]
    if rows is None or rows >= len(captions):
        return captions
    return [captions[i] for i in np.linspace(0, len(captions) - 1, rows).round().astype(int)]


def read_names(name: str) -> ConceptVocabulary:
    """Read a concept list; 'imagenet' stands for open_clip's ImageNet names."""
    if name != "imagenet":
        return read_concepts(name).vocabulary
    from open_clip import IMAGENET_CLASSNAMES

    return read_concepts(list(IMAGENET_CLASSNAMES)).vocabulary


def compare(captions: Sequence[str], vocabulary: ConceptVocabulary, spacy_model: str) -> np.ndarray:
    """Count by every rule: shape (n_rules, n_concepts)."""
    variants = Variants(vocabulary, spacy_model)
    for start in range(0, len(captions), 2_048):
        raw = list(captions[start : start + 2_048])
        prepared = [caption_text(caption) for caption in raw]
        tagged = dict(zip(raw, map_docs(variants.nlp, raw, tokens_of), strict=True))
        missing = list(dict.fromkeys(c for c in prepared if c not in tagged))
        ours = {
            **tagged,
            **dict(zip(missing, map_docs(variants.nlp, missing, tokens_of), strict=True)),
        }
        for as_is, text in zip(raw, prepared, strict=True):
            one, two = tagged[as_is], ours[text]
            if not isinstance(one, Exception) and not isinstance(two, Exception):
                variants.add(one, two)
        variants.count_phrases(raw)
    return variants.finish()


def describe(counts: np.ndarray, vocabulary: ConceptVocabulary, shown: int) -> dict:
    """Sum the differences up by rule and find the concepts that differ most."""
    published, ours = counts[0], counts[-1]
    steps = np.diff(counts, axis=0)
    found = np.flatnonzero((published > 0) | (ours > 0))
    larger = np.maximum(published, ours)[found]
    off = np.abs(published - ours)[found] / larger
    rules = [
        {
            "rule": RULES[i + 1][0],
            "concepts": int(np.count_nonzero(step)),
            "more": int(step[step > 0].sum()),
            "fewer": int(-step[step < 0].sum()),
        }
        for i, step in enumerate(steps)
    ]
    order = np.argsort(-np.abs(published - ours), kind="stable")[:shown]
    worst = [
        {
            "concept": vocabulary.names[c],
            "published": int(published[c]),
            "ours": int(ours[c]),
            "by_rule": {
                RULES[i + 1][0]: int(steps[i, c]) for i in range(len(steps)) if steps[i, c]
            },
        }
        for c in order.tolist()
        if published[c] != ours[c]
    ]
    return {
        "published_total": int(published.sum()),
        "ours_total": int(ours.sum()),
        "concepts_found": len(found),
        "equal": float(np.mean(off == 0)) if len(found) else None,
        "within_10_percent": float(np.mean(off <= 0.1)) if len(found) else None,
        "published_only": int(np.count_nonzero((published > 0) & (ours == 0))),
        "ours_only": int(np.count_nonzero((ours > 0) & (published == 0))),
        "rank_correlation": rank_correlation(published, ours),
        "rules": rules,
        "worst": worst,
    }


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation over all concepts."""
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def show(result: dict) -> None:
    """Print a comparison as Markdown."""
    print(
        f"\npublished {result['published_total']:,}, ours {result['ours_total']:,}; of "
        f"{result['concepts_found']:,} concepts found by either {result['equal']:.0%} have equal "
        f"counts, {result['within_10_percent']:.0%} within 10 %; found by the published "
        f"algorithm only: {result['published_only']:,}, by ours only: {result['ours_only']:,}; "
        f"rank correlation {result['rank_correlation']:.3f}\n"
    )
    print("| rule | concepts | more | fewer |\n|---|---|---|---|")
    for row in result["rules"]:
        print(f"| {row['rule']} | {row['concepts']:,} | {row['more']:,} | {row['fewer']:,} |")
    print("\n| concept | published | ours | why |\n|---|---|---|---|")
    for row in result["worst"]:
        causes = sorted(row["by_rule"].items(), key=lambda item: -abs(item[1]))
        why = ", ".join(f"{name} {n:+,}" for name, n in causes)
        plain = re.sub(r"[^\w ()'-]", " ", row["concept"])
        print(f"| {plain} | {row['published']:,} | {row['ours']:,} | {why} |")


def main() -> None:
    """Compare one caption set with one concept list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", type=Path, nargs="+", required=True)
    parser.add_argument("--concepts", required=True)
    parser.add_argument("--rows", type=int, help="captions to take, at equal distances")
    parser.add_argument("--spacy-model", default="bundled")
    parser.add_argument("--worst", type=int, default=10)
    arguments = parser.parse_args()
    captions = read_captions(arguments.captions, arguments.rows)
    vocabulary = read_names(arguments.concepts)
    result = describe(
        compare(captions, vocabulary, arguments.spacy_model), vocabulary, arguments.worst
    )
    sets = " + ".join(path.stem for path in arguments.captions)
    name = f"{sets} against {Path(arguments.concepts).stem}"
    print(f"{name}: {len(captions):,} captions, {len(vocabulary):,} concepts")
    show(result)
    print(json.dumps({"bench": "paper counts", "name": name, "n": len(captions), **result}))


if __name__ == "__main__":
    main()
