"""Record the training of other libraries."""
