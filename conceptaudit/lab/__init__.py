"""The simulator: captioned scenes whose true concept counts are known, to test every number."""

from conceptaudit.lab.bundled import LabTraining, lab_clip_data, lab_clip_path, lab_training
from conceptaudit.lab.config import CORRUPTIONS, LabConfig
from conceptaudit.lab.counts import true_frequencies
from conceptaudit.lab.folders import write_image_folder
from conceptaudit.lab.generate import generate
from conceptaudit.lab.samples import SampleTruth, scene
from conceptaudit.lab.truth import LabTruth, read_settings, read_truth
from conceptaudit.lab.zipf import draw_probabilities, lab_vocabulary, presence_probabilities

__all__ = [
    "CORRUPTIONS",
    "LabConfig",
    "LabTraining",
    "LabTruth",
    "SampleTruth",
    "draw_probabilities",
    "generate",
    "lab_clip_data",
    "lab_clip_path",
    "lab_training",
    "lab_vocabulary",
    "presence_probabilities",
    "read_settings",
    "read_truth",
    "scene",
    "true_frequencies",
    "write_image_folder",
]
