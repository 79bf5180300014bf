"""The two workflows: order, preconditions, summaries and progress; no algorithm."""
