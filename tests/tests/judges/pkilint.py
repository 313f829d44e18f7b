"""Names, programs and files on standard input; runs pkilint's own programs in one process, which loads them once."""

import contextlib
import io
import sys

from pkilint.bin import lint_crl, lint_ocsp_response, lint_pkix_cert

PROGRAMS = {"certificate": (lint_pkix_cert, []), "crl": (lint_crl, ["-t", "crl", "-p", "pkix"]), "answer": (lint_ocsp_response, [])}

for line in sys.stdin:
    name, program, path = line.split()
    module, more = PROGRAMS[program]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        module.main(["lint", *more, "-s", "NOTICE", "-f", "CSV", path])
    lines = said.getvalue().splitlines()
    if not lines or not lines[0].startswith("node_path,"):
        sys.exit(f"{name}: {said.getvalue()}")
    print(name, "read")
    for finding in filter(None, lines[1:]):
        print(name, finding.split(",")[3])
