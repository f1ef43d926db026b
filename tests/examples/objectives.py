"""Objectives with other particles and settings than their own."""

from ppgen import inference

OBJECTIVES: dict[str, list[inference.Objective]] = {
    "ELBO": [inference.ELBO(), inference.ELBO(num_particles=4)],
    "IWELBO": [inference.IWELBO(num_particles=1), inference.IWELBO(num_particles=5)],
    "Renyi": [inference.Renyi(num_particles=4), inference.Renyi(num_particles=3, alpha=0.2)],
    "CUBO": [inference.CUBO(num_particles=2), inference.CUBO(num_particles=3, n=1.5)],
    "WakeSleep": [inference.WakeSleep(), inference.WakeSleep(num_particles=3)],
    "ReweightedWakeSleep": [
        inference.ReweightedWakeSleep(num_particles=4),
        inference.ReweightedWakeSleep(num_particles=3, wake=False, sleep=True),
        inference.ReweightedWakeSleep(num_particles=3, sleep=True),
    ],
    "MaximumMeanDiscrepancy": [
        inference.MaximumMeanDiscrepancy(),
        inference.MaximumMeanDiscrepancy((1.0, 4.0), root=False, compared="mean"),
    ],
    "Adversarial": [
        inference.Adversarial(lr=0.01, hidden=(16,)),
        inference.Adversarial(lr=0.01, loss="jensen-shannon", hidden=(16,)),
        inference.Adversarial(lr=0.01, loss="wasserstein-gp", hidden=(16,), discriminator_steps=2),
        inference.Adversarial(lr=0.01, loss="hinge", hidden=(16,)),
    ],
    "MaximumLikelihood": [inference.MaximumLikelihood()],
}
