"""Known algorithms by name: functions that return the inference they stand for."""

from torch import nn

from ppgen.inference.baselines.input_dependent import InputDependent
from ppgen.inference.engine.specification import Inference
from ppgen.inference.estimators.pathwise import Pathwise
from ppgen.inference.estimators.score_function import LeaveOneOut, ScoreFunction
from ppgen.inference.estimators.stick_the_landing import DoublyReparameterized, StickTheLanding
from ppgen.inference.objectives.elbo import ELBO
from ppgen.inference.objectives.iwelbo import IWELBO
from ppgen.inference.objectives.maximum_likelihood import MaximumLikelihood
from ppgen.inference.objectives.wake_sleep import ReweightedWakeSleep
from ppgen.inference.updates.closed_form import ClosedForm


def IWAE(num_particles: int = 50) -> Inference:  # noqa: N802 - named as the paper does
    """Importance weighted autoencoder: the importance-weighted bound with pathwise gradients.

    References:
        | Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016)
        | https://arxiv.org/abs/1509.00519

    Args:
        num_particles: Draws of the guide for each datum.

    Raises:
        ValueError: If there is no particle.

    Example:
        >>> from ppgen import inference
        >>> inference.IWAE(num_particles=10).objective
        IWELBO(num_particles=10, vectorize_particles=True)
    """
    return Inference(IWELBO(num_particles=num_particles), Pathwise())


def DReG(num_particles: int = 50) -> Inference:  # noqa: N802 - named as the paper does
    r"""Importance weighted autoencoder with doubly reparameterised gradients.

    .. math:: \sum_k \tilde w_k^2 \frac{\partial \log w_k}{\partial z_k} \frac{\partial z_k}{\partial \phi}

    References:
        | Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (Tucker et al., 2019),
          https://arxiv.org/abs/1810.04152

    Args:
        num_particles: Draws of the guide for each datum.

    Raises:
        ValueError: If there is no particle.

    Example:
        >>> from ppgen import inference
        >>> inference.DReG(num_particles=10).objective.num_particles
        10
    """
    return Inference(IWELBO(num_particles), DoublyReparameterized())


def STL(num_particles: int = 1) -> Inference:  # noqa: N802 - named as the paper does
    r"""The ELBO with pathwise gradients that leave out the score of the guide.

    .. math:: \frac{\partial \log w}{\partial z} \frac{\partial z}{\partial \phi}

    References:
        | Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference (Roeder, Wu and
          Duvenaud, 2017), https://arxiv.org/abs/1703.09194

    Args:
        num_particles: Draws of the guide for each datum.

    Raises:
        ValueError: If there is no particle.

    Example:
        >>> from ppgen import inference
        >>> inference.STL().estimator
        StickTheLanding()
    """
    return Inference(ELBO(num_particles), StickTheLanding())


def FreeBits(nats: float = 4.0, num_particles: int = 1) -> Inference:  # noqa: N802 - as its siblings are
    r"""The ELBO, in the training of which each latent site keeps some nats free of charge: against unused latents.

    .. math:: \max \; E_q[\log p(x \mid z)] - \max\big(\lambda, \mathrm{KL}(q(z \mid x) \,\|\, p(z))\big)

    with the divergence averaged over the batch. A decoder that can model the data without its latent, such as an
    autoregressive one, else leaves it unused. What is followed is no bound; the values reported are the ELBO.

    References:
        | Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
          https://arxiv.org/abs/1606.04934

    Args:
        nats: :math:`\lambda`, of each latent site.
        num_particles: Draws of the guide for each datum.

    Raises:
        ValueError: If the nats are negative, or there is no particle.

    Example:
        >>> from ppgen import inference
        >>> inference.FreeBits(nats=2.0).objective.free_bits
        2.0
    """
    return Inference(ELBO(num_particles, free_bits=nats))


def NVIL(num_particles: int = 1, hidden: int = 100, net: nn.Module | None = None) -> Inference:  # noqa: N802 - named as the paper does
    r"""Neural variational inference and learning: the ELBO with input-dependent baselines and variance normalisation.

    .. math:: \frac{\log w - b(x) - c}{\max(1, \hat\sigma)} \nabla_\phi \log q(z \mid x)

    With several layers the signals are local, as in the paper: of log w, a layer's holds what lies downstream of it.

    References:
        | Neural Variational Inference and Learning in Belief Networks (Mnih and Gregor, 2014),
          https://arxiv.org/abs/1402.0030

    Args:
        num_particles: Draws of the guide for each datum.
        hidden: Width of the network b.
        net: A module to be b instead, as for `InputDependent`.

    Raises:
        ValueError: If there is no particle, or both a width and a module are given.

    Example:
        >>> from ppgen import inference
        >>> inference.NVIL().estimator.baseline.hidden
        100
    """
    return Inference(ELBO(num_particles), ScoreFunction(InputDependent(net, hidden)))


def VIMCO(num_particles: int = 5) -> Inference:  # noqa: N802 - named as the paper does
    r"""The importance-weighted bound with leave-one-out control variates.

    .. math:: \sum_k (\hat{\mathcal{L}} - \hat{\mathcal{L}}_{-k}) \nabla_\phi \log q(z_k \mid x)
              + \sum_k \tilde w_k \nabla \log w_k

    References:
        | Variational Inference for Monte Carlo Objectives (Mnih and Rezende, 2016), https://arxiv.org/abs/1602.06725

    Args:
        num_particles: Draws of the guide for each datum.

    Raises:
        ValueError: If there are not two particles.

    Example:
        >>> from ppgen import inference
        >>> inference.VIMCO(num_particles=10).estimator
        LeaveOneOut()
    """
    return Inference(IWELBO(num_particles), _leave_one_out(num_particles))


def RLOO(num_particles: int = 4) -> Inference:  # noqa: N802 - named as the paper does
    r"""The ELBO with leave-one-out baselines.

    .. math:: \frac{1}{K} \sum_k \Big(\log w_k - \frac{1}{K - 1} \sum_{j \ne k} \log w_j\Big)
              \nabla_\phi \log q(z_k \mid x)

    References:
        | Buy 4 REINFORCE Samples, Get a Baseline for Free! (Kool, van Hoof and Welling, 2019)

    Args:
        num_particles: Draws of the guide for each datum.

    Raises:
        ValueError: If there are not two particles.

    Example:
        >>> from ppgen import inference
        >>> inference.RLOO().objective.num_particles
        4
    """
    return Inference(ELBO(num_particles), _leave_one_out(num_particles))


def RWS(num_particles: int = 10) -> Inference:  # noqa: N802 - named as the paper does
    r"""Reweighted wake-sleep with the wake update of the guide.

    .. math:: \sum_k \tilde w_k \nabla (\log p(x, z_k) + \log q(z_k \mid x))

    References:
        | Reweighted Wake-Sleep (Bornschein and Bengio, 2015), https://arxiv.org/abs/1406.2751

    Args:
        num_particles: Draws of the guide for each datum.

    Raises:
        ValueError: If there is no particle.

    Example:
        >>> from ppgen import inference
        >>> inference.RWS(num_particles=5).objective.num_particles
        5
    """
    return Inference(ReweightedWakeSleep(num_particles))


def Alternating(forgetting_rate: float = 0.5, warmup_steps: int = 0) -> Inference:  # noqa: N802 - as its siblings are
    r"""Latents from the guide and parameters in closed form, in turn: EM, online EM, dictionary learning.

    .. math:: \theta_t = \bar\theta(\hat s_t), \qquad
              \hat s_t = (1 - t^{-\kappa}) \, \hat s_{t-1} + t^{-\kappa} \, \mathbb{E}_q[s(x_t, z)]

    Where all rows are one batch it is exact alternation. For pairs that say how their parameters follow from sums of
    statistics (`ppgen.closed_form.ClosedFormPair`); what of them it leaves is trained by gradient beside it.

    References:
        | Online EM Algorithm for Latent Data Models (Cappé and Moulines, 2009), https://arxiv.org/abs/0712.4273

    Args:
        forgetting_rate: :math:`\kappa`, above 0 and up to 1: how quickly batches of the past are forgotten.
        warmup_steps: Batches whose statistics are gathered before parameters are set from them.

    Raises:
        ValueError: If the rate or the number is out of its range.

    Example:
        >>> from ppgen import inference
        >>> inference.describe(inference.Alternating())
        'ELBO(num_particles=1), estimator auto, update ClosedForm()'
    """
    return Inference(ELBO(), update=ClosedForm(forgetting_rate, warmup_steps=warmup_steps))


def EM(forgetting_rate: float = 0.5, warmup_steps: int = 0) -> Inference:  # noqa: N802 - named as the paper does
    r"""Expectation-maximisation; with batches its stepwise form.

    .. math:: \theta_t = \bar\theta(\hat s_t), \qquad
              \hat s_t = (1 - t^{-\kappa}) \, \hat s_{t-1} + t^{-\kappa} \, \mathbb{E}_{p(z \mid x_t)}[s(x_t, z)]

    For pairs whose guide is the exact posterior and that say how their parameters follow from sums of statistics
    (`ppgen.closed_form.ClosedFormPair`), as `models.BernoulliMixture` and `models.GaussianMixture`; `"alternating"`
    asks for no exact posterior. Where all rows are one batch (`batch_size` of as many) it is EM, and no step lowers the
    log-likelihood; else each batch moves averages of the statistics.

    References:
        | Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster, Laird and Rubin, 1977)
        | Online EM Algorithm for Latent Data Models (Cappé and Moulines, 2009), https://arxiv.org/abs/0712.4273

    Args:
        forgetting_rate: :math:`\kappa`, above 0 and up to 1: how quickly batches of the past are forgotten.
        warmup_steps: Batches whose statistics are gathered before parameters are set from them.

    Raises:
        ValueError: If the rate or the number is out of its range; before training, if a latent is not drawn from its
            exact posterior.

    Example:
        >>> from ppgen import inference
        >>> inference.describe(inference.EM())
        'MaximumLikelihood(num_particles=1), estimator auto, update ClosedForm()'
    """
    return Inference(MaximumLikelihood(), update=ClosedForm(forgetting_rate, warmup_steps=warmup_steps))


def _leave_one_out(num_particles: int) -> LeaveOneOut:
    if isinstance(num_particles, int) and num_particles == 1:
        raise ValueError("num_particles must be at least 2: a particle's baseline is made of the others, got 1.")
    return LeaveOneOut()


def SemiSupervised(label_weight: float = 1.0, num_particles: int = 1) -> Inference:  # noqa: N802 - as its siblings are
    r"""The ELBO with classes summed out and, beside it, the weighted log q(y | x) of labelled rows.

    .. math:: \mathcal{L} + \alpha \, \frac{1}{N_l} \sum_{n \text{ labelled}} \log q(y_n \mid x_n)

    The second term is followed and no part of the value, which stays a bound. For models of which some rows tell their
    class, as `models.SemiSupervisedVAE`, whose guide marks the class to be summed over; other sites are pathwise.

    References:
        | Semi-Supervised Learning with Deep Generative Models (Kingma, Rezende, Mohamed and Welling, 2014),
          https://arxiv.org/abs/1406.5298

    Args:
        label_weight: :math:`\alpha`, per datum: of each labelled row times N / N_labelled. The
            paper has 0.1; with fewer labels or steps more is better.
        num_particles: Draws of the guide for each datum and class.

    Raises:
        ValueError: If the weight is negative, or there is no particle.

    Example:
        >>> from ppgen import inference
        >>> inference.describe(inference.SemiSupervised())
        'ELBO(num_particles=1), estimator auto, label_weight 1.0'
    """
    return Inference(ELBO(num_particles), label_weight=label_weight)
