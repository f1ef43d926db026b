"""Updates with other settings than their own."""

from ppgen import inference
from ppgen.inference.updates.update import ParameterUpdate

UPDATES: dict[str, list[ParameterUpdate]] = {
    "ClosedForm": [inference.ClosedForm(), inference.ClosedForm(forgetting_rate=1.0, warmup_steps=1)],
}
