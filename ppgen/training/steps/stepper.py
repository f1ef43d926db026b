"""One optimiser step after another: the state that steps change, and how it is captured and put back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ppgen import seeds
from ppgen.batch import Batch
from ppgen.devices import is_accelerator, keep_freed_memory, wide
from ppgen.inference import StepResult
from ppgen.training.data import batch_source as batches
from ppgen.training.data.batch_source import BatchSource
from ppgen.training.data.labelled_rows import stratified_order
from ppgen.training.data.lazy_batch import LazyBatch
from ppgen.training.processes.world import World
from ppgen.training.run_folder.checkpoint import load_pair_state, pair_state, prefixed, section
from ppgen.training.steps.execution import Compile, Execution
from ppgen.training.steps.optimizers import OptimizerSpec, check_complete, load_optimizer_state, optimizer_state
from ppgen.training.steps.updates import make_update
from ppgen.undisturbed import random_state, set_random_state


class Stepper:
    """Parameters, optimiser, inference state and place in the data, moved on one batch at a time.

    Nothing in a step waits for the device: values are summed there. The sum is also the alarm for NaN, which
    it keeps.

    Args:
        pair: The pair in training, on its device, with all its parameters made.
        bound: Its inference, bound to it.
        source: The data.
        spec: The optimiser.
        total_steps: Steps of the whole run, for the schedule of the step size.
        batch_size: Rows of a batch; an epoch's last one may be smaller.
        clip_norm: Largest norm of the gradient of all parameters together; None leaves it alone.
        seed: Seed of the order of the rows and of their binarisation.
        compile: How steps are executed: `"auto"`, True or False.
        world: The processes that share each batch.
        steps_per_epoch: Batches of an epoch; by default all of them, the last one with what is left.
    """

    def __init__(
        self,
        pair: Any,
        bound: Any,
        source: BatchSource,
        spec: OptimizerSpec,
        *,
        total_steps: int,
        batch_size: int,
        clip_norm: float | None,
        seed: int,
        compile: Compile = False,
        world: World | None = None,
        steps_per_epoch: int | None = None,
    ) -> None:
        self.world = world or World()
        self.pair, self.bound, self.source, self.schedule = pair, bound, source, spec.schedule
        self.total_steps, self.batch_size, self.clip_norm, self.seed = (
            total_steps,
            batch_size,
            clip_norm,
            seed,
        )
        self.steps_per_epoch = -(-source.num_train // batch_size) if steps_per_epoch is None else steps_per_epoch
        self.parameters: dict[str, nn.Parameter] = {
            name: parameter for name, parameter in pair.named_parameters() if parameter.requires_grad
        }
        self._values = list(self.parameters.values())
        # What an update sets in closed form has no gradient, and the optimiser does not know it.
        self._followed = {name: self.parameters[name] for name in bound.followed_parameters()}
        self._names = {parameter: name for name, parameter in self._followed.items()}
        self.optimizer = spec.build(list(self._followed.values()))
        # Between processes gradients are averaged before the optimiser's step, which then stands beside the graph.
        alone = self.world.size == 1 and self._followed
        update = make_update(self.optimizer, self.parameters, clip_norm) if alone else None
        bfloat16 = torch.get_float32_matmul_precision() == "medium"
        self.execution = Execution(bound, self.parameters, compile, update, bfloat16)
        self._base_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self._constant = spec.schedule_name == "constant"
        self.step = 0
        self.epoch = 0
        keep_freed_memory(source.device)
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.position = 0  # steps of this epoch that are done
        self.num_rows = 0
        self.total = torch.zeros((), dtype=wide(self.source.device), device=self.source.device)
        self.generator = seeds.generator(self.seed, "data", self.epoch)
        self.order = self._order()  # the same in every process
        if self.bound.keeps_order:
            self.order = torch.arange(self.source.num_train)
        if self.world.rank:  # but binarisation is its own
            self.generator = seeds.generator(self.world.seed(self.seed), "data", self.epoch)

    def _order(self) -> Tensor:
        strata, labels = self.bound.strata, self.source.labels
        if strata is not None and labels is not None:
            return stratified_order(strata, labels["train"], self.generator)
        return batches.order(self.source.num_train, self.generator)

    def next_epoch(self) -> None:
        """Go to the start of the next epoch."""
        self.epoch += 1
        self._begin_epoch()

    @property
    def epoch_done(self) -> bool:
        """Whether every row of the epoch was seen, or the run's last step taken."""
        return self.position >= self.steps_per_epoch or self.step >= self.total_steps

    @property
    def lr(self) -> float | None:
        """Step size of the last step, of the optimiser's first group; None if all parameters are in closed form."""
        if not self._followed:
            return None
        return float(self._base_lrs[0]) * self.schedule(max(0, self.step - 1) / self.total_steps)

    def _index(self) -> Tensor:
        start = self.position * self.batch_size
        return self.order[start : start + self.batch_size]

    def batch(self) -> Batch:
        """This process's rows of the next batch of the epoch."""
        if self.world.size == 1:
            return self.source.along(self.order, self.position * self.batch_size, self.batch_size, self.generator)
        return self.source.batch("train", self.world.share(self._index()), self.generator)

    def _selection(self) -> LazyBatch | None:
        """This process's rows of the next batch, to be gathered in the step; None if they are read from elsewhere."""
        index = self._index() if self.world.size == 1 else self.world.share(self._index())
        return self.source.selection(index, self.generator)

    def advance(self) -> None:
        """Take one step."""
        batch = self._selection() or self.batch()
        usual = len(self._index()) == min(self.batch_size, self.source.num_train)
        if self.position == 0:
            self.execution.begin_epoch(batch)
        self._set_lr()
        self.apply(self.execution.step(batch, self.total_steps - self.step, usual))

    def apply(self, result: StepResult) -> None:
        """Move the parameters along the gradients of one batch, unless the step has moved them; then set what is set.

        What an update sets in closed form stands beside the graph too: it needs the statistics of all processes, and
        loops over blocks that would make a graph of thousands of operations.
        """
        num_rows = len(self._index())
        if not result.moved:
            result = self._averaged(result, num_rows)
            for name, parameter in self.parameters.items():
                parameter.grad = result.gradients.get(name)
            if self.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(self._values, self.clip_norm)
            self._set_lr()
            self.optimizer.step()
        self.world.broadcast(self.bound.maximise())
        # Fused optimisers do not count their writes, by which an attached log Z notices that it is stale.
        torch.autograd.graph.increment_version(self._values)
        self.total.add_(result.value.detach(), alpha=num_rows)
        self.num_rows += num_rows
        self.step += 1
        self.position += 1

    def _set_lr(self) -> None:
        if not self._constant:
            factor = self.schedule(self.step / self.total_steps)
            for group, lr in zip(self.optimizer.param_groups, self._base_lrs, strict=True):
                group["lr"] = lr * factor

    def _averaged(self, result: StepResult, num_rows: int) -> StepResult:
        """Value, gradients and common state of the whole batch, by one reduction between step and optimiser.

        A mean over rows is that over all processes if each counts by its rows. A parameter without a gradient here
        may have one elsewhere, so it counts as zero. Chains stay where they are.
        """
        if self.world.size == 1:
            return result
        followed = self.bound.followed_parameters()
        gradients = {
            name: result.gradients.get(name, torch.zeros_like(value))
            for name, value in self.parameters.items()
            if name in followed
        }
        state = self.bound.state
        roles = self.bound.roles(state)
        shared = {name: value for name, value in state.items() if roles[name] == "common"}
        dtype = next(iter(self.parameters.values())).dtype
        tensors = [result.value.to(dtype), *gradients.values(), *shared.values()]
        value, *rest = self.world.average(tensors, self.world.weight(num_rows))
        self.bound.carry(state | dict(zip(shared, rest[len(gradients) :], strict=True)), 0)
        return StepResult(value, dict(zip(gradients, rest[: len(gradients)], strict=True)))

    def share_buffers(self) -> None:
        """Give the buffers of process 0, such as running means, to all."""
        self.world.broadcast(list(self.pair.buffers()))

    def finite(self) -> bool:
        """Whether all values of this epoch and all parameters are finite; waits for the device."""
        largest = torch._foreach_norm([parameter.detach() for parameter in self._values], float("inf"))
        return bool(torch.isfinite(self.total) & torch.isfinite(torch.stack(list(largest)).sum()))

    def averages(self) -> dict[str, float]:
        """Mean of the objective's value over the rows of this epoch, if it is normalised."""
        return {"train_value": float(self.total) / max(1, self.num_rows)} if self.bound.normalised else {}

    def capture(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next step depends on, as tensors (not copied) and plain numbers."""
        tensors, scalars = optimizer_state(self.optimizer, self._names)
        random = random_state(self.source.device) | {"data": self.generator.get_state()}
        return {
            **prefixed("pair", pair_state(self.pair)),
            **prefixed("optimizer", tensors),
            **prefixed("inference", self.bound.state),
            **prefixed("random", random),
            "value_sum": self.total,
        }, {
            "step": self.step,
            "epoch": self.epoch,
            "position": self.position,
            "rows": self.num_rows,
            "optimizer": scalars,
            "optimizer_tensors": sorted(tensors),
            "execution": self.execution.stage,
        }

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Put back what `capture` gave.

        Raises:
            ValueError: If the numbers contradict each other, or the tensors are not the state of this run.
        """
        step, epoch, position, rows = (int(numbers[name]) for name in ("step", "epoch", "position", "rows"))
        done = epoch * self.steps_per_epoch + position
        cut = position == 0 and step == self.total_steps < done  # an epoch that the run's last step ended early
        if not (step == done or cut) or rows != min(position * self.batch_size, self.source.num_train):
            raise ValueError(
                f"step {step} is not {epoch} epochs of {self.steps_per_epoch} steps and {position} of {rows} rows"
            )
        load_pair_state(self.pair, section(tensors, "pair"))
        moments = section(tensors, "optimizer")
        check_complete(self.optimizer, self._names, moments, numbers.get("optimizer_tensors"), step)
        load_optimizer_state(self.optimizer, self._names, moments, numbers["optimizer"])
        device = self.source.device
        self.bound.load_state({name: value.to(device) for name, value in section(tensors, "inference").items()})
        self.step, self.epoch = step, epoch
        self.execution.restore(numbers.get("execution", "eager"), self.step)
        self._begin_epoch()
        self.position, self.num_rows = position, rows
        self.total = tensors["value_sum"].to(device, copy=True)
        random = {name: value.cpu() for name, value in section(tensors, "random").items()}
        self.generator.set_state(random["data"])
        if is_accelerator(device) and device.type not in random:  # written elsewhere: no stream may begin again
            own = self.world.seed(self.seed, "resumed", self.step, device.type)
            random[device.type] = torch.Generator(device=device).manual_seed(own).get_state()
        set_random_state(random, device)
