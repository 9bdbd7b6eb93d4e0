"""Offline validation: is a configuration with its models fit for the official product?

`measure` looks at what the engine gives, second by second (`counted`), and keeps little of it
(`part`); `shards` cuts a span and runs it in processes; `summary` puts the parts together into the
figures of the report; `judge` holds them against criteria; `figures` draws them; `report` writes
the folder. `parity` compares a live run's frames with their replay. Engine, gate and source are
those of a replay.
"""
