"""One sample of the simulator: what it shows, what its caption names, and what happened to it."""

import io
from dataclasses import dataclass

from PIL import Image

from conceptaudit.lab.captions import LANGUAGES, Caption, write_caption
from conceptaudit.lab.concepts import LabConcept
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.phrases import Mention
from conceptaudit.lab.pictures import draw_scene, encode
from conceptaudit.lab.rng import Purpose, SampleRng
from conceptaudit.lab.sample_faults import SampleFaults, faults_of
from conceptaudit.lab.zipf import cumulative_probabilities, ranked_concepts

GROUP_SHARE = 0.25
"""Share of scenes with room left in which the first thing is repeated until the scene is full."""

Things = tuple[tuple[LabConcept, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTruth:
    """Everything that is true of one sample.

    Parameters
    ----------
    index : int
        Position in the dataset, from 0.
    image, text : tuple of str
        Concepts that the image shows and that the caption names as nouns, sorted.
    not_noun : tuple of str
        Concepts whose word stands in the caption in another role.
    n_things : int
        Things drawn; a concept shown twice counts twice.
    caption : str
        The caption before any damage.
    style, language : str
        See `conceptaudit.lab.captions.Caption`.
    faults : SampleFaults
        Copying, damage and loss.
    """

    index: int
    image: tuple[str, ...]
    text: tuple[str, ...]
    not_noun: tuple[str, ...]
    n_things: int
    caption: str
    style: str
    language: str
    faults: SampleFaults

    @property
    def joint(self) -> tuple[str, ...]:
        """Concepts that are both shown and named."""
        return tuple(name for name in self.image if name in self.text)


def scene(config: LabConfig, index: int) -> tuple[Image.Image, str, SampleTruth]:
    """Draw sample `index` as an undamaged image, with its caption and the truth about both.

    Parameters
    ----------
    config : LabConfig
        The knobs; `index` may lie beyond its ``n_samples``.
    index : int
        Which sample, from 0.

    Returns
    -------
    image : PIL.Image.Image
        RGB, ``image_size`` pixels square, as read back from its JPEG file.
    caption : str
        The caption.
    truth : SampleTruth
        What is shown and what is named.

    Examples
    --------
    >>> image, caption, truth = scene(LabConfig(seed=1), 7)
    >>> image.size, set(truth.joint) <= set(truth.image)
    ((96, 96), True)
    """
    content, truth = make_sample(config, index)
    with Image.open(io.BytesIO(content or b"")) as picture:
        return picture.convert("RGB"), truth.caption, truth


def make_sample(
    config: LabConfig, index: int, *, picture: bool = True
) -> tuple[bytes | None, SampleTruth]:
    """Make one sample, undamaged: its JPEG file and everything that is true of it."""
    faults = faults_of(config, index)
    things, caption = _content(config, faults.source, unrelated=faults.unrelated)
    copy = SampleRng(seed=config.seed, index=index, purpose=Purpose.COPY)
    near = faults.copy_kind == "near"
    truth = SampleTruth(
        index=index,
        image=tuple(sorted({concept.name for concept, _ in things})),
        text=tuple(sorted({*caption.mentioned})),
        not_noun=caption.not_noun,
        n_things=sum(count for _, count in things),
        caption=_retold(copy, caption.text) if near else caption.text,
        style=caption.style,
        language=caption.language,
        faults=faults,
    )
    if not picture:
        return None, truth
    names = [concept.name for concept, count in things for _ in range(count)]
    drawn = draw_scene(config, faults.source, names, Purpose.PICTURE)
    metadata = SampleRng(seed=config.seed, index=faults.source, purpose=Purpose.METADATA)
    quality = 60 + metadata.below(36)
    if near:
        drawn, quality = _taken_again(copy, drawn), 40 + copy.below(50)
    return encode(drawn, quality), truth


def _content(config: LabConfig, index: int, *, unrelated: bool) -> tuple[Things, Caption]:
    """Decide the things of a scene, how many of each, and write its caption."""
    scene = SampleRng(seed=config.seed, index=index, purpose=Purpose.SCENE)
    things = _things(config, scene)
    rng = SampleRng(seed=config.seed, index=index, purpose=Purpose.CAPTION)
    described = things
    if unrelated:
        other = SampleRng(seed=config.seed, index=index, purpose=Purpose.OTHER_SCENE)
        described = _things(config, other)
    mentions = [
        Mention(concept=concept, count=count)
        for concept, count in described
        if not rng.chance(config.omission_rate)
    ]
    extra = _hallucinated(config, rng, {concept.name for concept, _ in (*things, *described)})
    english = not rng.chance(config.non_english_share)
    verb = rng.chance(config.verb_use_share)
    caption = write_caption(
        config,
        rng,
        rng.shuffled([*mentions, *extra]),
        language="en" if english else rng.pick(LANGUAGES),
        verb=verb,
    )
    return things, caption


def _things(config: LabConfig, rng: SampleRng) -> Things:
    """Draw the things of a scene from the frequency law; equal draws make a plural."""
    concepts, law = ranked_concepts(config), cumulative_probabilities(config)
    sizes = range(config.min_objects, config.max_objects + 1)
    point = rng.uniform() * sum(1 / size for size in sizes)
    size = config.max_objects
    for candidate in sizes:
        point -= 1 / candidate
        if point < 0:
            size = candidate
            break
    counts: dict[int, int] = {}
    for _ in range(size):
        position = rng.locate(law)
        counts[position] = counts.get(position, 0) + 1
    if size < config.max_objects and rng.chance(GROUP_SHARE):
        first = next(iter(counts))
        counts[first] += 1 + rng.below(config.max_objects - size)
    return tuple((concepts[position], count) for position, count in counts.items())


def _hallucinated(config: LabConfig, rng: SampleRng, known: set[str]) -> list[Mention]:
    """Draw a concept that is in neither scene, or nothing."""
    if not rng.chance(config.hallucination_rate):
        return []
    concepts, law = ranked_concepts(config), cumulative_probabilities(config)
    for _ in range(200):
        concept = concepts[rng.locate(law)]
        if concept.name not in known:
            return [Mention(concept=concept, count=1 if rng.chance(0.8) else 2 + rng.below(2))]
    return []  # so few concepts are in use that all of them are shown


def _retold(rng: SampleRng, caption: str) -> str:
    """Edit a caption as somebody does who posts an image again; it names the same things."""
    return (caption, caption.lower(), f"{caption} (repost)", f"{caption}.")[rng.below(4)]


def _taken_again(rng: SampleRng, picture: Image.Image) -> Image.Image:
    """Crop a few pixels, scale back and change the exposure a little."""
    size = picture.width
    margin = max(1, size // 24)
    left, top = rng.below(margin + 1), rng.below(margin + 1)
    box = (left, top, size - rng.below(margin + 1), size - rng.below(margin + 1))
    gain = rng.uniform(0.92, 1.08)
    again = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return again.point([min(255, int(level * gain)) for level in range(256)] * 3)
