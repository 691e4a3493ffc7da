"""Results of tasks that opted in, kept by what they depend on, and used again for the same work."""
