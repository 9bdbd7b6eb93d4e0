"""Replay in shards on an HTCondor pool or a Slurm cluster.

A plan (`plan`) is a directory. It holds the configuration, copies of the models in force (`pins`)
and the list of shards. Each shard is one `deepclean replay` call. `slurm` and `condor` submit the
shards. `verify` finds the shards that are not finished.
"""
