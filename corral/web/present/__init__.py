"""How rows look outside: a struct for each shape a face shows, and the function that fills it."""
