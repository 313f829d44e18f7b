//! A fingerprint as people compare it: groups of four hex digits, and a QR picture for a second device.

use qrcode::{EcLevel, QrCode};

/// SHA-256 in 16 groups of 4 hex digits.
pub(crate) fn groups(sha256: &[u8]) -> String {
    let hex = hex::encode(sha256);
    let groups: Vec<&str> = (0..hex.len()).step_by(4).filter_map(|i| hex.get(i..i + 4)).collect();
    groups
        .chunks(8)
        .map(|line| line.join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The hex digits as a QR code of half blocks, quiet zone included.
pub(crate) fn qr(sha256: &[u8]) -> Option<String> {
    let code = QrCode::with_error_correction_level(hex::encode(sha256), EcLevel::M).ok()?;
    Some(
        code.render::<qrcode::render::unicode::Dense1x2>()
            .quiet_zone(true)
            .build(),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn sixteen_groups() {
        let text = super::groups(&[0xab; 32]);
        assert_eq!(text.split_whitespace().count(), 16);
        assert!(text.split_whitespace().all(|g| g == "abab"));
    }
}
