# Sourced by the commands in bin/: named steps with their time, and one line of progress while they run.

[ "${BASH_VERSINFO[0]}" -ge 5 ] || { echo "bash 5 or newer is needed, this is $BASH_VERSION" >&2; exit 1; }

dim='' bold='' green='' red='' plain='' erase=''
if [ -t 1 ]; then
  dim=$'\e[2m' bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m' erase=$'\r\e[K'
fi

# fail MESSAGE: the message says the way out.
fail() { echo "${red}$(basename "$0"):${plain} $1" >&2; exit 1; }

# step TITLE COMMAND...: runs the command; if it fails, shows the end of what it wrote, and stops.
step() {
  attempt "$@" && return
  tail -n 20 "$log" >&2
  fail "\"$1\" did not work; the whole log is in $log"
}

# attempt TITLE COMMAND...: the same, but leaves it to the caller what a failure means. What it wrote is in $log then.
attempt() {
  local title=$1 start tick=0; shift
  start=$(now_ms)
  log=$(mktemp)
  [ -t 1 ] || echo "$title ..."
  "$@" >"$log" 2>&1 </dev/null & local child=$!
  trap 'kill '$child'; exit 130' INT TERM  # Ctrl-C does not reach what a script starts with &
  while kill -0 $child 2>/dev/null; do
    sleep 0.2
    tick=$((tick + 1))
    if [ -t 1 ]; then
      printf '%s%s %s%5s s  %.*s%s' "$erase" "$title" "$dim" "$(seconds_since "$start")" \
        $((68 - ${#title})) "$(last_line "$log")" "$plain"
    elif [ $((tick % 100)) = 0 ]; then
      printf '  %5s s  %.70s\n' "$(seconds_since "$start")" "$(last_line "$log")"
    fi
  done
  trap - INT TERM
  if wait $child; then
    rm "$log"
    echo "$erase${green}done${plain} $title ${dim}$(seconds_since "$start") s${plain}"
  else
    echo "$erase${red}failed${plain} $title"
    return 1
  fi
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

now_ms() { local now=${EPOCHREALTIME//[.,]/}; echo $((now / 1000)); }
seconds_since() { local ms=$(($(now_ms) - $1)); echo "$((ms / 1000)).$((ms % 1000 / 100))"; }

# The last line of a file that says something, without the bars that pip draws.
last_line() {
  tail -c 800 "$1" | LC_ALL=C tr '\r' '\n' | LC_ALL=C tr -cd '\n -~' | sed 's/^ *//' | grep . | tail -n 1 || true
}
