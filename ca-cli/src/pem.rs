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
        let (_, der) = der::pem::decode_vec(block).map_err(|e| format!("{label} block {}: {e}", found.len() + 1))?;
        found.push(der);
        rest = after;
    }
    Ok(found)
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
    fn broken_blocks_are_errors() {
        let cut = ONE.replace("-----END CERTIFICATE-----", "");
        assert!(blocks(cut.as_bytes(), "CERTIFICATE").is_err());
        assert!(blocks(ONE.replace("AAEC", "AA*C").as_bytes(), "CERTIFICATE").is_err());
    }
}
