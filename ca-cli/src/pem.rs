//! PEM files as they lie about: blocks with text around them.

/// DER of each block of this label (RFC 7468 §2), in order. What stands around the blocks is skipped.
pub(crate) fn blocks(text: &[u8], label: &str) -> Result<Vec<Vec<u8>>, String> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = position(rest, begin.as_bytes()) {
        let block = rest.get(at..).unwrap_or_default();
        let length = position(block, end.as_bytes())
            .map(|to| to.saturating_add(end.len()))
            .ok_or_else(|| format!("a {label} block begins and does not end"))?;
        let (block, after) = block.split_at_checked(length).unwrap_or((block, &[]));
        // Strict first; vendors also publish lines of any length (RFC 7468 §2 asks for 64 characters).
        let der = match der::pem::decode_vec(block) {
            Ok((_, der)) => der,
            Err(e) => loose(block, &begin, &end).ok_or_else(|| format!("{label} block {}: {e}", found.len() + 1))?,
        };
        found.push(der);
        rest = after;
    }
    Ok(found)
}

/// The same with lines of any length.
fn loose(block: &[u8], begin: &str, end: &str) -> Option<Vec<u8>> {
    let inside = block.strip_prefix(begin.as_bytes())?.strip_suffix(end.as_bytes())?;
    let digits: Vec<u8> = inside.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    let digits = core::str::from_utf8(&digits).ok()?;
    let whole = digits.len() % 4 == 0 && !digits.is_empty();
    whole.then(|| openssl::base64::decode_block(digits).ok()).flatten()
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";

    #[test]
    fn blocks_are_found_among_text() {
        let text = format!("depth=0\n{ONE}between\r\n{}junk", ONE.replace('\n', "\r\n"));
        assert_eq!(blocks(text.as_bytes(), "CERTIFICATE"), Ok(vec![vec![0, 1, 2]; 2]));
        assert_eq!(blocks(text.as_bytes(), "PUBLIC KEY"), Ok(vec![]));
        assert_eq!(blocks(b"", "CERTIFICATE"), Ok(vec![]));
    }

    #[test]
    fn lines_may_be_of_any_length() {
        let text = "-----BEGIN CERTIFICATE-----\nAA\nECA w==\n\n-----END CERTIFICATE-----";
        assert_eq!(blocks(text.as_bytes(), "CERTIFICATE"), Ok(vec![vec![0, 1, 2, 3]]));
    }

    #[test]
    fn broken_blocks_are_errors() {
        let cut = ONE.replace("-----END CERTIFICATE-----", "");
        assert!(blocks(cut.as_bytes(), "CERTIFICATE").is_err());
        assert!(blocks(ONE.replace("AAEC", "AA*C").as_bytes(), "CERTIFICATE").is_err());
    }
}
