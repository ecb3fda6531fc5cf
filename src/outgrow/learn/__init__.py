"""The learners, one file a family."""
