"""What agents need and nobody is shown: encrypted where it is stored, given to runs alone."""
