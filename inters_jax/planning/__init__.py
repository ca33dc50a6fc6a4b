"""Plans a run without its hardware: devices, compiled programs, memory, time, and advice."""
