"""Scores for people: the run's own beside those of predictions that look at no image."""

import logging

logger = logging.getLogger(__name__)

Scores = dict[str, float | None]


def report_scores(split: str, score: str, scores: Scores, baselines: dict[str, Scores]) -> None:
    """Log the leading score of `split` beside the same score of each baseline, then the other scores.

    Args:
        split: 'validation' or 'test'.
        score: the leading score's name.
        scores: all aggregated scores, None where undefined.
        baselines: per baseline the same scores.
    """
    beside = ", ".join(f"{name} {_text(values.get(score))}" for name, values in baselines.items())
    logger.info("%s %s: %s (baselines: %s)", split, score, _text(scores.get(score)), beside or "none")
    others = ", ".join(f"{name} {_text(value)}" for name, value in scores.items() if name != score)
    logger.info("%s, other scores: %s", split, others)


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
