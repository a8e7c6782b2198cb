#!/bin/sh
# Runs a command in surroundings like those of AWS Lambda: no /dev/shm, 512 MB of /tmp, 1,024 descriptors, its variables.
#
#   sudo examples/lambda-parallel/as-on-lambda.sh node examples/lambda-parallel/invoke.js
#
# All of it is in a mount namespace of its own, and gone with the command. It takes root on Linux.
set -eu

if [ "${1-}" != --inside ]; then
  exec unshare --mount --propagation private sh "$0" --inside "$PWD" "$@"
fi
here=$2
shift 2

# A /dev with nothing but the devices that every system has.
mount -t tmpfs -o size=512m tmp /mnt
mkdir /mnt/.dev
for device in null zero full random urandom; do
  touch "/mnt/.dev/$device"
  mount --bind "/dev/$device" "/mnt/.dev/$device"
done
ln -s /proc/self/fd /mnt/.dev/fd
for stream in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${stream%%:*}" "/mnt/.dev/${stream##*:}"; done
mount --rbind /mnt/.dev /dev

# What is being run may itself lie in /tmp.
case "$here" in
  /tmp/*)
    mkdir -p "/mnt${here#/tmp}"
    mount --rbind "$here" "/mnt${here#/tmp}"
    ;;
esac
mount --rbind /mnt /tmp

ulimit -n 1024
cd "$here"
export AWS_LAMBDA_FUNCTION_NAME=volumes AWS_LAMBDA_FUNCTION_VERSION='$LATEST' AWS_EXECUTION_ENV=AWS_Lambda_nodejs22.x
export AWS_LAMBDA_FUNCTION_MEMORY_SIZE="${AWS_LAMBDA_FUNCTION_MEMORY_SIZE:-3008}" AWS_LAMBDA_INITIALIZATION_TYPE=on-demand
export AWS_REGION=eu-central-1 AWS_DEFAULT_REGION=eu-central-1 LAMBDA_TASK_ROOT="$here" LAMBDA_RUNTIME_DIR=/var/runtime TZ=:UTC
export _HANDLER=handler.handler TMPDIR=/tmp
exec "$@"
