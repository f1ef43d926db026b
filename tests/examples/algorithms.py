"""Named algorithms with few particles."""

from ppgen import inference

ALGORITHMS = {
    "IWAE": [inference.IWAE(num_particles=5)],
    "DReG": [inference.DReG(num_particles=5)],
    "NVIL": [inference.NVIL(hidden=3)],
    "VIMCO": [inference.VIMCO(num_particles=3)],
    "RLOO": [inference.RLOO(num_particles=3)],
    "RWS": [inference.RWS(num_particles=3)],
}
