"""What a server sends, without a server: the far script in a pipe, and frames made by hand."""
