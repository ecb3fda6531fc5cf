"""Where a job runs; an engine knows no learner."""
