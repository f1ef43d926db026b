"""Updates with other settings than their own."""

from ppgen import inference
from ppgen.inference.updates.update import Update

UPDATES: dict[str, list[Update]] = {
    "ClosedForm": [inference.ClosedForm(), inference.ClosedForm(forgetting_rate=1.0, warmup_steps=1)],
}
