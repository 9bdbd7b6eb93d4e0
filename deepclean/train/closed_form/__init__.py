"""The closed-form fit: a finite impulse response over features of the witnesses, solved."""
