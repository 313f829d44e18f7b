//! Who made the TPM: the attributes of the EK certificate's subjectAltName.

use crate::x509::asn1::{BadDer, PRINTABLE_STRING, Tlv, UTF8_STRING};

/// Longest model; real ones have at most a few dozen characters.
const MAX_MODEL: usize = 64;

/// tpmManufacturer, tpmModel and tpmVersion (TCG EK Credential Profile, 3.1.2), printable ASCII of a short allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TpmName {
    /// `id:` and 8 upper-case hex digits.
    pub(super) manufacturer: String,
    pub(super) model: String,
    /// `id:` and hex digits as certified.
    pub(super) version: String,
}

/// Canonical form of a manufacturer id: `id:` and 8 hex digits, which become capitals.
pub(crate) fn manufacturer_id(text: &str) -> Option<String> {
    let digits = text.strip_prefix("id:")?;
    let sound = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    sound.then(|| format!("id:{}", digits.to_ascii_uppercase()))
}

/// `id:` and 1 to 16 hex digits.
pub(super) fn version(text: &str) -> Option<String> {
    let digits = text.strip_prefix("id:")?;
    let sound = (1..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    sound.then(|| text.to_owned())
}

/// Letters, digits, space and `.-_:()/`; begins with a letter or digit and does not end in a space. Nothing here means
/// anything to a terminal, a log, CSV, a distinguished name or HTML.
pub(super) fn model(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b" .-_:()/".contains(&byte);
    let sound = text.len() <= MAX_MODEL
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && !text.ends_with(' ')
        && text.bytes().all(allowed);
    sound.then(|| text.to_owned())
}

/// Text of a UTF8String or PrintableString; all other string types are refused.
pub(super) fn text<'a>(value: &Tlv<'a>) -> Result<&'a str, BadDer> {
    match value.tag {
        UTF8_STRING | PRINTABLE_STRING => {
            core::str::from_utf8(value.content).map_err(|_| BadDer("string is not UTF-8"))
        }
        _ => Err(BadDer("string is neither UTF8String nor PrintableString")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manufacturer_ids() {
        assert_eq!(manufacturer_id("id:49465800").as_deref(), Some("id:49465800"));
        assert_eq!(manufacturer_id("id:4e544300").as_deref(), Some("id:4E544300"));
        for bad in [
            "49465800",
            "id:4946580",
            "id:494658000",
            "id:4946580G",
            "ID:49465800",
            "id:IFX\0abcd",
            "",
        ] {
            assert_eq!(manufacturer_id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn versions() {
        for good in ["id:13", "id:073f", "id:00010101", "id:20191023"] {
            assert_eq!(version(good).as_deref(), Some(good));
        }
        for bad in ["id:", "13", "id:00000000000000001", "id:1 3", "id:1.3"] {
            assert_eq!(version(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn models_of_the_field_pass_and_characters_with_a_meaning_elsewhere_do_not() {
        for good in [
            "SLB 9670 TPM2.0",
            "NPCT6xx",
            "ST33HTPHAHD4",
            "swtpm",
            "vTPM",
            "Intel(R) PTT/fTPM_2:0-1",
        ] {
            assert_eq!(model(good).as_deref(), Some(good));
        }
        let long = "x".repeat(65);
        for bad in [
            "",
            "X\0.bank",
            "A,CN=admin",
            "a\nlevel=info",
            "a\u{202E}b",
            "a\u{2028}b",
            "=cmd()",
            "-cmd",
            " x",
            "x ",
            "a\"b",
            "a<b>",
            "a+b",
            "a;b",
            "a\\b",
            "a\tb",
            "\u{1b}[2Jx",
            "caf\u{e9}",
            "\u{430}dmin",
            &long,
        ] {
            assert_eq!(model(bad), None, "{bad:?}");
        }
    }
}
