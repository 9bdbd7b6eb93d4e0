"""What commands share towards a person: times, progress, completion, how to go on."""
