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
