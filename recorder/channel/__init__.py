"""Figures from the watched program to the recorder, through memory that both share, without a lock."""
