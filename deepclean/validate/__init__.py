"""Offline validation: whether a configuration and its models are fit for the official product.

`shards` cuts a span, cleans the shards with the engine, gate and source of a replay, and runs them
in processes. `measure` measures each second of a shard (`seconds`) into a `shard_result`. `summary`
combines these into the numbers of the report, `criteria` judges them, `figures` draws them
(`plots`) and `report` writes the folder. `parity` compares the frames of a live run with their
replay.
"""
