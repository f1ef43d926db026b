"""Pairs whose parameters have their best values in closed form, each small enough to write its algorithm by hand."""

from collections.abc import Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

import ppgen
from ppgen.closed_form import Draw


class FactorAnalysis(ppgen.GenerativeModel):
    """Normal latents, a noise of its own for each variable; the guide is the exact posterior, or a linear encoder."""

    def __init__(self, features: int = 4, latent: int = 2, encoder: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.loadings = nn.Parameter(torch.randn(features, latent, generator=generator, dtype=torch.float64))
        self.log_noise = nn.Parameter(torch.zeros(features, dtype=torch.float64))
        self.encoder, self.log_width = None, None
        if encoder:
            self.encoder = nn.Linear(features, latent).double()
            self.encoder.weight.data = 0.1 * torch.randn(latent, features, generator=generator, dtype=torch.float64)
            self.encoder.bias.data.zero_()
            self.log_width = nn.Parameter(torch.zeros(latent, dtype=torch.float64))

    @property
    def num_features(self) -> int:
        return len(self.loadings)

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Any:
        loadings, noise = self.loadings, (0.5 * self.log_noise).exp()
        with pyro.plate(self.plate, len(x) if x is not None else num_rows or 1):
            z = pyro.sample("z", dist.Normal(loadings.new_zeros(loadings.shape[1]), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z @ loadings.T, noise).to_event(1), obs=x)

    @pyro_method
    def guide(self, x: Tensor, num_rows: int | None = None) -> Any:
        if self.encoder is not None and self.log_width is not None:
            law = dist.Normal(self.encoder(x), self.log_width.exp()).to_event(1)
        else:
            loadings, precision = self.loadings, (-self.log_noise).exp()
            full = torch.eye(loadings.shape[1]).to(loadings) + loadings.T @ (precision.unsqueeze(-1) * loadings)
            mean = torch.linalg.solve(full, loadings.T @ (precision * x).T).T
            law = dist.MultivariateNormal(mean, precision_matrix=full)
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("z", law)

    def sufficient_statistics(self, guide: Mapping[str, Draw], x: Tensor) -> dict[str, Tensor]:
        law = guide["z"].law
        spread = torch.diag_embed(law.variance) if self.encoder is not None else law.covariance_matrix
        second = spread.expand(len(x), -1, -1).sum(0) + law.mean.T @ law.mean
        return {"count": x.new_tensor(float(len(x))), "zz": second, "xz": x.T @ law.mean, "xx": x.square().sum(0)}

    def maximise(self, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        loadings = torch.linalg.solve(statistics["zz"], statistics["xz"].T).T
        noise = (statistics["xx"] - (loadings * statistics["xz"]).sum(-1)) / statistics["count"]
        return {"loadings": loadings, "log_noise": noise.clamp_min(1e-3).log()}


class Dictionary(ppgen.GenerativeModel):
    """Non-negative codes of one step of a soft threshold; an atom that no datum uses becomes the batch's worst row."""

    def __init__(self, features: int = 3, atoms: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        atoms_drawn = torch.randn(features, atoms, generator=generator, dtype=torch.float64)
        atoms_drawn[:, -1] = 0  # dead
        self.dictionary = nn.Parameter(atoms_drawn)

    @property
    def num_features(self) -> int:
        return len(self.dictionary)

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Any:
        dictionary = self.dictionary
        with pyro.plate(self.plate, len(x) if x is not None else num_rows or 1):
            codes = pyro.sample("codes", dist.Laplace(dictionary.new_zeros(dictionary.shape[1]), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(codes @ dictionary.T, 1.0).to_event(1), obs=x)

    @pyro_method
    def guide(self, x: Tensor, num_rows: int | None = None) -> Any:
        with torch.no_grad():
            codes = (0.5 * (x @ self.dictionary) - 0.1).clamp_min(0)
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("codes", dist.Delta(codes, event_dim=1))

    def sufficient_statistics(self, guide: Mapping[str, Draw], x: Tensor) -> dict[str, Tensor]:
        codes = guide["codes"].value
        return {"second": codes.T @ codes, "cross": x.T @ codes}

    def maximise(self, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        second, cross, dictionary = statistics["second"], statistics["cross"], self.dictionary.clone()
        for atom in range(dictionary.shape[1]):
            used = second[atom, atom]
            free = dictionary[:, atom] + (cross[:, atom] - dictionary @ second[:, atom]) / used.clamp_min(1e-12)
            new = free / free.norm().clamp_min(1.0)
            dictionary[:, atom] = torch.where(used > 1e-9, new, dictionary[:, atom])
        return {"dictionary": dictionary}

    def candidates(self, guide: Mapping[str, Draw], x: Tensor) -> dict[str, Tensor]:
        left = x - guide["codes"].value @ self.dictionary.T
        return {"worst": x.index_select(0, left.square().sum(-1).argmax(0, keepdim=True)).squeeze(0)}

    def reseed(
        self, statistics: Mapping[str, Tensor], candidates: Mapping[str, Tensor], rows: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        dead = statistics["second"].diagonal() <= 1e-9
        worst = candidates["worst"] / candidates["worst"].norm()
        return {"dictionary": torch.where(dead, worst.unsqueeze(-1), self.dictionary)}, {}
