# One live line while a stage runs: its name, the time, how far it is. Where nobody watches (no terminal), a plain line
# every half minute instead.

progress_pid=

# How many lines a stage writes to its log, as counted once: what the percentage is a part of.
expected_lines() { # STAGE
  case $1 in
    kernel) echo 1640 ;;
    busybox) echo 5600 ;;
    *) echo 0 ;;
  esac
}

progress_start() { # STAGE LOG
  : >"$2"
  show_progress "$1" "$2" &
  progress_pid=$!
}

progress_stop() {
  [ -n "$progress_pid" ] || return 0
  kill "$progress_pid" 2>/dev/null || true
  wait "$progress_pid" 2>/dev/null || true
  progress_pid=
  if [ -t 2 ]; then printf '\r\033[K' >&2; fi
}

show_progress() { # STAGE LOG
  local stage=$1 log=$2 started=$SECONDS elapsed lines expected percent step pause
  trap 'kill $(jobs -p) 2>/dev/null; exit 0' TERM
  expected=$(expected_lines "$stage")
  while :; do
    elapsed=$((SECONDS - started))
    lines=$(wc -l <"$log")
    percent=
    if [ "$expected" -gt 0 ]; then percent=$((lines >= expected ? 99 : lines * 100 / expected))' %'; fi
    if [ -t 2 ]; then
      step=$(tail -n 1 "$log" | tr -cd '[:print:]' | cut -c1-50)
      printf '\r\033[K  %-8s %3d s  %4s  %s' "$stage" "$elapsed" "$percent" "$step" >&2
      pause=0.5
    else
      [ $elapsed -eq 0 ] || printf '  %-8s %3d s  %s\n' "$stage" "$elapsed" "$percent" >&2
      pause=30
    fi
    sleep $pause &
    wait $!
  done
}
