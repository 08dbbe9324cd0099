"""Archives of video and pictures, searched as resumable jobs.

    sources -> units -> engine (worker: decode queue, faces) -> shards -> tracks -> appearances, coverage, report

The ledger (SQLite) knows which units are done; everything in the results folder is a pure function of the plan and of
the shards, so a job that was killed and resumed ends with the same bytes as one that was not.
"""
