"""Training of any pair by any inference, its checkpoints, and what is done with the trained pair.

`fit` trains, `pretrain` layer by layer, `unroll` makes an autoencoder of a network; `load` reads a run back, `sample`
draws from the model, `refine` measures the amortisation gap; callbacks are functions of an `Event`.
"""

from ppgen.training.epochs.callbacks import CSVLog, Event, TensorBoardLog
from ppgen.training.epochs.divergence import DivergenceError
from ppgen.training.fitting import fit
from ppgen.training.loading import load
from ppgen.training.run import Run
from ppgen.training.run_folder.folder import FolderInUseError
from ppgen.training.sampling.model_samples import Samples, sample
from ppgen.training.stages.class_evidence import ClassEvidence
from ppgen.training.stages.class_parts import ClassParts
from ppgen.training.stages.classifier import Classifier, finetune_classifier
from ppgen.training.stages.fit_classes import fit_classes
from ppgen.training.stages.fit_prior import fit_prior
from ppgen.training.stages.image_classifier import ImageClassifier, fit_image_classifier
from ppgen.training.stages.layer_bounds import LayerBound
from ppgen.training.stages.pretrain import Pretraining, pretrain
from ppgen.training.stages.refine import Refinement, refine
from ppgen.training.stages.unroll import unroll

__all__ = [
    "CSVLog",
    "ClassEvidence",
    "ClassParts",
    "Classifier",
    "DivergenceError",
    "Event",
    "FolderInUseError",
    "ImageClassifier",
    "LayerBound",
    "Pretraining",
    "Refinement",
    "Run",
    "Samples",
    "TensorBoardLog",
    "finetune_classifier",
    "fit",
    "fit_classes",
    "fit_image_classifier",
    "fit_prior",
    "load",
    "pretrain",
    "refine",
    "sample",
    "unroll",
]
