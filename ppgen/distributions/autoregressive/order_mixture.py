import math
import torch
from torch import Size
from pyro.distributions import TorchDistribution


class OrderMixture(TorchDistribution):
    arg_constraints = {}
    has_rsample = False

    def __init__(self, laws, *, validate_args=None):
        self.laws = tuple(laws)
        super().__init__(self.laws[0].batch_shape, self.laws[0].event_shape, validate_args=validate_args)

    @property
    def support(self):
        return self.laws[0].support

    def log_prob(self, value):
        return torch.stack([l.log_prob(value) for l in self.laws]).logsumexp(0) - math.log(len(self.laws))

    def sample(self, sample_shape=Size()):
        d = torch.stack([l.sample(sample_shape) for l in self.laws])
        k = torch.randint(len(self.laws), d.shape[1:-1])
        return d.gather(0, k[None, ..., None].expand(1, *d.shape[1:])).squeeze(0)

    def expand(self, batch_shape, _instance=None):
        return OrderMixture([l.expand(batch_shape) for l in self.laws], validate_args=self._validate_args)

    def _validate_sample(self, v):
        self.laws[0]._validate_sample(v)
