"""What an operator sets in a running stream: ordered by a command, taken at a stated second.

An order is a line of a log in the model store, so that who may promote a model may give it
(`orders`). A thread of the daemon reads the log (`follower`). Between two frames the work loop
takes an order from a GPS second on (`updates`); that is on record before any frame depends on it,
and a replay goes by the record (`lines`). What a control does to the samples is in `core`.
"""
