"""Processes of the monitors: who starts whom, who watches whom, and how everybody ends.

    training process                 supervisor process               worker processes
    ┌──────────────┐  settings       ┌───────────────┐  fork + Event  ┌──────────────────┐
    │ MonitorClient ├───────────────>│ supervisor    ├───────────────>│ one per monitor  │
    │  one thread  │<────────────────┤  (1 thread)   │<─ ─ heartbeat ─┤                  │
    └──────▲───────┘  health         └──┬────────────┘                └────────┬─────────┘
           │ snapshots                  │ fork                                 │ reports
           │                     ┌──────▼───────┐     copy     ┌───────────────▼─┐
           └─────────────────────┤ relay        │<─────────────┤ Manager (dict)  │
                                 └──────────────┘              └─────────────────┘

The training process holds two pipes and one thread that reads them; everything that can block
(the driver, the Manager, a lock of a killed process) is on the other side of the pipes.
"""
