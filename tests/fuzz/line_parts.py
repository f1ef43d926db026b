"""What random command lines are made of: for each option, values that must work and values that must be refused."""

from dataclasses import dataclass
from random import Random

FEATURES = 9
HUGE = "99999999999999999999999"
ODD = ("", "two", "☃", "[1", "{}", "nan", "1.5", "--lr", "0x1g", "a b\nc")  # none of them is an integer
UNREAL = ("", "fast", "☃", "[1]", "1,2", "--seed", "1e", "{a: 1}")  # none of them is a number
UNTRUE = ("", "maybe", "2", "☃", "truee")  # none of them is true or false

Values = tuple[tuple[str, ...], tuple[str, ...]]
"""Values that must work, and values that must be refused."""


def whole(good: tuple[str, ...], *bad: str) -> Values:
    """Values of an option that is an integer."""
    return good, (*bad * 3, *ODD)


def real(good: tuple[str, ...], *bad: str) -> Values:
    """Values of an option that is a number."""
    return good, (*bad * 3, *UNREAL)


def word(good: tuple[str, ...], *bad: str) -> Values:
    """Values of an option that is a name."""
    return good, (*bad, "", "☃", "nothing of the kind")


BOOLEAN: Values = (("true", "false"), UNTRUE)

TRAINING: dict[str, Values] = {
    "epochs": whole(("1", "2"), "0", "-3"),
    "batch-size": whole(("7", "30", "1000"), "0", "-1"),
    "lr": real(("0.01", "1e-3"), "0", "-1", "nan", "inf", "1e999"),
    "optimizer": word(("sgd", "adam", "rmsprop"), "adm", "[1]"),
    "lr-schedule": word(("constant", "cosine"), "cosin", "3"),
    "seed": whole(("0", "7"), "-1", HUGE),
    "device": word(("cpu",), "gpu7", "cuda:99", "cpu:x"),
    "matmul-precision": word(("ieee",), "tf33", "5"),
    "clip-norm": real(("1", "0.5"), "0", "-2", "nan"),
    "early-stopping": whole(("1", "3"), "0", "-1"),
    "restore-best": BOOLEAN,
    "checkpoint-minutes": real(("0", "5"), "-1", "nan"),
    "compile": (("false",), UNTRUE),
}
DATA: dict[str, Values] = {
    "data-seed": whole(("0", "3"), "-1", HUGE),
    "valid-size": real(("5", "0.2"), "-1", "1.5", "60", HUGE, "nan"),
    "test-size": real(("5", "0.2"), "-3", "1.5", "60", HUGE, "nan"),
    "binarize": word(("threshold",), "never", "3"),
    "image-shape": word(("3,3",), "3,4", "0,9", "-3,-3", "nan", f"{HUGE},1"),
    "packed": (("false",), UNTRUE),
}
FILES: Values = (
    ("bits.npy", "bits.npz", "./bits.npy"),
    ("absent.npy", "", "☃.npy", ".", "junk.npy", "holes.npy", "bright.npy", "cube.npy", "texts.npy", "objects.npy",
     "none.npy", "digist", "lying.npy", "runs", "bits.npy/x", "numbers.txt", "a" * 300),
)  # fmt: skip
FOLDERS: Values = (("rbm", "vae", "./rbm", "rbm/"), ("absent", "", ".", "bits.npy", "☃", "torn", "a" * 300, "rbm/x"))

MODELS: dict[str, tuple[dict[str, Values], tuple[str, ...]]] = {
    "rbm": ({"hidden": whole(("3", "2"), "0", "-1", HUGE, "999999999999")}, ("cd", "pcd")),
    "VAE": (
        {"latent": whole(("2",), "0", "-2", HUGE, "999999999999"), "hidden": word(("4", "4,3"), "0", "4,-1", "4;3")},
        ("elbo", "iwae", "dreg"),
    ),
    "SigmoidBeliefNet": (
        {"sizes": word(("9,3", "9,4,2"), "9", "5,3", "9,0", "9,-2", "nine,3")},
        ("nvil", "vimco", "wake-sleep", "rws"),
    ),
    "dbm": ({"hidden": word(("3,2",), "0,2", "3,-1", "x")}, ("pcd",)),
    "discretevae": ({"latent": whole(("3",), "0", HUGE), "hidden": word(("4",), "-4")}, ("elbo",)),
}
NO_MODELS = ("VEA", "", "☃", "rbm2", "StochasticFeedforward", "[1]", "os.system")
NO_INFERENCES = ("pdc", "", "☃", "elbo,iwae", "os:system", "3")
INFERENCES: dict[str, dict[str, Values]] = {
    "cd": {"k": whole(("1", "2"), "0", "-1"), "centred": BOOLEAN},
    "pcd": {"num-chains": whole(("5", "1"), "0", "-4"), "offset-rate": real(("0.1",), "-1", "2", "nan")},
    "elbo": {"num-particles": whole(("1", "2"), "0", "-1"), "kl-weight": real(("1", "0.5"), "-1", "nan")},
    "iwae": {"num-particles": whole(("2", "3"), "0", "-1")},
    "vimco": {"num-particles": whole(("2", "3"), "0", "1")},
    "wake-sleep": {"num-particles": whole(("1",), "0")},
}
EVALUATE: dict[str, Values] = {
    "num-particles": whole(("50", "30"), "0", "-1"),
    "chunk": whole(("1000", "7"), "0", "-1"),
    "num-chains": whole(("10",), "0", "-1"),
    "betas": word(("20",), "0", "-5", "1", "x", "[0.5"),
    "seed": whole(("0", "5"), "-1", HUGE),
    "compile": (("false",), UNTRUE),
    "device": word(("cpu",), "gpu7", "cuda:99"),
    "split": word(("test", "train"), "tset", "valid,test"),
}
METHODS = {"rbm": ("auto", "exact"), "vae": ("auto", "importance", "elbo")}
NO_METHODS = ("", "exactly", "☃", "3")
SAMPLE: dict[str, Values] = {
    "num-samples": whole(("4", "6"), "0", "-1", HUGE, "1000000000000"),
    "num-chains": whole(("2", "4"), "0", "-1"),
    "sweeps": whole(("3", "10"), "0", "-1"),
    "chunk": whole(("2", "100"), "0", "-1"),
    "seed": whole(("0", "9"), "-1", HUGE),
    "compile": (("false",), UNTRUE),
    "device": word(("cpu",), "gpu7"),
    "output": word(("made.npy", "made.png"), "made.jpg", "absent/made.npy", "folder.npy", "bits.npy/made.npy", "rbm"),
}
PICTURE: dict[str, Values] = {"image-shape": word(("3,3", "1,9"), "3,4", "0,9", "-3,-3", "9", f"{HUGE},1")}
COMPARE: dict[str, Values] = {
    "inferences": word(("cd", "cd,pcd"), "pdc", ",", "cd;pcd", "cd,pdc"),
    "seeds": whole(("1",), "0", "-1"),
    "processes": whole(("0",), "-1"),
    "num-particles": whole(("5",), "0", "-1"),
    "gradient-rows": whole(("4",), "0", "-1"),
    "gradient-draws": whole(("20",), "0", "-1"),
    "method": word(("auto",), *NO_METHODS),
}


@dataclass(frozen=True)
class Line:
    """A command line, and what is wrong in it.

    Args:
        words: The words after `ppgen`.
        faults: Why it must be refused; none where it must work.
        makes: File or folder that it must leave, relative to where it runs.
        open: Whether it may work or be refused, as long as it does so in one line.
    """

    words: tuple[str, ...]
    faults: tuple[str, ...] = ()
    makes: str = ""
    open: bool = False


class Draw:
    """Words of one command line, with what was drawn wrong.

    Args:
        random: Where choices come from.
        chance: Chance of a wrong value at each option.
        wrong: Number of the one option that is wrong all the same, if the line has so many.
    """

    def __init__(self, random: Random, chance: float, wrong: int = -1) -> None:
        self.random, self.chance, self.until_wrong = random, chance, wrong
        self.words: list[str] = []
        self.faults: list[str] = []

    def value(self, name: str, values: Values) -> str:
        """One value, with its fault noted."""
        wrong = self.random.random() < self.chance or self.until_wrong == 0
        self.until_wrong -= 1
        value = self.random.choice(values[1] if wrong else values[0])
        if wrong:
            self.faults.append(f"{name} {value!r}")
        return value

    def option(self, name: str, values: Values, prefix: str = "") -> str:
        """One option in one of the forms that people write."""
        value, flag = self.value(name, values), f"--{prefix}{name}"
        if self.random.random() < 0.2:
            flag = f"--{prefix}{name}".replace("-", "_").replace("__", "--", 1)
        self.words += [f"{flag}={value}"] if self.random.random() < 0.2 else [flag, value]
        return value

    def some(self, options: dict[str, Values], most: int, prefix: str = "") -> dict[str, str]:
        """Some options of a table, in any order."""
        names = self.random.sample(sorted(options), self.random.randint(0, min(most, len(options))))
        return {name: self.option(name, options[name], prefix) for name in names}
