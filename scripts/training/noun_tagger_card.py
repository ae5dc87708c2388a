"""The papers of the shipped model: licence note and model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LICENSE = """\
The weights in this folder were trained on Universal Dependencies English-EWT and are licensed,
like it, under the Creative Commons Attribution-ShareAlike 4.0 International License:
https://creativecommons.org/licenses/by-sa/4.0/

Universal Dependencies English-EWT (English Web Treebank), its contributors,
https://github.com/UniversalDependencies/UD_English-EWT, CC BY-SA 4.0.
Changes: part-of-speech tags, number, verb form and lemmas were learnt by a neural network, and
lemmas that differ from the lexicon's rules were copied into word_forms.txt.gz.

The file word_forms.txt.gz, a copy of which is stored with the network's first layer, also holds
which readings of a noun are rare, by the counts of senses in Princeton WordNet 3.1, and the
single-word lemmas, parts of speech, numbers of senses and irregular forms of Open English
WordNet, https://github.com/globalwordnet/english-wordnet, copyright (c) 2019-present The Open
English WordNet Team, CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/), which derives from
Princeton WordNet:

WordNet License

This license is available as the file LICENSE in any downloaded version of WordNet.

WordNet Release 3.0. This software and database is being provided to you, the LICENSEE, by Princeton
University under the following license. By obtaining, using and/or copying this software and
database, you agree that you have read, understood, and will comply with these terms and
conditions.:

Permission to use, copy, modify and distribute this software and database and its documentation for
any purpose and without fee or royalty is hereby granted, provided that you agree to comply with the
following copyright notice and statements, including the disclaimer, and that the same appear on ALL
copies of the software, database and documentation, including modifications that you make for
internal use or for distribution.

WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.

THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR
WARRANTIES, EXPRESS OR IMPLIED. BY WAY OF EXAMPLE, BUT NOT LIMITATION, PRINCETON UNIVERSITY MAKES NO
REPRESENTATIONS OR WARRANTIES OF MERCHANTABILITY OR FITNESS FOR ANY PARTICULAR PURPOSE OR THAT THE
USE OF THE LICENSED SOFTWARE, DATABASE OR DOCUMENTATION WILL NOT INFRINGE ANY THIRD PARTY PATENTS,
COPYRIGHTS, TRADEMARKS OR OTHER RIGHTS.

The name of Princeton University or Princeton may not be used in advertising or publicity pertaining
to distribution of the software and/or database. Title to copyright in this software, database and
any associated documentation shall at all times remain with Princeton University and LICENSEE agrees
to preserve same.
"""

CARD = """\
# {name}: the bundled noun tagger

A spaCy pipeline for English captions: `tok2vec`, `morphologizer` and `conceptaudit_noun_lexicon`.
It sets `pos` (Universal Dependencies), `morph` (number of nouns, form of verbs) and `lemma`.
`conceptaudit.text.pipeline.load_bundled()` loads it. To load it by path, import
`conceptaudit.text.noun_lexicon` first.

- **Learnt from** Universal Dependencies English-EWT train; Open English WordNet (which parts of
  speech a word can have is a feature of the network, and the last component's knowledge); example
  phrases of Princeton WordNet 3.1, whose own word has a known part of speech
  (`noun_tagger_examples.py` in `scripts/training/`), and its counts of senses in SemCor (which
  readings are rare); a hand-written grammar of captions (`noun_tagger_captions.py`,
  `noun_tagger_web.py`, `noun_tagger_wares.py`, there too). No caption data set was trained on.
- **Licence**: CC BY-SA 4.0, with the credits in `LICENSE`.
- **Made by** these commands in order ({versions}):
{commands}

  Each ran with the scripts of its day: the grammar has grown since the first two.

## Accuracy
`accuracy.json` has the unrounded numbers; `python scripts/training/train_noun_tagger.py --evaluate`
measures them again.

English-EWT test, gold tokens; NOUN and PROPN are one class; lemmas are compared without case:

| text | POS | noun precision | noun recall | lemma of nouns | lemma of all |
|---|---|---|---|---|---|
{gold}

Captions (never trained on): of the tokens that can only be nouns, the share that is tagged so.
A token can only be a noun if every lemma that it may inflect from, in Open English WordNet, is one,
unless English-EWT train mostly uses it as a closed-class word or interjection.

| captions | share | tokens |
|---|---|---|
{captions}

On words that captions use as nouns and otherwise (watch, train, orange, park, light …) rules and
this tagger together are right in about 19 of 20 tokens of Flickr captions and 9 of 10 of web
alt-texts, by labels made by hand: `docs/benchmarks-text.md`.

## Conventions
- A colour before a noun is an adjective ("an orange shirt"), on its own a noun ("in orange").
- The lemma of a noun is its lower-case singular. Pairs and other pluralia tantum keep their form,
  as in English-EWT: glasses, scissors, pants, jeans, shorts, clothes; "people" stays "people".
- "-ing" and "-ed" forms are verbs where they describe what somebody does ("a man skiing").
- A proper noun keeps its capitals; its plural is undone ("Americans", "American").
"""


def write_papers(folder: Path, accuracy: dict[str, Any]) -> None:
    """Write ``accuracy.json``, ``README.md`` and ``LICENSE`` beside the weights."""
    (folder / "accuracy.json").write_text(json.dumps(accuracy, indent=2) + "\n", encoding="utf-8")
    keys = ("pos", "noun_precision", "noun_recall", "lemma_of_nouns", "lemma")
    gold = [
        f"| {case} | " + " | ".join(f"{accuracy['ewt_test'][case][key]:.4f}" for key in keys) + " |"
        for case in ("cased", "lower")
    ]
    captions = [
        f"| {name} | {row['nounness']:.4f} | {row['n']:,} |"
        for name, row in accuracy["captions"].items()
    ]
    made = accuracy["training"]
    card = CARD.format(
        name=folder.name,
        commands="\n".join(f"  {n}. `{command}`" for n, command in enumerate(made["commands"], 1)),
        versions=", ".join(f"{name} {version}" for name, version in made["versions"].items()),
        gold="\n".join(gold),
        captions="\n".join(captions),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "LICENSE").write_text(LICENSE, encoding="utf-8")
