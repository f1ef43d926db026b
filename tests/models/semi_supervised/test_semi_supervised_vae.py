"""Semi-supervised autoencoders: bounds and gradients by quadrature and enumeration; labels; predictions."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ppgen
from ppgen import datasets, evaluation, inference, models
from ppgen.inference.engine.specification import Inference
from ppgen.models.semi_supervised.class_labels import class_law

CLASSES, LABELS = 3, torch.tensor([2, -1, 0, -1, -1])


def toy() -> tuple[models.SemiSupervisedVAE, Tensor]:
    """Three classes, one latent, five rows of bits, with weights that tell the classes apart."""
    torch.manual_seed(3)
    ssvae = models.SemiSupervisedVAE(features=4, classes=CLASSES, latent=1, hidden=(3,))
    with torch.no_grad():
        for parameter in ssvae.parameters():
            parameter.copy_(0.8 * torch.randn(parameter.shape))
    return ssvae.double(), torch.rand(5, 4).lt(0.5).double()


def at_nodes(ssvae: models.SemiSupervisedVAE, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x, y, z) - log q(z | x, y) at the nodes of Gauss-Hermite quadrature in q(z | x, y), and their weights."""
    places, masses = np.polynomial.hermite_e.hermegauss(60)
    masses = torch.as_tensor(masses / masses.sum())
    q = ssvae.encoder(torch.cat([x, label], -1))
    z = q.mean + q.stddev * torch.as_tensor(places).reshape(-1, 1, 1)
    logits = ssvae.decoder(torch.cat([label.expand(len(places), -1, -1), z], -1)).base_dist.logits
    log_x = -nn.functional.softplus(torch.where(x == 1, -logits, logits)).sum(-1)
    log_prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1) - math.log(CLASSES)
    return log_x + log_prior - q.log_prob(z), masses


def by_class(ssvae: models.SemiSupervisedVAE, x: Tensor, of_bound: bool) -> Tensor:
    """The bound of log p(x, y), or log p(x, y) itself, of every row and class: (rows, classes)."""
    found = []
    for label in torch.eye(CLASSES, dtype=x.dtype):
        log_weights, masses = at_nodes(ssvae, x, label.expand(len(x), -1))
        exact = torch.logsumexp(log_weights + masses.log().unsqueeze(1), 0)
        found.append(masses @ log_weights if of_bound else exact)
    return torch.stack(found, 1)


def exact_bounds(ssvae: models.SemiSupervisedVAE, x: Tensor, y: Tensor) -> Tensor:
    """L(x, y) of labelled rows and sum_y q(y | x) L(x, y) + H(q(y | x)) of the others: (rows,)."""
    values, log_q = by_class(ssvae, x, True), ssvae.classifier(x).log_softmax(-1)
    open_rows = (log_q.exp() * (values - log_q)).sum(1)
    return torch.where(y >= 0, values.gather(1, y.clamp(min=0).unsqueeze(1)).squeeze(1), open_rows)


@pytest.mark.parametrize("labels", [LABELS, torch.tensor([2, 1, 0, 0, 1]), torch.full((5,), -1), None])
def test_bound_and_gradient_are_those_of_quadrature_and_enumeration(labels: Tensor | None):
    """Catches a class that is drawn, an entropy left out, a prior of the class, labels that are not used."""
    ssvae, x = toy()
    reference = exact_bounds(ssvae, x, torch.full((5,), -1) if labels is None else labels).mean()
    slopes = torch.autograd.grad(-reference, list(ssvae.parameters()), allow_unused=True, materialize_grads=True)
    wanted = torch.cat([each.flatten() for each in slopes])
    batch = x if labels is None else (x, labels)
    bound = Inference(inference.ELBO(num_particles=400)).bind(ssvae, batch, len(x))
    torch.manual_seed(0)
    values, gradients = [], []
    for _ in range(40):
        step = bound.step(batch)
        values.append(step.value)
        found = {name: step.gradients.get(name, torch.zeros_like(each)) for name, each in ssvae.named_parameters()}
        gradients.append(torch.cat([each.flatten() for each in found.values()]))
    for drawn, exact in ((torch.stack(values), reference.detach()), (torch.stack(gradients), wanted)):
        error = drawn.std(0) / math.sqrt(len(drawn))
        assert bool(((drawn.mean(0) - exact).abs() <= 4.5 * error + 1e-10).all())


def test_labelled_rows_have_log_p_of_row_and_label_and_the_others_of_the_row():
    """Catches log-weights of labelled rows that hold q(y | x), and an evaluation that forgets the labels."""
    ssvae, x = toy()
    with torch.no_grad():  # a guide of z that is the prior, whose log-weights are of little variance
        for parameter in ssvae.encoder.parameters():
            parameter.zero_()
    joint = by_class(ssvae, x, False).detach()
    wanted = torch.where(LABELS >= 0, joint.gather(1, LABELS.clamp(min=0).unsqueeze(1)).squeeze(1), joint.logsumexp(1))
    with_labels = evaluation.log_likelihood(ssvae, (x, LABELS), method="importance", num_particles=20000)
    alone = evaluation.log_likelihood(ssvae, x, method="importance", num_particles=20000)
    assert np.allclose(with_labels.pointwise, wanted, atol=0.05)
    assert np.allclose(alone.pointwise, joint.logsumexp(1), atol=0.05)


def test_law_of_the_class_is_the_label_and_no_gradient_passes_it():
    """Catches labels in the place of classes 0 and C - 1, probabilities near but not at 0, and NaN in gradients."""
    logits = torch.randn(3, CLASSES, requires_grad=True)
    law = class_law(logits, torch.tensor([2, -1, 0]))
    assert torch.equal(law.probs[[0, 2]].detach(), torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    assert torch.allclose(law.probs[1], logits[1].softmax(-1))
    gradient = torch.autograd.grad(law.log_prob(torch.eye(CLASSES)[[2, 1, 0]]).sum(), logits)[0]
    assert torch.equal(gradient[[0, 2]], torch.zeros(2, CLASSES)) and bool(gradient[1].abs().sum() > 0)


@pytest.mark.parametrize("objective", ["elbo", "iwelbo", "rws"])
def test_label_term_moves_the_gradient_and_not_the_value(objective: str):
    """Catches a value that holds the label term, one of the wrong sign or scale, and an objective that drops it."""
    ssvae, x = toy()
    steps = {}
    for weight in (0.0, 0.7):
        plain = inference.resolve(
            {"iwelbo": inference.IWELBO(3), "rws": inference.RWS(3)}.get(objective, objective),
            ppgen.Pair(ssvae.model, ssvae.guide),
        )
        whole = Inference(plain.objective, plain.estimator, label_weight=weight)
        bound = whole.bind(ssvae, (x, LABELS), len(x))
        bound.label_scale = 5 / 2
        torch.manual_seed(0)
        steps[weight] = bound.step((x, LABELS))
    assert torch.equal(steps[0.0].value, steps[0.7].value)
    log_q = ssvae.classifier(x).log_softmax(-1)
    named = dict(ssvae.classifier.named_parameters())
    wanted = torch.autograd.grad(0.7 * (log_q[0, 2] + log_q[2, 0]) / 2, list(named.values()))
    for name, each in zip(named, wanted, strict=True):
        before = steps[0.0].gradients.get(f"classifier.{name}", torch.zeros_like(each))
        assert torch.allclose(steps[0.7].gradients[f"classifier.{name}"] - before, -each, atol=1e-9)


def test_label_weight_needs_a_pair_with_labels():
    """Catches a label term that is silently nothing."""
    vae, x = models.VAE.example()
    with pytest.raises(ValueError, match="label_weight=1.0 weighs log q"):
        inference.SemiSupervised().bind(vae, x, len(x))


def test_label_weight_is_recorded_completed_and_told():
    """Catches a run folder that forgets the weight, and a bare objective that drops that of the model's default."""
    whole = inference.SemiSupervised(0.3)
    assert inference.from_config(json.loads(json.dumps(inference.to_config(whole)))) == whole
    assert "label_weight" not in inference.to_config(Inference(inference.ELBO()))
    assert "label_weight 0.3" in inference.describe(whole)
    ssvae, _ = models.SemiSupervisedVAE.example()
    assert inference.resolve(inference.IWELBO(2), ssvae).label_weight == 1.0
    for weight in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="label_weight must be at least 0"):
            inference.SemiSupervised(weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: x, "the data have none"),
        (lambda x, y: (x, torch.full_like(y, -1)), "No training row has a label"),
        (lambda x, y: (x, torch.where(y == 1, -1, y)), "class 1 of 3 have none"),
        (lambda x, y: (x, torch.where(y == 2, 7, y)), "row 2 has 7"),
        (lambda x, y: (x, torch.where(y == 2, -2, y)), "row 2 has -2"),
        (lambda x, y: (x[:, :3], y), "features=4"),
    ],
)
def test_labels_that_do_not_do_are_named(change: Callable, message: str):
    """Catches classes that nothing can tell, and labels that would be taken for others or for none."""
    torch.manual_seed(0)
    x, y = torch.rand(8, 4).lt(0.5).float(), torch.tensor([0, 1, 2, -1, 0, 1, 2, -1])
    ssvae = models.SemiSupervisedVAE(features=4, classes=3, latent=2, hidden=(3,))
    with pytest.raises(ValueError, match=message):
        ppgen.fit(ssvae, change(x, y), epochs=1, progress=False)


def test_predictions_and_analogies():
    """Catches logits for log-probabilities, styles of the wrong class, and labels that analogies overlook."""
    ssvae, x = toy()
    log_p = ssvae.predict_log_proba(x)
    assert torch.allclose(log_p.logsumexp(1), torch.zeros(5).double())
    assert torch.equal(ssvae.predict(x.numpy()), log_p.argmax(1))
    found = ssvae.analogies(x, LABELS)
    style = ssvae.encoder(torch.cat([x[:1], torch.eye(3).double()[2:]], 1)).mean
    assert torch.allclose(found[0, 1], ssvae.decoder(torch.cat([torch.eye(3).double()[1:2], style], 1)).mean[0])
    assert found.shape == (5, CLASSES, 4)


def test_stacked_model_keeps_the_autoencoder_and_drops_unused_codes(tmp_path):
    """Catches codes dropped by other rows, networks of M1 that move, a bound that is none, and a lost checkpoint."""
    torch.manual_seed(0)
    data = datasets.load("digits", binarize="threshold")
    vae = models.VAE(features=64, latent=3, hidden=(8,))
    with torch.no_grad():
        vae.encoder.loc[0].weight[1] = 0.0  # the mean of q(c_1 | x) does not depend on x
    stacked = models.StackedSemiSupervisedVAE.from_vae(vae, data.train, latent=2, hidden=(4,))
    assert stacked.config()["kept"] == [0, 2]
    before = {name: tensor.clone() for name, tensor in stacked.state_dict().items()}
    few = data.with_labels(keep=20)
    ppgen.fit(stacked, few, epochs=1, progress=False, compile=False, folder=tmp_path / "run")
    after = stacked.state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"classifier", "encoder", "decoder"}
    loaded = ppgen.load(tmp_path / "run").pair
    assert torch.equal(loaded.predict(few.test[0]), stacked.predict(few.test[0]))
    assert loaded.fixed and not loaded.code_encoder.loc[0].weight.requires_grad
    law = stacked.code_law(torch.eye(10)[:2], torch.randn(2, 2))
    assert torch.equal(law.mean[:, 1], torch.zeros(2)) and torch.equal(law.stddev[:, 1], torch.ones(2))


def test_stacked_model_without_its_own_part_is_the_autoencoder():
    """Catches a model whose log-weights leave out the codes' law or count it twice."""
    ssvae = models.StackedSemiSupervisedVAE.example()[0].double()
    x = torch.rand(4, 5).lt(0.5).double()
    weights = inference.log_weights(ssvae, x, 3)
    model, guide = weights.model_terms, weights.guide_terms
    total = model["code"] + model["x"] + model["y"] + model["z"] - guide["code"] - guide["y"] - guide["z"]
    assert torch.allclose(weights.local, total) and set(model) == {"code", "x", "y", "z"}


@pytest.mark.parametrize("make", [lambda: models.StackedSemiSupervisedVAE(4, 2, 3, kept=(0, 0))])
def test_codes_that_are_none_are_named(make: Callable):
    """Catches a code that is modelled twice."""
    with pytest.raises(ValueError, match="each once"):
        make()
