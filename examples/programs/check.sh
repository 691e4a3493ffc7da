# Succeeds when the task that it depends on counted something.
grep -q '"words":[1-9]' || exit 1
