"""Closed forms without some of their witnesses: the equations, and the networks solved for."""
