# Counts what shell checks find; to be sourced. `passed` and `failed` are the totals.
passed=0
failed=0

# One claim: the command succeeds.
succeeds() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "  ok    $name"
    passed=$((passed + 1))
  else
    echo "  FAIL  $name: $(tail -n 5 <<<"$output")"
    failed=$((failed + 1))
  fi
}

# Run a check, show what failed and its count; a check without a count is one failure.
count() {
  local name=$1 output status=0 line
  shift
  output=$("$@" 2>&1) || status=$?
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' <<<"$output" | tail -n 1 || true)
  echo "$name: ${line:-no count}"
  grep -vE '^[0-9]+ passed, [0-9]+ failed$|^  ok ' <<<"$output" || true
  if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
    if [ "$status" -ne 0 ] && [ "${BASH_REMATCH[2]}" -eq 0 ]; then failed=$((failed + 1)); fi
  else
    echo "  FAIL  $name: ended with exit code $status and no count"
    failed=$((failed + 1))
  fi
}
