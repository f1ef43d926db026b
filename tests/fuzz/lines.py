"""Random command lines of every command of `ppgen`, and what must come of each."""

from random import Random

from fuzz.line_parts import (
    COMPARE,
    DATA,
    EVALUATE,
    FILES,
    FOLDERS,
    INFERENCES,
    METHODS,
    MODELS,
    NO_INFERENCES,
    NO_METHODS,
    NO_MODELS,
    PICTURE,
    SAMPLE,
    TRAINING,
    Draw,
    Line,
)

SHARES = {"fit": 42, "evaluate": 16, "sample": 16, "compare": 10, "list": 5, "demo": 4, "other": 7}
WRONG = {"nothing": 35, "one": 50, "any": 15}
"""How much of a line is wrong, in percent of the lines."""


def line(seed: int, index: int) -> Line:
    """The command line of that number."""
    return drawn(Random(f"{seed}/{index}"), index)


def drawn(random: Random, index: int) -> Line:
    """A command line of random choices; what it makes is named by the number."""
    kind = random.choices([*SHARES], [*SHARES.values()])[0]
    wrong = random.choices([*WRONG], [*WRONG.values()])[0]
    draw = Draw(random, 0.25 if wrong == "any" else 0.0, random.randrange(9) if wrong == "one" else -1)
    makes = {"fit": fit, "evaluate": evaluate, "sample": sample, "compare": compare, "list": listed, "demo": demo}
    made = makes[kind](draw, index) if kind in makes else other(draw)
    may_work = spoil(draw) if kind != "other" and random.random() < 0.15 else False
    return Line(tuple(draw.words), tuple(draw.faults), made, may_work)


def fit(draw: Draw, index: int) -> str:
    """Training, without its report, which has tests of its own."""
    random = draw.random
    model = random.choice([*MODELS])
    options, inferences = MODELS[model]
    overwrites = random.random() < 0.15
    folder = "kept" if overwrites else f"runs/{index}"
    draw.words += ["fit", draw.value("model", ((model,), NO_MODELS)), "--report", "false", "--quiet"]
    draw.words += ["--folder", folder, *(["--overwrite"] if overwrites else [])]
    for name, values in options.items():
        draw.option(name, values)
    draw.option("data", FILES)
    if random.random() < 0.6:
        unsound = ("pcd",) if model in ("VAE", "SigmoidBeliefNet") else ()
        inference = draw.value("inference", (inferences, (*NO_INFERENCES, *unsound)))
        draw.words += ["--inference", inference]
        draw.some(INFERENCES.get(inference, {}), 1, "inference.")
    draw.some({name: values for name, values in TRAINING.items() if name not in ("epochs", "compile")}, 3)
    draw.some(DATA, 1)
    draw.option("epochs", TRAINING["epochs"])
    draw.option("compile", TRAINING["compile"])
    return folder


def evaluate(draw: Draw, index: int) -> str:
    """Evaluation of one of the runs that are there."""
    folder = draw.value("folder", FOLDERS)
    name = "vae" if "vae" in folder else "rbm"
    draw.words += ["evaluate", folder, "--quiet"]
    draw.option("num-particles", EVALUATE["num-particles"])
    draw.some({name: values for name, values in EVALUATE.items() if name != "num-particles"}, 3)
    if draw.random.random() < 0.4:
        draw.option("method", (METHODS[name], NO_METHODS))
    return f"{name}/evaluation.json"


def sample(draw: Draw, index: int) -> str:
    """Draws from one of the runs that are there."""
    folder = draw.value("folder", FOLDERS)
    draw.words += ["sample", folder, "--quiet"]
    found = draw.some(SAMPLE, 4)
    if "num-samples" not in found:
        draw.option("num-samples", SAMPLE["num-samples"])
    if found.get("output") == "made.png":  # an array has no such shape
        draw.some(PICTURE, 1)
    return found.get("output", f"{folder.strip('./')}/samples.npy")


def compare(draw: Draw, index: int) -> str:
    """A comparison; most are refused, because the others take seconds."""
    if draw.random.random() < 0.8:
        draw.until_wrong = draw.random.randrange(9)
    draw.words += ["compare", draw.value("model", (("rbm",), NO_MODELS)), "--hidden", "2", "--quiet"]
    draw.option("data", FILES)
    for name, values in COMPARE.items():
        draw.option(name, values)
    draw.option("epochs", TRAINING["epochs"])
    draw.option("compile", TRAINING["compile"])
    draw.some({name: TRAINING[name] for name in ("lr", "batch-size", "device", "clip-norm")}, 2)
    draw.words += ["--folder", f"runs/{index}"]
    return f"runs/{index}/comparison.txt"


def listed(draw: Draw, index: int) -> str:
    """What there is."""
    draw.words += ["list", draw.value("topic", (("models", "datasets", "inference"), ("", "☃", "model", "--models")))]
    return ""


def demo(draw: Draw, index: int) -> str:
    """The demonstration, refused: it takes minutes."""
    name = draw.random.choice(("epochs", "seeds", "processes"))
    draw.chance = 1.0
    draw.words += ["demo", "--folder", f"runs/{index}"]
    draw.option(name, {**COMPARE, "epochs": TRAINING["epochs"]}[name])
    return ""


def other(draw: Draw) -> str:
    """No command."""
    words = draw.random.choice(
        (["fti"], [""], ["☃"], ["--versio"], ["-v"], ["fit"], ["evaluate"], ["sample"], ["compare"], ["Fit", "rbm"],
         ["fit", "--config", "absent.yaml"], ["fit", "--config", "broken.yaml"], ["fit", "--config", "bits.npy"],
         ["fit", "--config", "list.yaml"], ["fit", "--config", "."], ["fit", "--config", ""], ["fit", "--config"],
         ["fit", "rbm", "--config", "typo.yaml"], ["fit", "rbm", "--config", "keys.yaml"],
         ["fit", "rbm", "--config", "kinds.yaml"], ["evaluate", "rbm", "vae"], ["list", "models", "datasets"],
         ["sample", "--folder", "rbm"], ["fit", "rbm", "--hidden"], ["demo", "rbm"], ["fit", "--", "rbm"])
    )  # fmt: skip
    draw.words += words
    draw.faults.append("no command")
    return ""


def spoil(draw: Draw) -> bool:
    """Make a line wrong as a whole; whether it may work all the same."""
    random, words = draw.random, draw.words
    way = random.choice(("option", "word", "value", "missing", "order"))
    if way == "option":
        words.append(random.choice(("--batchsize", "--Seed", "--☃", "-x")))
        draw.faults.append("an option that there is not")
    elif way == "word":
        words.append(random.choice(("extra", "☃", "-1")))
        draw.faults.append("a word too many")
    elif way == "value":
        words.append(random.choice(("--seed", "--data", "--folder")))
        draw.faults.append("an option without its value")
    elif words[0] not in ("demo", "compare"):  # which might run for minutes
        if way == "missing":
            del words[random.randrange(1, len(words))]
        else:
            words[1:] = random.sample(words[1:], len(words) - 1)
        return True
    return False
