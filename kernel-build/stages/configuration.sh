# Configuration fragments, in the form that Linux and busybox share.

# Replaces a fragment's symbols in a configuration.
apply_fragment() { # FRAGMENT CONFIGURATION
  local line name
  while read -r line; do
    name=$(symbol_name "$line")
    [ -n "$name" ] || continue
    sed -i -E "/^(# )?$name( is not set|=.*)\$/d" "$2"
    printf '%s\n' "$line" >>"$2"
  done <"$1"
}

# Every symbol that a fragment asks for, on or off, must stand like that in the final configuration: the tools drop a
# symbol without a word when something that it depends on is missing.
check_configuration() { # FRAGMENT CONFIGURATION
  local lost=() line name
  while read -r line; do
    name=$(symbol_name "$line")
    [ -n "$name" ] || continue
    case $line in
      '#'*) ! grep -q "^$name=" "$2" || lost+=("$name (asked for: off)") ;;
      *) grep -qxF -- "$line" "$2" || lost+=("$name (asked for: ${line#*=})") ;;
    esac
  done <"$1"
  [ ${#lost[@]} -eq 0 ] || fail "Cannot configure: of ${1##*/} these did not survive: $(IFS=,; echo "${lost[*]}")"
}

symbol_name() { # LINE
  case $1 in
    '# CONFIG_'*' is not set') set -- "${1#\# }" && printf '%s' "${1% is not set}" ;;
    CONFIG_*=*) printf '%s' "${1%%=*}" ;;
  esac
}
