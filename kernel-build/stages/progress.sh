# One live line while a stage runs: its name, the time, and how much of its log there is. Where nobody watches (no
# terminal), a plain line every half minute instead.

progress_pid=

progress_start() { # STAGE LOG
  local stage=$1 log=$2
  : >"$log"
  (
    trap 'exit 0' TERM
    started=$SECONDS
    while :; do
      elapsed=$((SECONDS - started))
      step=$(grep -oE '^  (CC|LD|AR|AS|HOSTCC|BTF|ZOFFSET|LZ4|INSTALL|DEPMOD)[^/]* .*' "$log" 2>/dev/null | tail -n 1 | cut -c1-50)
      count=$(wc -l <"$log")
      if [ -t 2 ]; then
        printf '\r\033[K  %-8s %3d s  %d steps  %s' "$stage" "$elapsed" "$count" "$step" >&2
        sleep 0.5 &
      else
        [ $elapsed -gt 0 ] && printf '  %-8s %3d s  %d steps\n' "$stage" "$elapsed" "$count" >&2
        sleep 30 &
      fi
      wait $!
    done
  ) &
  progress_pid=$!
}

progress_stop() {
  kill "$progress_pid" 2>/dev/null || true
  wait "$progress_pid" 2>/dev/null || true
  if [ -t 2 ]; then printf '\r\033[K' >&2; fi
}
