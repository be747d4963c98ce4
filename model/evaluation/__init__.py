"""What predictions are worth: protocols, slices, bounds, comparisons and the page that tells of them."""
