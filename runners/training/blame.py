"""Whose fault an error of the rehearsal is: the configured class, the place in it, and the batch."""

import contextlib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pylon.data import LoaderWorkerError, MapDataset, StreamDataset, listed, tensors_of
from pylon.data.errors import DataError, DatasetDamagedError
from pylon.masking import masked_text
from pylon.metrics import TorchMetrics
from pylon.runners.errors import ConfigError, ConfigProblem, PeerLostError, PylonError, RunStopped
from pylon.runners.logs import tracebacks
from pylon.runners.memory import is_out_of_memory
from pylon.runners.user_code import explanation, message

_WITHOUT = "If it is right as it is, give --no-rehearsal."
_LESS_MEMORY = (
    "If memory is short, give a smaller {}_dataloader.args.batch_size or fewer num_workers; if not, fix the "
    "dataset."
)
# They name their cause themselves, or it is none of the configuration's.
_THEIR_OWN = (RunStopped, PeerLostError, ConfigError, DataError, LoaderWorkerError)


class Blame:
    """Turns what a configured class raises into an error of the configuration.

    Attributes:
        parts: the configured objects by key path; more may be added.

    Args:
        parts: see above.
        log: the run's log, for the traceback.
        secrets: values of the configuration that no error may show.
    """

    def __init__(self, parts: Mapping[str, object], log: Path, secrets: Sequence[str] = ()) -> None:
        self.parts = dict(parts)
        self._log = log
        self._secrets = secrets

    @contextlib.contextmanager
    def of(self, key: str, doing: str, batch: object = None, advice: str = "") -> Iterator[None]:
        """Raise ConfigError in place of what the block raises.

        Args:
            key: key path of the part that is to blame if the error came from none of them.
            doing: what the block does, as in 'in a training step'.
            batch: what it does it with, None if with none.
            advice: what to do about it, a sentence.
        """
        try:
            yield
        except _THEIR_OWN:
            raise
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error):
                raise
            raise self._problem(error, key, doing, batch, advice) from None

    @contextlib.contextmanager
    def of_reading(self, split: str, dataset: object) -> Iterator[None]:
        """Name the data set in what the block raises, which reads batches of a split."""
        name = f"{split}_dataset ({_class_name(dataset)})"
        try:
            yield
        except DataError as error:
            error.add_note(f"Found before the first step, in a batch of {name} and its {split}_dataloader.")
            raise
        except OSError as error:
            self._keep_traceback(error)
            raise DatasetDamagedError(
                f"{name}: a batch cannot be read before the first step: {_text(error)}\nThe traceback is in "
                f"{self._log}"
            ) from error
        except _THEIR_OWN:
            raise
        except Exception as error:  # noqa: BLE001 - raised again as an error of the configuration
            self.parts[f"{split}_dataset"] = dataset
            # No copy is to blame if memory is short here: the run's own batches are as large.
            advice = _LESS_MEMORY.format(split) if is_out_of_memory(error) else ""
            raise self._problem(error, f"{split}_dataset", "when a batch is read", advice=advice) from None

    def _problem(
        self, error: BaseException, key: str, doing: str, batch: object = None, advice: str = ""
    ) -> ConfigError:
        """The error for the user; the arguments are those of `of`."""
        self._keep_traceback(error)
        blamed = self._culprit(error) or key
        # The batch is described below, with its shapes.
        lines = [f"fails {doing}: {_text(error)}", *explanation(error, batch=False)]
        if batch is not None:
            lines.append(f"The batch: {described(batch)}.")
        lines.append(f"{advice or 'Fix it.'} {_WITHOUT}")
        text = masked_text("\n    ".join(lines), self._secrets) + f"\nThe traceback is in {self._log}"
        problem = ConfigProblem(blamed, _class_name(self.parts.get(blamed)), text)
        return ConfigError("found before the first step", [problem])

    def _keep_traceback(self, error: BaseException) -> None:
        tracebacks.debug("found before the first step\n%s", "".join(traceback.format_exception(error)))

    def _culprit(self, error: BaseException) -> str | None:
        """The key path of the innermost part whose method was running."""
        found = None
        for frame, _ in traceback.walk_tb(error.__traceback__):
            owner = frame.f_locals.get("self")
            for key, part in self.parts.items():
                if owner is not None and (owner is part or _is_layer(owner, part)):
                    found = key
        return found


def _class_name(part: object) -> str:
    """The configured class of a part, not that of what Pylon has put around it."""
    return part.name if isinstance(part, MapDataset | StreamDataset | TorchMetrics) else type(part).__name__


def described(batch: object) -> str:
    """The datapoints of a batch and the shapes in it, as far as they can be known."""
    whole: dict[Any, Any] = batch if isinstance(batch, dict) else {"the batch": batch}
    meta_info = whole.get("meta_info")
    known: dict[str, Any] = meta_info if isinstance(meta_info, dict) else {}
    named = [f"{key}={listed(known[key])}" for key in ("idx", "name") if isinstance(known.get(key), list)]
    shapes = [text for key, value in whole.items() if key != "meta_info" for text in _shapes(value, str(key))]
    return "; ".join([*(["datapoints " + ", ".join(named)] if named else []), *shapes]) or repr(type(batch))


def _shapes(value: object, name: str) -> list[str]:
    """Name, shape and type of each tensor in a value; what it is if it holds none."""
    shapes = [
        f"{place} {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        for place, tensor in tensors_of(value, name)
    ]
    return shapes or [f"{name} None" if value is None else f"{name} a {type(value).__name__} without tensors"]


def _is_layer(owner: object, part: object) -> bool:
    return isinstance(part, torch.nn.Module) and any(layer is owner for layer in part.modules())


def _text(error: BaseException) -> str:
    """What was raised; an error of ours explains itself, without its type."""
    return str(error).strip() if isinstance(error, PylonError) else message(error)
