"""What the live views cost: `python -m benchmarks.views [--parts NAME ...]`. Parts have `HEADS` and `rows`.

metrics    `pylon export`: a scrape
web        `pylon serve` in a browser: pictures, watchers, first paint and updates
terminal   `pylon watch` in a real terminal of 250 x 70: 100 invented servers of 8 GPUs, a picture a second
peers      `pylon watch` of this machine next to nvitop, where that is on the PATH
"""
