"""Greedy training of stacks of autoencoders."""

import pytest
import torch

import ppgen
from ppgen import datasets, features, inference, models, testing, training
from ppgen.training.stages.layer_data import LayerData

QUIET = {"compile": False, "progress": False}


def grey(rows: int = 120) -> torch.Tensor:
    """Numbers in [0, 1] that two numbers tell."""
    t = torch.rand(rows, 2)
    return torch.sigmoid(4 * (t - 0.5) @ torch.randn(2, 8))


@pytest.mark.parametrize("kind", ["plain", "denoising", "contractive"])
def test_layers_learn_from_clean_codes_and_become_the_stack(kind: str) -> None:
    """Catches noise in what is sent up, layers of another kind, and decoders in the wrong order."""
    torch.manual_seed(0)
    options = {"activation": "sigmoid", "code_activation": "sigmoid", "likelihood": "cross-entropy"}
    made = {
        "plain": lambda: models.Autoencoder(8, (6, 4, 2), **options),
        "denoising": lambda: models.DenoisingAutoencoder(8, (6, 4, 2), noise="masking", level=0.5, **options),
        "contractive": lambda: models.ContractiveAutoencoder(8, (6, 4, 2), penalty=0.2, **options),
    }
    stack, x = made[kind](), grey()
    found = training.pretrain(stack, x, epochs=(3, 2, 1), lr=(0.01, 0.02, 0.03), seed=1, **QUIET)
    layers = [run.pair for run in found.runs]
    assert [type(each) for each in layers] == [type(stack)] * 3 and found.bounds == ()
    assert [each.network.sizes for each in layers] == [(8, 6), (6, 4), (4, 2)]
    assert [run.config["training"]["lr"] for run in found.runs] == [0.01, 0.02, 0.03]
    assert [run.config["training"]["epochs"] for run in found.runs] == [3, 2, 1]
    extra = {"denoising": ("noise", "level"), "contractive": ("penalty",)}.get(kind, ())
    assert all(each.config()[name] == stack.config()[name] for each in layers for name in extra)
    codes = layers[0].encode(x).detach()
    assert torch.equal(LayerData(datasets.as_dataset(x)).coded(layers[0], 1).dataset.train, codes)
    second = datasets.as_dataset(codes)
    assert found.runs[1].config["data"]["checksum"] != found.runs[0].config["data"]["checksum"]
    testing.check_close(second.mean, codes.mean(0), "mean of the codes", atol=1e-6)
    with torch.no_grad():
        up = layers[2].encode(layers[1].encode(layers[0].encode(x)))
        down = layers[0].decode(layers[1].decode(layers[2].decode(up)))
    testing.check_close(stack.encode(x), up, "code", atol=1e-6)
    testing.check_close(stack.decode(up), down, "reconstruction", atol=1e-6)


def test_other_units_than_sigmoid_are_reconstructed_by_squares() -> None:
    """Catches codes outside of [0, 1] that are scored by a cross-entropy, and a learned scale that is lost."""
    torch.manual_seed(1)
    x = grey()
    stack = models.Autoencoder(8, (5, 2), activation="tanh")
    found = training.pretrain(stack, x, epochs=2, lr=0.01, **QUIET)
    assert [run.pair.config()["likelihood"] for run in found.runs] == ["gaussian", "gaussian"]
    assert torch.equal(stack.observation.log_scale, found.runs[0].pair.observation.log_scale)
    bias = stack.decoder_layers()[-1][1].clone()
    ppgen.fit(stack, x, epochs=1, lr=1e-12, **QUIET)
    testing.check_close(stack.decoder_layers()[-1][1], bias, "bias that was trained", atol=1e-9)


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus", "sigmoid", "linear"])
@pytest.mark.parametrize("denoising", [False, True])
def test_the_stack_reconstructs_as_its_layers_do(activation: str, denoising: bool) -> None:
    """Catches a layer that reconstructs codes without the non-linearity which the stack puts them through."""
    torch.manual_seed(1)
    kind, x = models.DenoisingAutoencoder if denoising else models.Autoencoder, grey()
    stack = kind(8, (6, 4, 2), activation=activation)
    runs = training.pretrain(stack, x, epochs=2, lr=0.02, **QUIET).runs
    layers = [run.pair for run in runs]
    code = stack.encode(x)
    down = layers[0].decode(layers[1].decode(layers[2].decode(code)))
    testing.check_close(stack.decode(code), down, "reconstruction", atol=1e-6)


def test_a_mean_is_made_by_the_non_linearity_of_the_output(tmp_path) -> None:
    """Catches a law and a mean that differ, a start off the data, and a non-linearity that a folder forgets."""
    torch.manual_seed(2)
    x = 0.3 + grey(60)
    model = models.Autoencoder(8, (3,), output_activation="softplus", scale=0.5)
    model.initialise(datasets.as_dataset(x))
    testing.check_close(model.decode(torch.zeros(1, 3)), x.mean(0, keepdim=True), "start", atol=1e-5)
    ppgen.fit(model, x, epochs=1, folder=tmp_path, **QUIET)
    code = model.encode(x)
    output = model.network.decode(code)
    law = model.observation(output)
    testing.check_close(law.mean, torch.nn.functional.softplus(output), "mean of the law", atol=1e-6)
    testing.check_close(ppgen.load(tmp_path).pair.decode(code), law.mean, "read back", atol=1e-6)
    with pytest.raises(ValueError, match="output_activation='tanh' makes the mean under .*'bernoulli' has a link"):
        models.Autoencoder(8, (3,), likelihood="bernoulli", output_activation="tanh")
    with pytest.raises(ValueError, match="output_activation must be one of"):
        models.Autoencoder(8, (3,), output_activation="cube")


def test_pretraining_and_fine_tuning_reconstruct() -> None:
    """Catches a stack that pretraining leaves worse than at random, and weights that fine-tuning does not move."""
    torch.manual_seed(2)
    x = grey(300)
    errors = []
    for pretrained in (False, True):
        stack = models.Autoencoder(8, (8, 4), activation="sigmoid", likelihood="cross-entropy")
        start = features.reconstruction_error(stack, x)
        if pretrained:
            training.pretrain(stack, x, epochs=40, lr=0.02, **QUIET)
            assert features.reconstruction_error(stack, x) < 0.5 * start
        ppgen.fit(stack, x, epochs=20, lr=0.01, **QUIET)
        errors.append(features.reconstruction_error(stack, x))
    assert errors[1] < errors[0]


def test_runs_are_read_back(tmp_path) -> None:
    """Catches layers that are trained twice, or from another start."""
    torch.manual_seed(3)
    x, options = grey(60), {"epochs": 2, "lr": (0.01, 0.02), "seed": 4, "folder": tmp_path, "resume": "auto", **QUIET}
    first, second = (models.DenoisingAutoencoder(8, (5, 2), likelihood="cross-entropy") for _ in range(2))
    training.pretrain(first, x, **options)
    training.pretrain(second, x, **options)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert isinstance(ppgen.load(tmp_path / "layer2").pair, models.DenoisingAutoencoder)


def test_options_of_layers_are_checked_before_any_is_trained() -> None:
    """Catches a list that is taken for one value, and a mistake that is found only at the last layer."""
    steps: list[object] = []
    stack, x = models.Autoencoder(8, (5, 2), activation="sigmoid", likelihood="cross-entropy"), grey(20)
    dbn = models.DBN(8, (5, 2))
    for pair, options, error, message in (
        (stack, {"lr": (0.1, 0.1, 0.1)}, ValueError, "lr must be one for all layers, or a list of 2"),
        (stack, {"lr": (0.1, -1.0)}, ValueError, "lr must be positive"),
        (stack, {"optimizer": ("adam", "sdg")}, ValueError, "Unknown optimizer 'sdg'"),
        (stack, {"batch_size": (10, 0)}, ValueError, "batch_size"),
        (stack, {"activities": "sample"}, ValueError, 'activities cannot be "sample" for an autoencoder'),
        (dbn, {"inference": ["pcd"]}, ValueError, "inference must be one for all layers, or a list of 2"),
    ):
        data = x if pair is stack else x.round()
        with pytest.raises(error, match=message):
            training.pretrain(pair, data, epochs=1, callbacks=[steps.append], **options, **QUIET)
    assert not steps
    ways = [inference.CD(1), inference.PCD(num_chains=10)]
    found = training.pretrain(dbn, x.round(), ways, epochs=1, callbacks=[steps.append], num_particles=2, **QUIET)
    assert [type(run.inference.negative_phase).__name__ for run in found.runs] == ["CD", "PCD"] and steps
    with pytest.raises(ValueError, match="layer must be a number from 1 to 2, got 3"):
        stack.layer_autoencoder(3)
    with pytest.raises(ValueError, match="one autoencoder for each of 2 layers"):
        stack.compose([stack.layer_autoencoder(1)])
