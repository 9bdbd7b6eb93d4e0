"""The life of the models in a stream: what is to come is found, loaded, tried, offered and taken.

What is decided, and by which rules, is in `core/lifecycle.py` and `core/trial.py`. Here are the
work loop's side of it (`work`), the thread that follows the store for a daemon (`keeper`), what a
new version has to pass before it is offered (`dryrun`), and the record that a replay goes by
(`recorded`).
"""
