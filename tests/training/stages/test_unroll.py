"""Networks unrolled into autoencoders."""

import pytest
import torch

import ppgen
from ppgen import features, models, testing, training

QUIET = {"compile": False, "progress": False}


def network(units: str = "bernoulli", top: str = "bernoulli", learned: bool = False) -> models.DBN:
    dbn = models.DBN(6, (5, 4, 2), units, top, learned)
    with torch.no_grad():
        for parameter in dbn.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return dbn.double()


@pytest.mark.parametrize("top", ["bernoulli", "gaussian"])
def test_means_go_up_and_down(top: str) -> None:
    """Catches a linear code that is squashed, biases of the wrong side, and recognition weights in the decoder."""
    torch.manual_seed(0)
    dbn, x = network(top=top), torch.rand(7, 6).double().round()
    before = torch.get_rng_state()
    model = training.unroll(dbn)
    assert torch.equal(before, torch.get_rng_state())
    with torch.no_grad():
        h = x
        for encoder in dbn.encoders:
            h = encoder(h).mean
        code = dbn.machine().conditional("upper", given=h).mean
        down = dbn.machine().conditional("lower", given=code).mean
        for decoder in reversed(dbn.decoders):
            down = decoder(down).mean
        testing.check_close(model.encode(x), code, "code")
        testing.check_close(model.decode(code), down, "reconstruction")
    assert model.config()["likelihood"] == "bernoulli" and model.config()["code_activation"] in ("linear", "sigmoid")
    assert {each.data_ptr() for each in model.parameters()}.isdisjoint(each.data_ptr() for each in dbn.parameters())


def test_the_law_is_that_of_the_visible_units() -> None:
    """Catches a standard deviation that is thrown away, and weights of the way up that forget it."""
    torch.manual_seed(1)
    dbn, x = network("gaussian", "gaussian", learned=True), torch.randn(5, 6).double()
    rbms = [dbn.layer_rbm(layer).double() for layer in (1, 2, 3)]
    with torch.no_grad():
        for parameter in [each for rbm in rbms for each in rbm.parameters()]:
            parameter.copy_(torch.randn(parameter.shape))
    dbn.compose(rbms)
    model = training.unroll(dbn)
    with torch.no_grad():
        heard = x / rbms[0].log_variance.exp() @ rbms[0].weight + rbms[0].hidden_bias
        first = torch.sigmoid(x @ model.encoder_layers()[0][0] + model.encoder_layers()[0][1])
        testing.check_close(first, torch.sigmoid(heard), "first layer")
        variance = model.observation(torch.zeros(6).double()).variance
        testing.check_close(variance, rbms[0].log_variance.exp().mean().expand(6), "variance")
    for (up, _), (down, _) in zip(model.encoder_layers()[1:], reversed(model.decoder_layers()[:-1]), strict=True):
        assert torch.equal(up.T, down)
    ppgen.fit(model, x, epochs=1, lr=1e-12, **QUIET)  # it starts where it was put, and not at the mean of the data
    testing.check_close(model.decoder_layers()[-1][1], dbn.decoders[0].linear.bias, "bias of the data", atol=1e-9)


def test_fine_tuning_reconstructs_better_than_the_network() -> None:
    """Catches weights that stay tied or fixed, and a law of grey levels that is refused."""
    torch.manual_seed(2)
    patterns = torch.rand(4, 6).round()
    x = patterns[torch.randint(4, (200,))]
    dbn = models.DBN(6, (8, 2), top_units="gaussian")
    trained = training.pretrain(dbn, x, epochs=20, lr=(0.1, 0.01), activities="mean", num_particles=2, **QUIET)
    model = training.unroll(trained, likelihood="cross-entropy")
    before = features.reconstruction_error(model, x)
    ppgen.fit(model, 0.9 * x, epochs=60, lr=0.01, **QUIET)
    assert features.reconstruction_error(model, x) < 0.5 * before
    assert not torch.equal(model.encoder_layers()[0][0].T, model.decoder_layers()[-1][0])


def test_documents_keep_their_length(tmp_path) -> None:
    """Catches biases that do not count once for each word, a law with a length of its own, and errors of shares."""
    torch.manual_seed(3)
    dbn = network("multinomial", "gaussian")
    x = torch.randint(0, 4, (9, 6)).double() + torch.eye(6).repeat(2, 1)[:9].double()
    model = training.unroll(dbn)
    with torch.no_grad():
        h = x
        for encoder in dbn.encoders:
            h = encoder(h).mean
        testing.check_close(model.encode(x), h @ dbn.top_weight + dbn.top_hidden_bias, "code")
        down = dbn.machine().conditional("lower", given=model.encode(x)).mean
        down = dbn.decoders[1](down).mean
        law = dbn.decoders[0](down, x)
        testing.check_close(x.sum(-1, keepdim=True) * model.decode(model.encode(x)), law.mean, "mean counts")
        testing.check_close(model.observation(model.network.decode(model.encode(x))).log_prob(x), law.log_prob(x), "p")
        testing.check_close(features.reconstruct(model, x), law.mean, "reconstruction")
        testing.check_close(model.recognition_network()(x), model.encode(x), "features of a classifier")
    before = float(law.log_prob(x).detach().mean())
    run = ppgen.fit(model, x, epochs=40, lr=0.02, folder=tmp_path / "run", **QUIET)
    assert run.metrics[-1]["train_value"] > before + 1
    assert torch.equal(ppgen.load(tmp_path / "run").pair.encode(x), model.encode(x))
    stack = models.Autoencoder(6, (5, 2), activation="sigmoid", likelihood="multinomial").double()
    training.pretrain(stack, x, epochs=1, **QUIET)
    for kind in (models.ContractiveAutoencoder, lambda *_, **k: models.ConvolutionalAutoencoder((2, 2), **k)):
        with pytest.raises(ValueError, match="multinomial.*take an Autoencoder"):
            kind(6, (5,), likelihood="multinomial")


def test_what_cannot_be_unrolled_is_named() -> None:
    """Catches a law that does not fit the visible units, and a pair that is no network."""
    for make, error, message in (
        (lambda: training.unroll(models.VAE(4, latent=2, hidden=())), ValueError, "unroll takes.*models.DBN, got VAE"),
        (lambda: training.unroll(torch.nn.Linear(2, 2)), TypeError, "Linear"),
        (lambda: training.unroll(network(), "gaussian"), ValueError, "likelihood must be 'bernoulli' or 'cont.*'gauss"),
        (lambda: training.unroll(network("gaussian"), "bernoulli"), ValueError, "must be 'gaussian' above units='gau"),
    ):
        with pytest.raises(error, match=message):
            make()
