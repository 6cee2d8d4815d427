"""The file of a record: its tables, its one writer and its readers."""
