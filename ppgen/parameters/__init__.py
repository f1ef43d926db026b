"""Parameters of model and guide: captured from their statements, found in what they refer to, or given."""
