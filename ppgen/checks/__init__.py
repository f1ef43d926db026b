"""What is checked before any work starts: arguments, arrays, types, seeds, room in memory, programs."""
