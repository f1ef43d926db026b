"""Training of any pair by any inference, its checkpoints, and what is done with the trained pair.

`fit` trains, `pretrain` layer by layer; `load` reads a run back, `sample` draws from the model, `refine` measures the
amortisation gap; callbacks are functions of an `Event`.
"""

from ppgen.training.callbacks import CSVLog, Event, TensorBoardLog
from ppgen.training.classifier import Classifier, finetune_classifier
from ppgen.training.divergence import DivergenceError
from ppgen.training.fit import fit
from ppgen.training.folder import FolderInUseError
from ppgen.training.layer_bounds import LayerBound
from ppgen.training.loading import load
from ppgen.training.pretrain import Pretraining, pretrain
from ppgen.training.refine import Refinement, refine
from ppgen.training.run import Run
from ppgen.training.sampling import Samples, sample

__all__ = [
    "CSVLog",
    "Classifier",
    "DivergenceError",
    "Event",
    "FolderInUseError",
    "LayerBound",
    "Pretraining",
    "Refinement",
    "Run",
    "Samples",
    "TensorBoardLog",
    "finetune_classifier",
    "fit",
    "load",
    "pretrain",
    "refine",
    "sample",
]
