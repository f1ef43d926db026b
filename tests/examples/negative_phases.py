"""Negative phases with other settings than their own."""

from ppgen import inference

NEGATIVE_PHASES: dict[str, list[inference.NegativePhase]] = {
    "CD": [inference.CD(), inference.CD(k=3, centred=False), inference.CD(k={0: 2, 2: 1})],
    "PCD": [inference.PCD(num_chains=30), inference.PCD(k=2, num_chains=7, centred=False, log_partition_chains=9)],
    "TemperedPCD": [
        inference.TemperedPCD(num_chains=30, num_temperatures=4),
        inference.TemperedPCD(k=3, num_chains=7, num_temperatures=2, centred=False, ladder_rate=0.5),
    ],
}
