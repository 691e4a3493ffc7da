#!/bin/sh
# dispatch-runner in a script: exit codes decide, jq is not needed.
#
#     sh examples/shell.sh REQUEST.json RESULT.json
set -u

request=$1
result=$2

dispatch-runner --quiet <"$request" >"$result"
code=$?

case $code in
0) echo "all tasks succeeded" ;;
1) echo "some tasks did not succeed: see $result" ;;
2) echo "rejected, nothing ran: see $result" ;;
129 | 130 | 143) echo "interrupted; what had finished is in $result" ;;
*) echo "dispatch-runner itself failed (exit code $code)" ;;
esac
exit "$code"
