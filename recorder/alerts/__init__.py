"""Rules that are checked while a run is watched, and where their messages go.

rules      names, severities, durations, thresholds
alarms     when a rule counts as broken, and until when
trends     when a figure reaches its limit, whether losses diverge
watching   all rules over what the recorder sees
book       into the record, the log and the notifier
notifier, webhook   messages that leave the machine
"""

from pylon.recorder.alerts.alarms import Change
from pylon.recorder.alerts.book import AlertBook
from pylon.recorder.alerts.notifier import Notifier, destination
from pylon.recorder.alerts.rules import RULES, Rule
from pylon.recorder.alerts.watching import Alerts
from pylon.recorder.alerts.webhook import NotifyError

__all__ = ["RULES", "AlertBook", "Alerts", "Change", "Notifier", "NotifyError", "Rule", "destination"]
