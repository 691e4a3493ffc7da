# Fails the first time as something temporary does, and succeeds the second time.
grep -q '"attempt":1,' && { echo "the desk is busy" >&2; exit 75; }
echo "second attempt"
