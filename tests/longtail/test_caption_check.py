"""A set whose captions name other things is called doubtful."""

from conceptaudit.longtail.build import caption_notes


def test_captions_that_name_other_things_are_said():
    [note] = caption_notes(160, 49)
    assert note.startswith("The captions of only 49 of 160 images name their class (31%")
    assert "--require-text" in note


def test_captions_that_agree_or_are_missing_need_no_note():
    assert caption_notes(100, 80) == []
    assert caption_notes(0, 0) == []
