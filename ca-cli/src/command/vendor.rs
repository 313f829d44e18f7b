//! TPM makers as people call them (TCG Vendor ID Registry).

use crate::output::clean;

/// `IFX` as `id:49465800`: four octets, padded with NUL; STM's and NSM's fourth is a space.
pub(super) fn id(text: &str) -> String {
    if text.to_ascii_lowercase().starts_with("id:") {
        return format!("id:{}", text.get(3..).unwrap_or_default().to_ascii_uppercase());
    }
    let mut octets = text.as_bytes().to_vec();
    octets.resize(
        4,
        if text.eq_ignore_ascii_case("STM") || text.eq_ignore_ascii_case("NSM") {
            b' '
        } else {
            0
        },
    );
    format!("id:{}", hex::encode_upper(octets))
}

/// `id:49465800` as `IFX`, when it is printable.
pub(super) fn word(id: &str) -> String {
    let octets = id
        .get(3..)
        .and_then(|digits| hex::decode(digits).ok())
        .unwrap_or_default();
    let text: String = octets.iter().filter(|b| **b != 0).map(|b| char::from(*b)).collect();
    let text = text.trim_end().to_owned();
    let printable = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if printable { text } else { clean(id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_have_names() {
        assert_eq!(id("IFX"), "id:49465800");
        assert_eq!(id("STM"), "id:53544D20");
        assert_eq!(id("id:4946580a"), "id:4946580A");
        assert_eq!(word("id:49465800"), "IFX");
        assert_eq!(word("id:53544D20"), "STM");
        assert_eq!(word("id:00001014"), "id:00001014");
        assert_eq!(word("no"), "no");
    }
}
