"""A second fit, of the prior of the latents alone."""

from typing import Any

from ppgen.pair import as_pair
from ppgen.stacks import LearnedPrior
from ppgen.training.fitting import fit
from ppgen.training.run import Run


def fit_prior(pair: Any, data: Any, inference: Any = None, **options: Any) -> Run:
    r"""Train the prior of the latents alone; the law of the data and the guide stay as they are.

    .. math:: \max_\psi \; \frac{1}{N} \sum_n E_{q(z \mid x_n)}[\log p_\psi(z)]

    As the second fit of a `models.VQVAE`: codes no longer move while the prior learns their law. The value that is
    reported is still the bound of the whole model, which is what is saved.

    Args:
        pair: A trained `models.VQVAE`, a `models.PixelVAE` with an autoregressive prior, or another model that says its
            `prior_parameters`; or a run of one.
        data: As for `ppgen.fit`.
        inference: As for `ppgen.fit`.
        **options: Other arguments of `ppgen.fit`, such as `epochs`, `lr` and `folder`.

    Raises:
        ValueError: If the pair does not say what its prior's parameters are, or there are none.

    References:
        | Neural Discrete Representation Learning (van den Oord, Vinyals and Kavukcuoglu, 2017)

    Example:
        >>> import ppgen
        >>> from ppgen import datasets, models, training
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> model = models.VQVAE(shape=(8, 8), codes=8, channels=8)
        >>> run = ppgen.fit(model, digits, epochs=1, progress=False)
        >>> codes = model.encode(digits.test)
        >>> run = training.fit_prior(model, digits, epochs=1, progress=False)
        >>> bool((model.encode(digits.test) == codes).all())
        True
    """
    pair = as_pair(pair)
    chosen = pair.prior_parameters() if isinstance(pair, LearnedPrior) else []
    if not chosen:
        raise ValueError(
            f"{type(pair).__name__} has no prior with parameters of its own (prior_parameters() of the model, at least "
            "one). Use ppgen.fit, which trains all parameters."
        )
    own = {id(parameter) for parameter in chosen}
    fixed = [each for each in pair.parameters() if each.requires_grad and id(each) not in own]
    pair.initialised = True  # what was not trained yet stays as it is, too
    try:
        for parameter in fixed:
            parameter.requires_grad_(False)
        return fit(pair, data, inference, **options)
    finally:
        for parameter in fixed:
            parameter.requires_grad_(True)
