"""What a trained pair makes of data: codes, reconstructions and their errors, subspaces, nearest rows."""

from ppgen.features.decoding import decode
from ppgen.features.encoder_gaps import EncoderGap, encoder_gap
from ppgen.features.encoding import encode
from ppgen.features.neighbours import Neighbours, nearest_rows
from ppgen.features.reconstruction import reconstruct
from ppgen.features.squared_error import reconstruction_error
from ppgen.features.subspaces import principal_angle

__all__ = [
    "EncoderGap",
    "Neighbours",
    "decode",
    "encode",
    "encoder_gap",
    "nearest_rows",
    "principal_angle",
    "reconstruct",
    "reconstruction_error",
]
