"""The authors' HANet, from a checkout of github.com/ChengxiHAN/HANet-CD, and its weights in ours."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path

import torch

from pylon import models

AUTHORS_FILE = Path("models", "HANet.py")
# Their names to ours, each to be tried in order.
_NAMES = (
    (r"^conv0_0\.", "encoder.stem."),
    (r"^conv([0245])\.conv1\.", lambda found: f"encoder.cells.{'0245'.index(found[1])}.convolution."),
    (r"^conv([0245])\.bn1\.", lambda found: f"encoder.cells.{'0245'.index(found[1])}.refinement.0."),
    (r"^conv([0245])\.conv2\.", lambda found: f"encoder.cells.{'0245'.index(found[1])}.refinement.2."),
    (r"^conv([0245])\.bn2\.", lambda found: f"encoder.cells.{'0245'.index(found[1])}.refinement.3."),
    (r"^conv6\.", "decoder.mixture."),
    (r"^conv7\.", "decoder.classifier."),
    (r"^conv6_(\d)_(\d)\.", lambda found: f"{_level(found)}.parallel.branches.{int(found[2]) - 1}."),
    (r"^conv(\d)_1\.", lambda found: f"{_level(found)}.parallel.mixture."),
    (r"^cam_attention_(\d)\.attn\.", lambda found: f"{_level(found)}.channel_branch."),
    (r"^col_attention_(\d)\.", lambda found: f"{_level(found)}.axial_branch.0."),
    (r"^row_attention_(\d)\.", lambda found: f"{_level(found)}.axial_branch.1."),
)


class AuthorsModel(torch.nn.Module):
    """Their network, without what it prints.

    Args:
        folder: a checkout of their code.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        spec = importlib.util.spec_from_file_location("authors_hanet", folder / AUTHORS_FILE)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(f"{folder}: expected {AUTHORS_FILE} in it")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.network: torch.nn.Module = module.HAN()

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        """Logits."""
        with contextlib.redirect_stdout(io.StringIO()):
            logits: torch.Tensor = self.network(img_1, img_2)[0]
        return logits


def difference(folder: Path) -> float:
    """The largest difference of the logits for the same weights, relative to the largest logit."""
    torch.manual_seed(0)
    theirs = AuthorsModel(folder).double().eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.1)
    weights = {_our_name(name): value for name, value in theirs.network.state_dict().items()}
    ours = models.HANet(exact_energy=True).double().eval()
    ours.load_state_dict({name: weights[name] for name in ours.state_dict()})
    img_1, img_2 = torch.randn(2, 1, 3, 256, 256, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(img_1, img_2)
        return float((ours(img_1, img_2) - expected).abs().max() / expected.abs().max())


def _our_name(name: str) -> str:
    for pattern, replacement in _NAMES:
        changed, number = re.subn(pattern, replacement, name)
        if number:
            return re.sub(r"\b(query|key|value)_conv\.", r"\1.", changed)
    return name


def _level(found: re.Match[str]) -> str:
    return f"attention.{int(found[1]) - 1}"
