#!/usr/bin/env bash
# One question in the plain NATS protocol: bash alone. subscriber.sh HOST PORT USER PASSWORD CELL FEED POSITION
# Prints what comes: for each event its headers and its JSON, then the end, which says where to go on.
set -euo pipefail
host=$1 port=$2 user=$3 password=$4 cell=$5 feed=$6 position=$7
question="{\"after\":$position,\"max\":100}"
exec 3<>"/dev/tcp/$host/$port"
printf 'CONNECT {"user":"%s","pass":"%s","headers":true,"verbose":false,"lang":"sh","version":"1"}\r\n' "$user" "$password" >&3
printf 'SUB _INBOX.sh 1\r\nPUB read.%s.%s _INBOX.sh %d\r\n%s\r\n' "$cell" "$feed" "${#question}" "$question" >&3
while IFS= read -r -t 20 line <&3; do
  case $line in
    PING*) printf 'PONG\r\n' >&3 ;;
    INFO*) ;;
    -ERR*) echo "$line" >&2; exit 1 ;;
    MSG*) IFS= read -r end <&3; echo "${end%$'\r'}"; break ;;
    *) echo "${line%$'\r'}" ;;
  esac
done
