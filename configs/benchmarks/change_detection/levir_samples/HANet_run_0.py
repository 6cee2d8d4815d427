"""HANet on eleven real pairs of LEVIR-CD: seven for training, two for validation, two for the test.

The pairs are demonstration crops, not a random sample: scores on them show that training works.
"""

from torch.optim.lr_scheduler import CosineAnnealingLR

from pylon.configs.common.change_detection import change_detection
from pylon.configs.common.datasets import dataset_root, levir_cd, loaders
from pylon.models import HANet

# By name: test_102 test_121 test_2_0000_0000 test_2_0000_0512 test_55 test_7 test_77 train_36
# train_386 train_412 val_27. The two pairs of scene test_2 stay on one side.
_INDICES = {"train": [0, 1, 2, 3, 7, 8, 10], "val": [5, 9], "test": [4, 6]}

# Two steps each: there are seven pairs.
_EPOCHS = 150

config = change_detection(
    work_dir="logs/change_detection/levir_samples/HANet_run_0",
    seed=1,
    model={"class": HANet, "args": {"width": 16}},
    data=levir_cd(dataset_root("LEVIR_samples"), crop_size=128, indices=_INDICES)
    | loaders(batch_size=3, num_workers=0),
    epochs=_EPOCHS,
    learning_rate=1e-3,
)
config["scheduler"] = {"class": CosineAnnealingLR, "args": {"T_max": _EPOCHS}}
