//! Which characters and shapes names may have. One place for all of them: inventory, profiles, ceremony and
//! certificates ask here, and nowhere else.
//!
//! Everything is an allow list. What is not listed is refused, never replaced or dropped.

/// A name that may not be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

/// Longest device name, profile name, organization and common name, in characters (RFC 5280 A.1, ub-serial-number,
/// ub-organization-name, ub-common-name).
const SHORT: usize = 64;

fn refuse<T>(text: impl Into<String>) -> Result<T, NameError> {
    Err(NameError(text.into()))
}

/// The first character of `text` that is not `allowed`.
fn only(what: &str, text: &str, allowed: impl Fn(char) -> bool) -> Result<(), NameError> {
    match text.chars().enumerate().find(|(_, c)| !allowed(*c)) {
        // escape_unicode: the message goes to terminals and logs.
        Some((at, c)) => refuse(format!(
            "{what}: character {} ({}) is not allowed",
            at.saturating_add(1),
            c.escape_unicode()
        )),
        None => Ok(()),
    }
}

fn length(what: &str, length: usize, most: usize) -> Result<(), NameError> {
    match length {
        0 => refuse(format!("{what} is empty")),
        n if n > most => refuse(format!("{what} has {n} characters; at most {most} are allowed")),
        _ => Ok(()),
    }
}

fn ends_alphanumeric(what: &str, text: &str) -> Result<(), NameError> {
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        Ok(())
    } else {
        refuse(format!("{what} must begin and end with a letter or digit"))
    }
}

/// A device name: 1 to 64 characters of `A-Z a-z 0-9 . -`, first and last alphanumeric, no two dots in a row.
///
/// It becomes the subject's serialNumber, a PrintableString (RFC 5280 A.1): that is why there is no `_`. Compared
/// byte for byte, never folded.
///
/// # Errors
/// [`NameError`] says what is wrong.
pub fn device(text: &str) -> Result<(), NameError> {
    length("device name", text.chars().count(), SHORT)?;
    only("device name", text, |c| {
        c.is_ascii_alphanumeric() || c == '.' || c == '-'
    })?;
    ends_alphanumeric("device name", text)?;
    if text.contains("..") {
        return refuse("device name has two dots in a row");
    }
    Ok(())
}

/// A profile name: 1 to 64 characters of `a-z 0-9 -`, first and last alphanumeric.
///
/// # Errors
/// [`NameError`].
pub fn profile(text: &str) -> Result<(), NameError> {
    length("profile name", text.chars().count(), SHORT)?;
    only("profile name", text, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
    })?;
    ends_alphanumeric("profile name", text)
}

/// A DNS name in a certificate: lower-case A-labels, LDH, 1..=253, no wildcard, no trailing dot, not all-numeric,
/// no IDN A-label that does not round-trip (RFC 5280 §4.2.1.6, RFC 1034 §3.5, RFC 5890 §2.3.2.1).
///
/// # Errors
/// [`NameError`].
pub fn dns(text: &str) -> Result<(), NameError> {
    length("DNS name", text.chars().count(), 253)?;
    only("DNS name", text, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-'
    })?;
    for label in text.split('.') {
        dns_label(label)?;
    }
    // URL parsers read a last label of digits, or of 0x and hex digits, as part of an IPv4 address.
    let last = text.rsplit('.').next().unwrap_or_default();
    let hex = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if hex || last.bytes().all(|b| b.is_ascii_digit()) {
        return refuse("DNS name ends in a number and could be read as an IP address");
    }
    Ok(())
}

fn dns_label(label: &str) -> Result<(), NameError> {
    length("DNS label", label.len(), 63)?;
    ends_alphanumeric("DNS label", label)?;
    if label.get(2..4) != Some("--") {
        return Ok(());
    }
    // R-LDH labels: only A-labels exist, and of these only the one spelling that decodes and encodes back, to
    // something that is not plain ASCII (CVE-2024-12224).
    let (unicode, decoded) = idna::domain_to_unicode(label);
    let again = idna::domain_to_ascii_strict(&unicode);
    if decoded.is_ok() && !unicode.is_ascii() && again.is_ok_and(|again| again == label) {
        Ok(())
    } else {
        refuse("DNS label has `--` in third place but is no valid internationalised label")
    }
}

/// A SPIFFE id with path (SPIFFE-ID §2, X.509-SVID §2): `spiffe://trust-domain/segment...`.
///
/// # Errors
/// [`NameError`].
pub fn spiffe(text: &str) -> Result<(), NameError> {
    length("SPIFFE id", text.len(), 2048)?;
    let Some((domain, path)) = text.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) else {
        return refuse("SPIFFE id is not `spiffe://` trust domain `/` path");
    };
    length("SPIFFE trust domain", domain.len(), 255)?;
    only("SPIFFE trust domain", domain, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_')
    })?;
    ends_alphanumeric("SPIFFE trust domain", domain)?;
    for segment in path.split('/') {
        length("SPIFFE path segment", segment.len(), 2048)?;
        only("SPIFFE path segment", segment, |c| {
            c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
        })?;
        if segment == "." || segment == ".." {
            return refuse("SPIFFE path segment is relative");
        }
    }
    Ok(())
}

/// An IP address in a certificate: 4 or 16 octets, one that a host can have: not unspecified, multicast or
/// broadcast, and not an IPv4 address dressed as IPv6 (RFC 5280 §4.2.1.6).
///
/// # Errors
/// [`NameError`].
pub fn ip(octets: &[u8]) -> Result<(), NameError> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        let address = core::net::Ipv4Addr::from(four);
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            return refuse(format!("{address} is not the address of a host"));
        }
        return Ok(());
    }
    let Ok(sixteen) = <[u8; 16]>::try_from(octets) else {
        return refuse(format!("an IP address has 4 or 16 octets, not {}", octets.len()));
    };
    let address = core::net::Ipv6Addr::from(sixteen);
    if address.is_unspecified() || address.is_multicast() {
        return refuse(format!("{address} is not the address of a host"));
    }
    if !address.is_loopback() && address.to_ipv4().is_some() {
        return refuse(format!("{address} is an IPv4 address: give its 4 octets"));
    }
    Ok(())
}

/// Organization or common name: 1..=64 characters; letters and digits of any script, single spaces inside, and
/// `. , - _ & ' ( ) + / :`. So no control, bidi, zero-width or separator character, and no `=`, `"`, `\`, `<`, `>`,
/// `;`, `#` or `*`, on which directory strings, markup and shells hang.
///
/// # Errors
/// [`NameError`].
pub fn directory_string(text: &str) -> Result<(), NameError> {
    length("name", text.chars().count(), SHORT)?;
    only("name", text, |c| {
        (c.is_alphanumeric() && !INVISIBLE_LETTERS.contains(&c)) || " .,-_&'()+/:".contains(c)
    })?;
    if text.starts_with(' ') || text.ends_with(' ') || text.contains("  ") {
        return refuse("name has a space at its end, or two in a row");
    }
    Ok(())
}

/// Letters by category, blank on the screen: the Hangul fillers.
const INVISIBLE_LETTERS: [char; 4] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'];
