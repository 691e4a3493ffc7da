# Prints text. The envelope on stdin is not read: that is allowed.
printf '%s %s\n' "Report of" "$DISPATCH_RUNNER_TASK_ID"
