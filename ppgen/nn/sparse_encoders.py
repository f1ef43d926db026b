"""Networks that predict sparse codes in one pass: saturating units, a soft threshold, learned shrinkage in layers."""

import torch
from torch import Tensor, nn

from ppgen.nn.fista import eigenvalue_bound

ACTIVATIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}


class SaturatingEncoder(nn.Module):
    r"""One layer of units that saturate.

    .. math:: F(x) = g \odot \sigma(W^T x + b)

    Codes are never zero, so that such a network predicts which codes are large and not which ones there are.

    References:
        | Fast Inference in Sparse Coding Algorithms with Applications to Object Recognition (Kavukcuoglu, Ranzato and
          LeCun, 2010)
        | https://arxiv.org/abs/1010.3467

    Args:
        features: Observed variables.
        codes: Numbers of a code.
        activation: `"tanh"` or `"sigmoid"`.
        free: Whether gains g and biases b are learned; without them they are 1 and 0.

    Raises:
        ValueError: If the activation is unknown.

    Example:
        >>> SaturatingEncoder(6, 8)(torch.zeros(5, 6)).shape
        torch.Size([5, 8])
    """

    def __init__(self, features: int, codes: int, activation: str = "tanh", free: bool = True) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be 'tanh' or 'sigmoid', got {activation!r}.")
        self.activation = ACTIVATIONS[activation]
        self.weight = nn.Parameter(torch.randn(features, codes) / features**0.5)
        self.gain = nn.Parameter(torch.ones(codes)) if free else None
        self.bias = nn.Parameter(torch.zeros(codes)) if free else None

    def forward(self, x: Tensor) -> Tensor:
        """Codes of data: (..., features) -> (..., codes)."""
        input = x @ self.weight
        output = self.activation(input if self.bias is None else input + self.bias)
        return output if self.gain is None else self.gain * output

    @torch.no_grad()
    def start_from(self, dictionary: Tensor, penalty: float) -> None:
        """Take the atoms for weights: each unit answers to its own atom.

        Args:
            dictionary: (features, codes).
            penalty: lambda; not used, as units that saturate have no threshold.
        """
        self.weight.copy_(dictionary)


class LearnedISTA(nn.Module):
    r"""Some steps of iterative shrinkage with weights and thresholds of their own, all learned.

    .. math:: z_1 = h_{\theta_1}(W_1^T x), \quad z_k = h_{\theta_k}(W_k^T x + S_k^T z_{k - 1}),
              \qquad h_\theta(u) = \mathrm{sign}(u) \max(|u| - \theta, 0)

    With one layer it is a soft threshold of a linear map. With W = D / L, S = I - D'D / L and theta = lambda / (2 L)
    it is ISTA itself, where `start_from` starts; learned weights come closer to the codes of the Lasso in as many
    steps. Weights are not shared between layers.

    References:
        | Learning Fast Approximations of Sparse Coding (Gregor and LeCun, 2010)
        | https://icml.cc/Conferences/2010/papers/449.pdf

    Args:
        features: Observed variables.
        codes: Numbers of a code.
        layers: Thresholds passed, at least 1.
        positive: Whether codes must not be negative: max(u - theta, 0).

    Raises:
        ValueError: If there is no layer.

    Example:
        >>> encoder = LearnedISTA(3, 3, layers=2)
        >>> encoder.start_from(torch.eye(3), penalty=2.0)
        >>> [round(code, 2) for code in encoder(torch.tensor([2.0, -0.5, -3.0])).tolist()]
        [1.0, 0.0, -2.0]
    """

    def __init__(self, features: int, codes: int, layers: int = 1, positive: bool = False) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}.")
        self.positive = positive
        scale = features**-0.5
        self.inputs = nn.ParameterList([scale * torch.randn(features, codes) for _ in range(layers)])
        self.recurrent = nn.ParameterList([0.1 * codes**-0.5 * torch.randn(codes, codes) for _ in range(layers - 1)])
        self.log_thresholds = nn.ParameterList([torch.full((codes,), -2.0) for _ in range(layers)])

    def forward(self, x: Tensor) -> Tensor:
        """Codes of data: (..., features) -> (..., codes)."""
        codes = self._shrunk(x @ self.inputs[0], self.log_thresholds[0])
        for weight, recurrent, threshold in zip(self.inputs[1:], self.recurrent, self.log_thresholds[1:], strict=True):
            codes = self._shrunk(x @ weight + codes @ recurrent, threshold)
        return codes

    @torch.no_grad()
    def start_from(self, dictionary: Tensor, penalty: float) -> None:
        """Take the weights of ISTA, so that each layer is a step of it.

        Args:
            dictionary: (features, codes).
            penalty: lambda, positive.
        """
        gram = dictionary.mT @ dictionary
        step = 1 / eigenvalue_bound(gram)
        for weight, threshold in zip(self.inputs, self.log_thresholds, strict=True):
            weight.copy_(step * dictionary)
            threshold.copy_((step * penalty / 2).log().expand_as(threshold))
        for recurrent in self.recurrent:
            recurrent.copy_(torch.eye(len(gram), dtype=gram.dtype, device=gram.device) - step * gram)

    def _shrunk(self, input: Tensor, log_threshold: Tensor) -> Tensor:
        threshold = log_threshold.exp()
        if self.positive:
            return (input - threshold).clamp(min=0)
        return input - torch.minimum(torch.maximum(input, -threshold), threshold)
