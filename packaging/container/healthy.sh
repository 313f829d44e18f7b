#!/bin/bash
# Exit 0 when /readyz answers 200. No curl in the image.
exec 3<>/dev/tcp/127.0.0.1/9464 || exit 1
printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
IFS= read -r -t 4 line <&3 && [[ $line == *' 200 '* ]]
