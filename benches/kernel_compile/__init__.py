"""Full tracing of a kernel's compile: what it costs by spile, and by each peer at its best.

    make bench-compile                        # mm/ of Debian's kernel, 5 rounds: an hour on two CPUs
    python -m benches.kernel_compile --tiny   # some C files, one round: shows that it runs; the figures mean nothing

The road: `setting` gets what is needed, `tree` is what is compiled, `events` the sets of tracepoints. Each tracer is a
process of its own (`tracers`; `spile_side`, `ftrace` and `peers` have one kind each), so that its CPU time and memory
are its own. `measure` runs untraced and traced builds in turns, `storming` prices an event where nothing else happens,
and `report` writes Markdown and JSON, and claims no difference that the noise does not resolve.
"""
