"""Defaults and options that several records have, each written once."""

from functools import partial

from conceptaudit.options.fields import option

AUTO = "auto"

LEVEL = 0.9  # coverage of every interval unless the user names another

# What one text is: a caption, or a document of any length.
CAPTION_UNIT, DOCUMENT_UNIT = UNITS = ("caption", "document")

# Rows of a table per shard: seconds of tagging, so a kill costs little and workers balance.
DEFAULT_SHARD_ROWS = 20_000

# CLIP's own default prompt (Radford et al. 2021, section 3.1.4).
DEFAULT_TEMPLATES = ("a photo of a {}.",)

BUNDLED = "bundled"  # name of the spaCy pipeline that ships with the package

NOUN_POS, ANY_POS = POS = ("noun", "any")  # what the head of a match in a caption must be

DEFAULT_EVIDENCE = 20  # captions kept per concept where the user names no number

# Standard error of every fast count, as a share of it, where the user names none.
DEFAULT_ERROR = 0.005

layout = partial(
    option,
    default=AUTO,
    help="'table', 'webdataset', 'files', 'embeddings', 'coco' or one that a package adds "
    "(docs/formats.md); 'auto' finds out which.",
)
caption_column = partial(
    option,
    default=None,
    help="Caption column, where its name is not a known one; of archives the ending of the members "
    "(outputs.txt).",
)
image_column = partial(
    option,
    default=None,
    help="Column of images, where its name is not a known one; of archives the ending of the "
    "members (input.jpg).",
)
key_column = partial(option, default=None, help="Key column, where its name is not a known one.")
url_column = partial(option, default=None, help="URL column, where its name is not a known one.")
language_column = partial(
    option, default=None, help="Language column, where its name is not a known one."
)
dataset_key = partial(
    option,
    default=None,
    help="Which list to read of a --concepts file with the class names of several datasets.",
)
unit = partial(
    option,
    default=CAPTION_UNIT,
    help="'caption' (cut at 10,000 characters) or 'document' (never cut).",
)
shard_rows = partial(
    option, default=DEFAULT_SHARD_ROWS, help="Rows of a table or array per shard; changes no count."
)
skip_unreadable = partial(option, default=False, help="List files that cannot be read, and go on.")
spacy_model = partial(
    option, default=BUNDLED, help="spaCy pipeline by name or path; 'bundled' is English."
)
templates = partial(
    option,
    default=DEFAULT_TEMPLATES,
    help="Prompt template with {}; repeat for an ensemble.",
    name="template",
)
alias_prompts = partial(option, default=False, help="Prompt with aliases too, and average.")
device = partial(option, default=AUTO, help="'auto', 'cpu' or 'cuda:0'.")
allow_pickle_weights = partial(
    option,
    default=False,
    help="Open weights that are a pickle (with torch's restricted unpickler).",
)
pretraining = partial(
    option,
    default=None,
    help="Name of the pretraining set in the results; the weights' by default.",
)
sampled_from = partial(
    option,
    default=None,
    help="Samples of the whole dataset, before drops, where a random sample of it was read.",
    within="[1, inf)",
)
share = partial(
    option,
    default=None,
    help="The same as the share that was read, in (0, 1]: 0.01 is one in a hundred.",
)
level = partial(option, default=LEVEL, help="Coverage of the intervals.", within="(0, 1)")
workers = partial(option, help="Worker processes; one per processor by default.", cli_default=None)
engine = partial(
    option,
    default=AUTO,
    help="Who works: 'serial', 'processes', 'ray', or 'auto': processes. Changes no result.",
)
ray_address = partial(
    option, default=None, help="Address of a running Ray cluster; 'auto' finds this machine's."
)
