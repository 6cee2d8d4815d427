"""`pylon watch` on a whole terminal. Only `app`, `page` and `widgets` import textual.

picture    all that is shown, as it was at one moment; read by `feed` in a thread of its own
columns    what each list can show; `rows`: what is in it
filters    the small language that chooses rows
listing    one list: its filter, its order, its columns, as lines
charts, past, replay    figures over time, and the time that is looked at
layout, csv_export      what is kept on disk
widgets, page, app      the screen
"""
