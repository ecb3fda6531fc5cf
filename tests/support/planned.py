"""A program that plans and fits within a budget of memory, and prints the digest: python planned.py FOLDER LEARNER MEMORY."""

import sys
from pathlib import Path

import learners

import outgrow as og

if __name__ == "__main__":
    folder, name, memory = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    job = learners.job(name, learners.write(folder))
    print(og.plan(job.learner, job.source, memory=memory, root=folder).run(fresh=True).digest)
