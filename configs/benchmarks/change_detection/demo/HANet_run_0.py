"""A narrow HANet on generated data: minutes on two cores, through the same code as the benchmark."""

from torch.optim.lr_scheduler import CosineAnnealingLR

from pylon.configs.common.change_detection import change_detection
from pylon.configs.common.datasets import air_change, dataset_root, loaders
from pylon.models import HANet

_EPOCHS = 5

config = change_detection(
    work_dir="logs/change_detection/demo/HANet_run_0",
    seed=1,
    model={"class": HANet, "args": {"width": 10}},
    data=air_change(dataset_root("demo_air_change"), crops_per_image=64, crop_size=64)
    | loaders(batch_size=4, num_workers=0),
    epochs=_EPOCHS,
    learning_rate=2e-3,
)
# Halving the rate eight times within so few steps would end the training before it has begun.
config["scheduler"] = {"class": CosineAnnealingLR, "args": {"T_max": _EPOCHS}}
