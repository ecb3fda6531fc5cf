"""One idea, in one sitting: a fold, a learner, a job, a tree, a store."""
