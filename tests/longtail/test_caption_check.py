"""A set whose captions name other things is called doubtful."""

from conceptaudit.longtail.build import CaptionCheck


def test_captions_that_name_other_things_are_said():
    [note] = CaptionCheck(n_captioned=160, n_named=49).notes
    assert note.startswith("The captions of only 49 of 160 images name their class (31%")
    assert "--require-text" in note


def test_captions_that_agree_or_are_missing_need_no_note():
    assert CaptionCheck(n_captioned=100, n_named=80).notes == []
    assert CaptionCheck(n_captioned=0, n_named=0).notes == []
