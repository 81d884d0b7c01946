#!/usr/bin/env bash
# The one step of the action beside it. Inputs come as INPUT_* variables, outputs are written by docproc.
set -euo pipefail

# An input that was not given leaves the job's own variable as it is.
for setting in BUCKET TABLE PREFIX REGION ENDPOINT_URL; do
  input="INPUT_$setting"
  if [ -n "${!input:-}" ]; then export "DOCPROC_$setting=${!input}"; fi
done

# A variable, so that a job that has installed docproc can name it.
if [ -n "${DOCPROC_COMMAND:-}" ]; then
  docproc=("$DOCPROC_COMMAND")
else
  case $INPUT_VERSION in
    '' | *[!0-9A-Za-z.+-]*) echo "::error title=docproc::The input version has to be one like 0.1.0."; exit 2 ;;
  esac
  # With a prefix elsewhere npx takes neither a package nor an .npmrc out of what was checked out.
  prefix=$(mktemp -d "${RUNNER_TEMP:-/tmp}/docproc.XXXXXX")
  docproc=(npx --yes --prefix "$prefix" "--package=docproc-cli@$INPUT_VERSION" -- docproc)
fi

lines() { printf '%s\n' "$1" | sed -e 's/\r$//' -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e '/^$/d'; }

flags=()
while IFS= read -r tag; do flags+=(--tag "$tag"); done < <(lines "${INPUT_TAGS:-}")
if [ -n "${INPUT_NAME:-}" ]; then flags+=(--name "$INPUT_NAME"); fi
if [ "${INPUT_RECURSIVE:-false}" = true ]; then flags+=(--recursive); fi

# ** needs bash 4; macOS comes with 3.2.
shopt -s globstar 2>/dev/null || true
paths=()
while IFS= read -r line; do
  # compgen expands patterns and nothing else: no commands, no variables.
  matches=()
  while IFS= read -r match; do matches+=("$match"); done < <(compgen -G "$line" || true)
  # What matches nothing is left to docproc, which says so.
  if [ "${#matches[@]}" -eq 0 ]; then matches=("$line"); fi
  # A file of that name; standard input has nothing in a job.
  for path in "${matches[@]}"; do if [ "$path" = - ]; then paths+=(./-); else paths+=("$path"); fi; done
done < <(lines "${INPUT_FILES:-}")

exec "${docproc[@]}" upload ${flags[@]+"${flags[@]}"} -- ${paths[@]+"${paths[@]}"}
