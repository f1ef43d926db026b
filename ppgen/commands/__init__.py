"""The commands of `ppgen`, one a file, each with `main(arguments) -> int`; imported when they are called."""

COMMANDS: dict[str, str] = {
    "fit": "Train a model on a data set, then evaluate it and draw what it learned.",
    "evaluate": "Estimate the log-likelihood of a trained model, and log Z of an undirected one.",
    "sample": "Draw from a trained model into a .npy or .png file.",
    "compare": "Train a model under several inferences and seeds, and say which differences are more than noise.",
    "list": "List the models, data sets and inferences.",
    "demo": "Compare inferences on three models of the embedded digits, and draw what these learned.",
}
