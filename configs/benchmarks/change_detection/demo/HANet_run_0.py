"""A narrow HANet on generated data: minutes on two cores, through the same code as the benchmark."""

from configs.common.change_detection import AIR_CHANGE_WEIGHTS, change_detection
from configs.common.datasets import air_change, dataset_root, loaders
from models import HANet

config = change_detection(
    work_dir="logs/change_detection/demo/HANet_run_0",
    seed=1,
    model={"class": HANet, "args": {"width": 10}},
    data=air_change(dataset_root("demo_air_change"), crops_per_image=32, crop_size=64, resize=None)
    | loaders(batch_size=8, num_workers=0),
    epochs=8,
    learning_rate=2e-3,
    class_weights=AIR_CHANGE_WEIGHTS,
    tile_size=112,
    tile_overlap=32,
)
