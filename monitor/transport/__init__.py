"""How reports travel: the Manager dict between the processes of one host."""
