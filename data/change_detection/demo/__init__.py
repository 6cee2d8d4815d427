"""A made-up data set in AirChange's layout: same names, sizes, formats and oddities.

    terrain ─┐
    places  ─┴─> scene: painted once per date ─> camera ─> im1, im2, gt ─> write

So the class, the decoder and the crops that read the real benchmark read the demo too.
"""

from pylon.data.change_detection.demo.scene import Scene, draw_scene
from pylon.data.change_detection.demo.write import write_demo

__all__ = ["Scene", "draw_scene", "write_demo"]
