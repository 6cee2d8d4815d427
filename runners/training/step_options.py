"""How the steps of a training are taken, as a configuration gives it."""

from typing import Literal, get_args

Precision = Literal["float32", "bfloat16", "float16"]
CompileMode = Literal["reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
_WITH_GRAPHS = ("reduce-overhead", "max-autotune")


class Stepping:
    """How a trainer takes its steps; every default is a plain float32 step.

    Args:
        accumulate_batches: so many batches, on each of the run's devices, make one step. Each counts the
            same; the last step of an epoch may have fewer.
        clip_norm: gradients longer than this (L2 norm over all parameters) are shortened to it; None: not.
        clip_value: each value of a gradient is limited to -clip_value..clip_value, before `clip_norm`; None:
            not.
        precision: of the forward pass in training, by torch.autocast. Weights, optimizer and evaluation
            stay float32. 'float16' scales the loss (torch.amp.GradScaler), and leaves out the steps whose
            scaled gradients overflow.
        ema_decay: keep an exponential moving average of the weights with this decay, 0..1; None: none.
        evaluate_ema: validate and test the average, if there is one.
        channels_last: keep 4-D weights in channels-last order.
        compile: train through torch.compile; a name is its mode, of which 'reduce-overhead' records the
            kernels of a step once (CUDA graphs), which helps where starting them takes longer than they do.
        non_finite: what a NaN or infinite loss or gradient means. Each policy looks at every step, which
            makes an accelerator wait; None looks at the losses alone, when they are logged.
            'raise' ends the run, 'stop' saves the state before the step and ends it, 'skip' leaves the
            step out; all write a dump that reproduces it.
        skip_in_a_row: so many steps in a row may be left out, by 'skip' or by 'float16'; one more ends the
            run.
        find_unused_parameters: on many devices, the model may have parameters without a gradient in some
            step. Each step then looks for them.
    """

    def __init__(
        self,
        *,
        accumulate_batches: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        precision: Precision = "float32",
        ema_decay: float | None = None,
        evaluate_ema: bool = True,
        channels_last: bool = False,
        compile: bool | CompileMode = False,
        non_finite: Literal["raise", "stop", "skip"] | None = None,
        skip_in_a_row: int = 10,
        find_unused_parameters: bool = False,
    ) -> None:
        if accumulate_batches < 1:
            raise ValueError(f"accumulate_batches: {accumulate_batches}, expected at least 1")
        for name, limit in {"clip_norm": clip_norm, "clip_value": clip_value}.items():
            if limit is not None and not limit > 0:
                raise ValueError(f"{name}: {limit}, expected more than 0, or None")
        if ema_decay is not None and not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay: {ema_decay}, expected 0 or more and less than 1, or None")
        if skip_in_a_row < 1:
            raise ValueError(f"skip_in_a_row: {skip_in_a_row}, expected at least 1")
        if not isinstance(compile, bool) and compile not in get_args(CompileMode):
            modes = ", ".join(map(repr, get_args(CompileMode)))
            raise ValueError(f"compile: {compile!r}, expected True, False or one of {modes}")
        self.accumulate_batches = accumulate_batches
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.precision = precision
        self.ema_decay = ema_decay
        self.evaluate_ema = evaluate_ema
        self.channels_last = channels_last
        self.compile = compile
        self.non_finite = non_finite
        self.skip_in_a_row = skip_in_a_row
        self.find_unused_parameters = find_unused_parameters

    @property
    def with_graphs(self) -> bool:
        """Whether the compiled model is run as CUDA graphs, which write into the same memory each time."""
        return self.compile in _WITH_GRAPHS
