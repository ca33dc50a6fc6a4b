"""Planning a run without its hardware: devices, compiled programs, memory, time, advice."""
