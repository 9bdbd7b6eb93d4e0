"""Replay in shards on an HTCondor pool or a Slurm cluster.

A plan (plan) is a directory: the configuration, copies of the models in force (pinned), and the
shards, each a plain `deepclean replay` call. slurm and condor hand it to the engine that a site
has; verify says what of it is done.
"""
