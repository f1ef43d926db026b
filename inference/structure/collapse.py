"""Sites that a program draws and the objective need not: hidden units whose guide is their exact posterior."""

from typing import Any

from pyro.distributions import Independent, MaskedDistribution
from torch import Tensor

from ppgen.distributions import BoltzmannMarginal, LayerConditional, UndirectedDistribution
from ppgen.distributions.machines.layered_energy import EVEN, ODD
from ppgen.inference.structure.traces import undirected_law


def collapsed(model_sites: dict[str, Any], guide_sites: dict[str, Any]) -> dict[str, tuple[Tensor, set[str]]]:
    r"""Log-densities of machines whose hidden side was drawn from its exact posterior, with that side summed out.

    .. math:: \log p(h) + \log p(x \mid h) - \log p(h \mid x) = -F(x) - \log Z \quad \text{for every } h

    The left-hand side is what the program states, four matrix products and more backwards; the right-hand side is
    one. A site is collapsed only where the equation is certain: the guide marks it `infer={"posterior": "exact"}` and
    draws it by the conditional of a machine of the same weights, given the very values that the model observes or
    draws on the other side, and all three have the same plates, scale and mask.

    Args:
        model_sites: Sample sites of the model, by name.
        guide_sites: Sample sites of the guide, by name.

    Returns:
        By the name of the machine's site: -F(x) - log Z in nats, and the names of the model's other sites in it. The
        guide's site of the same name is in it too.
    """
    found: dict[str, tuple[Tensor, set[str]]] = {}
    for name, drawn in guide_sites.items():
        stated = model_sites.get(name)
        if stated is None or drawn["infer"].get("posterior") != "exact":
            continue
        law, posterior = undirected_law(stated["fn"]), conditional_law(drawn["fn"])
        if not isinstance(law, BoltzmannMarginal) or posterior is None or drawn["value"] is not stated["value"]:
            continue
        energy, other = law.base_energy, ODD if law.side == EVEN else EVEN
        if list(energy.sides[law.side]) != [posterior.layer] or not _same(energy, posterior.machine_energy):
            continue
        partners = _partners(model_sites, energy)
        layers = energy.sides[other]
        if set(partners) != set(layers) or any(not _alike(drawn, site) for site in (stated, *partners.values())):
            continue
        values = [partners[layer]["value"] for layer in layers]
        if any(posterior.given.get(layer) is not partners[layer]["value"] for layer in layers) or len(values) != 1:
            continue
        found[name] = (law.other_side().log_prob(values[0]), {partners[layer]["name"] for layer in layers})
    return found


def observed_side(law: UndirectedDistribution) -> UndirectedDistribution:
    """The law of what is observed of a machine whose latent side stands at a site."""
    return law.other_side() if isinstance(law, BoltzmannMarginal) else law


def conditional_law(fn: Any) -> LayerConditional | None:
    """The conditional of a machine's layer at a site, under a mask or not; None if the site holds another law."""
    while isinstance(fn, (MaskedDistribution, Independent)):
        fn = fn.base_dist
    return fn if isinstance(fn, LayerConditional) else None


def _partners(model_sites: dict[str, Any], energy: Any) -> dict[int, Any]:
    laws = {name: conditional_law(site["fn"]) for name, site in model_sites.items()}
    return {
        law.layer: model_sites[name] for name, law in laws.items() if law is not None and law.machine_energy is energy
    }


def _same(first: Any, second: Any) -> bool:
    own, others = first.parameters(), second.parameters()
    return len(own) == len(others) and all(one is other for one, other in zip(own, others, strict=True))


def _alike(first: Any, second: Any) -> bool:
    """Whether two sites have the same plates, scale and mask."""
    frames = [{(frame.name, frame.dim) for frame in site["cond_indep_stack"]} for site in (first, second)]
    same_scale = first["scale"] is second["scale"] or (
        not isinstance(first["scale"], Tensor)
        and not isinstance(second["scale"], Tensor)
        and first["scale"] == second["scale"]
    )
    unmasked = not isinstance(first["fn"], MaskedDistribution) and not isinstance(second["fn"], MaskedDistribution)
    return frames[0] == frames[1] and same_scale and first["mask"] is second["mask"] and unmasked
