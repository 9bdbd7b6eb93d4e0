"""What a trained model is worth on data that it has not seen, and whether it may be put in force.

`heldout` reads the data, `evaluate` cleans them with the site's engine and its gates, one model
after another over the same blocks, and `meter` measures what each did. `objection` decides from the
figures; `table` and `picture` show them.
"""
