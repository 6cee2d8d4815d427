"""What is drawn of records: grids, lines, charts and events, as data that a page or a picture draws."""
