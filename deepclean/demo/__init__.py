"""A demonstration: a simulated site streams live, the daemon cleans it, the truth judges it."""
