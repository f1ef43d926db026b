"""What a trained pair makes of data: codes, reconstructions and their errors, subspaces."""

from ppgen.features.encoder_gaps import EncoderGap, encoder_gap
from ppgen.features.encoding import encode
from ppgen.features.reconstruction import reconstruct
from ppgen.features.squared_error import reconstruction_error
from ppgen.features.subspaces import principal_angle

__all__ = ["EncoderGap", "encode", "encoder_gap", "principal_angle", "reconstruct", "reconstruction_error"]
