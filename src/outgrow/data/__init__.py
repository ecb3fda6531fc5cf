"""Where rows come from and what they look like: sources, schema, batches, features, the packed cache."""
