//! Firmware versions of TPMs, compared as numbers.
//!
//! An EK certificate names the firmware as `id:` and hex digits (TCG EK Credential Profile 2.6 §3.2.9, `tpmVersion`):
//! those of `TPM_PT_FIRMWARE_VERSION_1`, whose upper half is the major and whose lower half the minor number. Vendors
//! write it in 32 bits (`id:000D000B`) or in 16 (`id:0D0B`); both are 13.11. One or two digits are a major number
//! alone. Anything else cannot be compared.

use core::fmt;

/// A firmware version: major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Firmware {
    /// Upper half.
    pub major: u16,
    /// Lower half.
    pub minor: u16,
}

impl Firmware {
    /// As an EK certificate writes it; `None` when it cannot be compared.
    #[must_use]
    pub fn from_certificate(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("id:").or_else(|| text.strip_prefix("ID:"))?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let half = match digits.len() {
            1 | 2 => digits.len(),
            3 | 4 => digits.len().checked_sub(2)?,
            5..=8 => digits.len().checked_sub(4)?,
            _ => return None,
        };
        let (major, minor) = digits.split_at_checked(half)?;
        let number = |digits: &str| u16::from_str_radix(digits, 16).ok();
        Some(Self {
            major: number(major)?,
            minor: if minor.is_empty() { 0 } else { number(minor)? },
        })
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// How a firmware is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Same,
    AtLeast,
    More,
}

/// A condition on a firmware, for example `<16.13`, `>=7`, `=1.2`. Without a minor number only the major one counts:
/// `=16` is every 16.x, `>16` begins with 17.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirmwareRule {
    comparison: Comparison,
    major: u16,
    minor: Option<u16>,
}

/// Why a text is no condition on a firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFirmwareRule;

impl fmt::Display for NoFirmwareRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write <, <=, =, >= or > and a version in decimal, for example `<16.13`")
    }
}

impl core::error::Error for NoFirmwareRule {}

impl FirmwareRule {
    /// Read a condition.
    ///
    /// # Errors
    /// [`NoFirmwareRule`]: no operator, no decimal number, a third number, or one past 65535.
    pub fn from_text(text: &str) -> Result<Self, NoFirmwareRule> {
        let operators = [
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            ("=", Comparison::Same),
            (">", Comparison::More),
        ];
        let mut read = operators
            .into_iter()
            .filter_map(|(operator, comparison)| Some((comparison, text.strip_prefix(operator)?)));
        let (comparison, version) = read.next().ok_or(NoFirmwareRule)?;
        let number = |digits: &str| -> Result<u16, NoFirmwareRule> {
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|_| plain).ok_or(NoFirmwareRule)
        };
        let (major, minor) = match version.split_once('.') {
            Some((major, minor)) => (number(major)?, Some(number(minor)?)),
            None => (number(version)?, None),
        };
        Ok(Self {
            comparison,
            major,
            minor,
        })
    }

    /// Whether a firmware, as an EK certificate writes it, meets the condition. One that cannot be compared meets none.
    #[must_use]
    pub fn holds(&self, version: &str) -> bool {
        let Some(firmware) = Firmware::from_certificate(version) else {
            return false;
        };
        let order = firmware.major.cmp(&self.major).then(
            self.minor
                .map_or(core::cmp::Ordering::Equal, |m| firmware.minor.cmp(&m)),
        );
        match self.comparison {
            Comparison::Less => order.is_lt(),
            Comparison::AtMost => order.is_le(),
            Comparison::Same => order.is_eq(),
            Comparison::AtLeast => order.is_ge(),
            Comparison::More => order.is_gt(),
        }
    }
}

impl fmt::Display for FirmwareRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.comparison {
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::Same => "=",
            Comparison::AtLeast => ">=",
            Comparison::More => ">",
        };
        write!(f, "{operator}{}", self.major)?;
        self.minor.map_or(Ok(()), |minor| write!(f, ".{minor}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_name_a_major_and_a_minor_number() {
        for (text, version) in [
            ("id:000D000B", "13.11"),
            ("id:0D0B", "13.11"),
            ("id:0010000d", "16.13"),
            ("id:00010102", "1.258"),
            ("id:20191023", "8217.4131"),
            ("id:13", "19.0"),
            ("id:1", "1.0"),
            ("id:00000000", "0.0"),
        ] {
            let read = Firmware::from_certificate(text).map(|f| f.to_string());
            assert_eq!(read.as_deref(), Some(version), "{text}");
        }
        for other in ["", "id:", "id:000D000B0", "0D0B", "id:0D.0B", "id:+D0B", "id:é0"] {
            assert_eq!(Firmware::from_certificate(other), None, "{other}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        // 16.9 comes before 16.13, which no comparison of texts would say.
        for (rule, below, same, above) in [
            ("<16.13", true, false, false),
            ("<=16.13", true, true, false),
            ("=16.13", false, true, false),
            (">=16.13", false, true, true),
            (">16.13", false, false, true),
            ("<16", false, false, false),
            ("<=16", true, true, true),
            ("=16", true, true, true),
            (">16", false, false, false),
            (">15", true, true, true),
        ] {
            let rule = FirmwareRule::from_text(rule).unwrap();
            let found = ["id:00100009", "id:100D", "id:0010000E"].map(|version| rule.holds(version));
            assert_eq!(found, [below, same, above], "{rule}");
            assert!(!rule.holds("unreadable") && !rule.holds(""), "{rule}");
        }
    }

    #[test]
    fn a_rule_has_one_spelling() {
        for text in ["<16.13", "<=0.0", "=7", ">=65535.65535", ">1.2"] {
            assert_eq!(FirmwareRule::from_text(text).unwrap().to_string(), text);
        }
        for bad in [
            "", "16.13", "<", "<.1", "<1.", "<1.2.3", "< 1", "<+1", "<-1", "<65536", "==1", "<>1", "<0x10",
        ] {
            assert_eq!(FirmwareRule::from_text(bad), Err(NoFirmwareRule), "{bad}");
        }
    }
}
