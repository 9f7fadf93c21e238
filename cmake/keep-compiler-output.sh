#!/bin/sh
# Runs a compiler and keeps what it says in <object>.log: what the register allocator tells of each
# kernel is read from there (scripts/cuda-registers.mjs). The rest is shown as always.
for argument; do
  if [ "$previous" = "-o" ]; then object=$argument; fi
  previous=$argument
done
"$@" > "$object.log" 2>&1
status=$?
if [ $status -ne 0 ]; then
  cat "$object.log" >&2
else
  grep -v -e '^ptxas info' -e 'bytes stack frame' -e '^$' "$object.log" >&2
fi
exit $status
