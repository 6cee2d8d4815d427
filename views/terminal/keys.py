"""The keys, by what they do, and the help that lists them."""

ACTIONS: dict[str, tuple[str, ...]] = {
    "help": ("question_mark", "f1"),
    "quit": ("q", "ctrl+c", "ctrl+q"),
    "back": ("escape", "backspace"),
    "open": ("enter",),
    "up": ("up", "k"),
    "down": ("down", "j"),
    "left": ("left", "h"),
    "right": ("right", "l"),
    "page_up": ("pageup", "ctrl+b", "ctrl+u"),
    "page_down": ("pagedown", "ctrl+f", "ctrl+d"),
    "first": ("home",),
    "last": ("end", "G", "upper_g"),
    "next_pane": ("tab",),
    "former_pane": ("shift+tab",),
    "filter": ("slash",),
    "earlier_filter": ("ctrl+r",),
    "sort": ("s", "full_stop"),
    "sort_back": ("S", "upper_s", "comma"),
    "reverse": ("r",),
    "columns": ("c",),
    "tree": ("t",),
    "export": ("e",),
    "save": ("w",),
    "alerts": ("a",),
    "pause": ("space",),
    "go": ("g",),
    "step_back": ("left_square_bracket",),
    "step_on": ("right_square_bracket",),
    "faster": ("plus", "equals_sign"),
    "slower": ("minus",),
    "zoom": ("z",),
    "wide": ("Z", "upper_z"),
    "live": ("n",),
    **{f"pane_{number}": (str(number),) for number in range(1, 6)},
}
ACTION_OF = {key: action for action, keys in ACTIONS.items() for key in keys}

HELP = """\
Nothing here signals or changes a process; this screen only reads.

1-5, Tab, Shift-Tab   servers, GPUs, processes, runs, alerts      a      alerts
arrows or hjkl        move; left and right shift the columns      ? F1   this help
Page keys, Home, End  far                                         q      end
Enter                 a page with charts      Esc   back, or clear the filter

/  filter       temp>85 & server~=dgx      user==alice | !(util<10)      mem>10G
                ~= is 'contains', a word alone is looked for in all texts, temp==? is 'not known'
                Ctrl-R  filters of before
s S . ,  sort by the next or former column   r  reverse   c  columns
t  processes as a tree, or flat              e  export the list as CSV
w  save lists, filters, order and columns    space  pause the picture

On a page:  space  pause, play    [ ]  step    + -  speed    z Z  smaller or larger part of the time
            g  go to 14:05, 50%, 10m, -10m, start, end    n  now    left right  step    up down  scroll

            marks over a run's charts: E epoch  V validation  C checkpoint  ! alert

Marks: > cursor   ! needs attention   ? not known   ^ v sorted up or down   ~ or … cut
"""
