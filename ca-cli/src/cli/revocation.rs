//! Arguments of `revoke`, `hold`, `release`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use wire::revocation::RevocationReason;

use super::Admin;

/// `ca-cli revoke`.
#[derive(Args)]
pub(crate) struct Revoke {
    /// Why, in the words of RFC 5280.
    #[arg(long, value_parser = reason())]
    pub(crate) reason: RevocationReason,
    #[command(flatten)]
    pub(crate) which: Which,
}

/// Which certificates, and how.
#[derive(Args)]
pub(crate) struct Which {
    /// A serial number (hex), or a device: all its certificates that have not ended.
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    pub(crate) target: Option<String>,
    /// File with serials and devices, one on a line (of CSV the first column counts), or the JSON of `device find`; `-`
    /// is standard input.
    #[arg(long)]
    pub(crate) from: Option<PathBuf>,
    /// Why, for the record.
    #[arg(long)]
    pub(crate) comment: Option<String>,
    /// With a serial number also all certificates it was renewed from or by.
    #[arg(long)]
    pub(crate) lineage: bool,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many certificates this is about, as --dry-run counted; else it is asked above 100.
    #[arg(long, value_name = "N")]
    pub(crate) yes_count: Option<usize>,
    /// No faster than this, for example `500/h`, `10/min` or `5/s`.
    #[arg(long, value_parser = pause)]
    pub(crate) rate: Option<Duration>,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// Every reason but the hold, which is a verb of its own.
fn reason() -> impl TypedValueParser<Value = RevocationReason> {
    let names = RevocationReason::ALL
        .into_iter()
        .filter(|r| *r != RevocationReason::CertificateHold);
    PossibleValuesParser::new(names.map(RevocationReason::as_str))
        .try_map(|name| RevocationReason::from_text(&name).ok_or("no such reason"))
}

/// The pause between two of a rate.
fn pause(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}`: write a number, a slash and s, min or h, for example `500/h`");
    let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
    let unit = match unit {
        "s" => Duration::from_secs(1),
        "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return Err(wrong()),
    };
    let count: u32 = count.parse().map_err(|_| wrong())?;
    unit.checked_div(count).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_pause() {
        assert_eq!(pause("500/h"), Ok(Duration::from_millis(7200)));
        assert_eq!(pause("10/min"), Ok(Duration::from_secs(6)));
        assert_eq!(pause("5/s"), Ok(Duration::from_millis(200)));
        for bad in ["", "5", "/h", "0/h", "-1/h", "5/d", "5/h/h", "1.5/h", "5 /h"] {
            assert!(pause(bad).is_err(), "{bad}");
        }
    }
}
