#!/usr/bin/env bash
# The one step of the action beside it. Inputs come as INPUT_* variables, outputs are written by docproc.
#
# What was checked out may be a stranger's. It gives files, and neither a program nor a setting: what runs here is
# bash itself and what PATH has outside of the workspace. Written for bash 3.2, which macOS has.
set -euo pipefail

# Says beside the step why it fails.
fail() {
  local text=${1//[%]/%25}
  text=${text//$'\r'/%0D}
  text=${text//$'\n'/%0A}
  printf '::error title=docproc::%s\n' "$text" >&2
  exit 2
}

# Goes to where a directory really is; $PWD is its path without links.
enter() { cd -P -- "$1" 2>/dev/null; }

# Whether a path without links is the workspace or below it: by the directories themselves, which letter case and other
# spellings do not change.
in_workspace() {
  local directory=$1
  until [ "${directory:-/}" -ef "$workspace" ]; do
    if [ -z "$directory" ]; then return 1; fi
    directory=${directory%/*}
  done
}

# It would have cd print, and look elsewhere.
unset CDPATH
enter . || fail "The working-directory cannot be entered."
here=$PWD
enter "${GITHUB_WORKSPACE:-.}" || fail "The workspace $GITHUB_WORKSPACE cannot be entered."
workspace=$PWD
in_workspace "$here" || fail "The working-directory $here is not in the workspace."

path=
rest=$PATH:
while [ -n "$rest" ]; do
  entry=${rest%%:*}
  rest=${rest#*:}
  case $entry in /*) ;; *) continue ;; esac
  enter "$entry" || continue
  case $PWD/ in */node_modules/.bin/*) continue ;; esac
  in_workspace "$PWD" || path=${path:+$path:}$entry
done
# An empty PATH would be the working directory.
export PATH=${path:-/nowhere}

# The program of a name, in $found. A link to it may lead back into the workspace.
find_program() {
  local target link hops=0 back=$PWD
  found=$(type -P -- "$1") || fail "There is no $1 on PATH outside the workspace. actions/setup-node provides node and npm."
  target=$found
  while [ -L "$target" ] && [ "$((hops += 1))" -le 40 ]; do
    # By the system's own readlink, whatever PATH has.
    link=$(command -p readlink "$target")
    case $link in /*) target=$link ;; *) target=${target%/*}/$link ;; esac
  done
  enter "${target%/*}/" && ! in_workspace "$PWD" || fail "$1 is in the workspace: $target"
  cd -- "$back"
}

enter "${RUNNER_TEMP:-/tmp}" || fail "RUNNER_TEMP cannot be entered."
find_program mktemp
own=$("$found" -d "$PWD/docproc.XXXXXX")

# An input that was not given leaves the job's own variable as it is.
for setting in BUCKET TABLE PREFIX REGION ENDPOINT_URL CONFIG; do
  input="INPUT_$setting"
  if [ -n "${!input:-}" ]; then export "DOCPROC_$setting=${!input}"; fi
done
# Without a name of one no config file is looked for in what was checked out.
if [ -z "${DOCPROC_CONFIG:-}" ]; then
  export DOCPROC_CONFIG=$own/config.json
  printf '{}\n' >"$DOCPROC_CONFIG"
fi

# A variable, so that a job that has installed docproc can name it.
if [ -n "${DOCPROC_COMMAND:-}" ]; then
  find_program "$DOCPROC_COMMAND"
  case $found in /*) ;; *) fail "DOCPROC_COMMAND is $found. It must be an absolute path or a name on PATH." ;; esac
  docproc=("$found")
else
  case $INPUT_VERSION in
    '' | *[!0-9A-Za-z.+-]*) fail "The input version must be a version such as 0.1.0." ;;
  esac
  # Not npx: it puts the checkout's node_modules/.bin into PATH. npm takes an .npmrc, and a shim of node a version, from
  # the directory that it runs in.
  cd -- "$own"
  find_program npm
  "$found" install --prefix . --ignore-scripts --no-audit --no-fund --no-update-notifier "docproc-cli@$INPUT_VERSION" >&2
  find_program node
  docproc=("$("$found" -p process.execPath)" "$own/node_modules/docproc-cli/dist/docproc.js")
fi
cd -- "$here"

# Calls a function with each line of an input, without the white space around it.
each_line() {
  local line
  while IFS= read -r line; do
    line=${line#"${line%%[![:space:]]*}"}
    line=${line%"${line##*[![:space:]]}"}
    if [ -n "$line" ]; then "$2" "$line"; fi
  done < <(printf '%s\n' "$1")
}

flags=(--within "$workspace")
add_tag() { flags+=("--tag=$1"); }
each_line "${INPUT_TAGS:-}" add_tag
if [ "${INPUT_RECURSIVE:-false}" = true ]; then flags+=(--recursive); fi
if [ "${INPUT_RELATIVE:-true}" = true ] && [ -z "${INPUT_NAME:-}" ]; then flags+=(--relative); fi
if [ -n "${INPUT_INTO:-}" ]; then flags+=("--into=$INPUT_INTO"); fi

shopt -s nullglob
# ** needs bash 4.
globstar=yes
shopt -s globstar 2>/dev/null || globstar=

# Adds what a pattern stands for to $paths.
add_matches() {
  local pattern=$1 root='' dot='' deep='' found='' match matches parent seen='' given=${GITHUB_WORKSPACE:-$workspace}
  case $pattern in
    "$given" | "$given"/*)
      root=$workspace
      pattern=${pattern#"$given"}
      ;;
    /* | [A-Za-z]:/*) fail "A path must be in the workspace: $1" ;;
  esac
  case /$pattern/ in */../*) fail "A path must not contain ..; set working-directory instead: $1" ;; esac
  case /$pattern/ in
    */'**'/*)
      if [ -z "$globstar" ]; then fail "** needs bash 4. Name the directory, with recursive: true: $1"; fi
      deep=yes
      ;;
  esac
  case $pattern in ./*) dot=./ ;; esac
  # A word that a variable makes becomes the names that it matches, and nothing else happens to it: with an empty IFS
  # not even a name with a line end is divided.
  local IFS=
  matches=("$root"$pattern)
  for match in ${matches[@]+"${matches[@]}"}; do
    # Before bash 5.2 a pattern like .* matches . and .. as well.
    case /${match#"$dot"}/ in
      */../*) continue ;;
      */./*) case /${pattern#"$dot"}/ in */./*) ;; *) continue ;; esac ;;
    esac
    # Not even the names in a directory get out that a link leads to from here.
    case $match in "$workspace") parent=$match ;; */*) parent=${match%/*}/ ;; *) parent=./ ;; esac
    if [ "$parent" != "$seen" ] && enter "$parent"; then
      in_workspace "$PWD" || fail "A link leads out of the workspace: $parent"
      cd -- "$here"
      seen=$parent
    fi
    # What is in a directory is matched by ** as well.
    if [ -n "$deep" ] && [ -d "$match" ]; then continue; fi
    # A path that begins with the workspace is kept below the working directory as well.
    if [ "$match" = "$here" ]; then match=.; fi
    paths+=("${match#"$here"/}")
    found=yes
  done
  # What matches nothing is left to docproc, which says so.
  if [ -z "$found" ]; then paths+=("$root$pattern"); fi
}

paths=()
each_line "${INPUT_FILES:-}" add_matches

if [ "${#paths[@]}" -eq 0 ]; then
  exec "${docproc[@]}" upload "${flags[@]}"
elif [ -n "${INPUT_NAME:-}" ]; then
  # The second one lets docproc say that it takes one. A file may be named -, which would be standard input.
  paths=("${paths[@]:0:2}")
  exec "${docproc[@]}" upload "${flags[@]}" "--name=$INPUT_NAME" -- "${paths[@]/#-/./-}"
else
  # As a list: there may be more of them than a command line holds.
  exec "${docproc[@]}" upload "${flags[@]}" --files-from=- --null < <(printf '%s\0' "${paths[@]}" 2>/dev/null)
fi
