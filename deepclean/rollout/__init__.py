"""The life of the models in a stream: what is to come is found, loaded, tried, offered and taken.

What is decided, and by which rules, is in `core/rollout`. Here are the work loop's side of it
(`updates`), the thread that follows the store for a daemon (`store_follower`), what a new version
has to pass before it is offered (`dry_run`), and the record that a replay goes by (`recorded`).
"""
