//! RFC 7512 PKCS#11 URIs.

use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;

/// A parsed `pkcs11:` URI. A `pin-value` is an error, with the fix in it: secrets have no place in configuration.
///
/// `Display` writes a URI that parses to the same value.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pkcs11Uri {
    /// `token`: label.
    pub token: Option<String>,
    /// `serial`: token serial number.
    pub serial: Option<String>,
    /// `manufacturer`.
    pub manufacturer: Option<String>,
    /// `model`.
    pub model: Option<String>,
    /// `object`: label of the key.
    pub object: Option<String>,
    /// `id`: CKA_ID.
    pub id: Option<Vec<u8>>,
    /// `module-path`.
    pub module_path: Option<std::path::PathBuf>,
}

/// Text that is not an acceptable `pkcs11:` URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UriError(pub String);

const PIN_FIX: &str = "remove it and name the source beside the URI, for example `pin = { credential = \"hsm-pin\" }`, \
                       `{ file = \"/run/hsm-pin\" }`, `{ fd = 3 }` or `{ prompt = true }`";

/// Longest URI read; far above what the attributes can hold.
const LONGEST: usize = 8192;

impl FromStr for Pkcs11Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > LONGEST {
            return Err(UriError(format!("a PKCS#11 URI has at most {LONGEST} bytes")));
        }
        let (scheme, rest) = text.split_once(':').ok_or_else(not_ours)?;
        if !scheme.eq_ignore_ascii_case("pkcs11") {
            return Err(not_ours());
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let mut uri = Self::default();
        // `type` carries nothing to keep, but must not come twice either.
        let mut typed = None;
        for pair in path.split(';').filter(|_| !path.is_empty()) {
            uri.path_attribute(pair, &mut typed)?;
        }
        for pair in query
            .into_iter()
            .filter(|query| !query.is_empty())
            .flat_map(|query| query.split('&'))
        {
            uri.query_attribute(pair)?;
        }
        Ok(uri)
    }
}

fn not_ours() -> UriError {
    UriError("a PKCS#11 URI starts with `pkcs11:`".into())
}

impl Pkcs11Uri {
    /// RFC 7512 §2.3: known attributes come once; one that is not known selects something we cannot see, so it refuses.
    fn path_attribute(&mut self, pair: &str, typed: &mut Option<()>) -> Result<(), UriError> {
        let (name, value) = split(pair)?;
        refuse_pin(name)?;
        let bytes = decode(name, value, b"&")?;
        match name {
            // Lengths are those of CK_TOKEN_INFO; a longer text could never match.
            "token" => once(&mut self.token, name, text(name, bytes, 32)?),
            "serial" => once(&mut self.serial, name, text(name, bytes, 16)?),
            "manufacturer" => once(&mut self.manufacturer, name, text(name, bytes, 32)?),
            "model" => once(&mut self.model, name, text(name, bytes, 16)?),
            "object" => once(&mut self.object, name, text(name, bytes, LONGEST)?),
            "id" if bytes.is_empty() => Err(UriError("`id` of a PKCS#11 URI is empty".into())),
            "id" => once(&mut self.id, name, bytes),
            "type" if bytes == b"private" => once(typed, name, ()),
            "type" => Err(UriError(
                "`type` of a CA key's PKCS#11 URI is `private`, or left out".into(),
            )),
            "slot-id" => Err(UriError(
                "`slot-id` changes between starts of a token: select by `token` or `serial` instead".into(),
            )),
            "slot-description"
            | "slot-manufacturer"
            | "library-manufacturer"
            | "library-description"
            | "library-version" => Err(UriError(format!(
                "`{name}` is not used to select a token: select by `token`, `serial`, `manufacturer` or `model`"
            ))),
            _ => Err(UriError(format!(
                "unknown attribute `{name}` in the path of a PKCS#11 URI"
            ))),
        }
    }

    /// Unknown (vendor) query attributes select nothing and are ignored.
    fn query_attribute(&mut self, pair: &str) -> Result<(), UriError> {
        let (name, value) = split(pair)?;
        refuse_pin(name)?;
        let bytes = decode(name, value, b"/?|")?;
        match name {
            "module-path" => {
                let path = PathBuf::from(text(name, bytes, LONGEST)?);
                if !path.is_absolute() {
                    return Err(UriError(format!("`module-path={}` must be absolute", path.display())));
                }
                once(&mut self.module_path, name, path)
            }
            "module-name" => Err(UriError(
                "`module-name` depends on a search path: give the file as `module-path=/usr/lib/...`".into(),
            )),
            _ => Ok(()),
        }
    }
}

fn split(pair: &str) -> Result<(&str, &str), UriError> {
    let (name, value) = pair.split_once('=').ok_or_else(|| {
        // The text is not repeated: it might be a PIN that lost its name.
        UriError("every attribute of a PKCS#11 URI is `name=value`".into())
    })?;
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    {
        return Err(UriError(
            "attribute names of a PKCS#11 URI have letters, digits, `-` and `_` only".into(),
        ));
    }
    Ok((name, value))
}

/// Anything that looks like a PIN, misspelt or not, must not be carried along in silence.
fn refuse_pin(name: &str) -> Result<(), UriError> {
    let name = name.to_ascii_lowercase();
    if name == "pin-source" {
        return Err(UriError(format!(
            "`pin-source` is not read from a PKCS#11 URI: {PIN_FIX}"
        )));
    }
    if name.starts_with("pin") {
        return Err(UriError(format!(
            "a PIN has no place in a PKCS#11 URI (`{name}`): {PIN_FIX}"
        )));
    }
    Ok(())
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), UriError> {
    if place.is_some() {
        return Err(UriError(format!("`{name}` comes twice in a PKCS#11 URI")));
    }
    *place = Some(value);
    Ok(())
}

fn text(name: &str, bytes: Vec<u8>, longest: usize) -> Result<String, UriError> {
    if bytes.len() > longest {
        return Err(UriError(format!(
            "`{name}` of a PKCS#11 URI has at most {longest} bytes"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| UriError(format!("`{name}` of a PKCS#11 URI is not UTF-8")))?;
    if text.is_empty() || text.contains('\0') {
        return Err(UriError(format!("`{name}` of a PKCS#11 URI is empty or has a NUL")));
    }
    Ok(text)
}

/// `unreserved` of RFC 3986 and `pk11-res-avail` of RFC 7512 §2.3.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=".contains(&byte)
}

/// Percent-decode `value`; `extra` are the characters allowed as they are in this part of the URI.
fn decode(name: &str, value: &str, extra: &[u8]) -> Result<Vec<u8>, UriError> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit(rest.next()), digit(rest.next()));
            let (Some(high), Some(low)) = (high, low) else {
                return Err(UriError(format!(
                    "`{name}` of a PKCS#11 URI has `%` without two hexadecimal digits"
                )));
            };
            out.push(u8::try_from(high * 16 + low).unwrap_or(u8::MAX));
        } else if plain(byte) || extra.contains(&byte) {
            out.push(byte);
        } else {
            return Err(UriError(format!(
                "`{name}` of a PKCS#11 URI has a character that must be percent-encoded: `%{byte:02X}`"
            )));
        }
    }
    Ok(out)
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("pkcs11:")?;
        let texts = [
            ("token", &self.token),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("object", &self.object),
        ];
        let mut separator = "";
        for (name, value) in texts {
            if let Some(value) = value {
                write!(out, "{separator}{name}=")?;
                encode(out, value.as_bytes(), b"")?;
                separator = ";";
            }
        }
        if let Some(id) = &self.id {
            // RFC 7512 §2.3: a CKA_ID is best written fully percent-encoded.
            write!(out, "{separator}id=")?;
            id.iter().try_for_each(|byte| write!(out, "%{byte:02X}"))?;
        }
        if let Some(path) = &self.module_path {
            out.write_str("?module-path=")?;
            encode(out, path.as_os_str().as_encoded_bytes(), b"/")?;
        }
        Ok(())
    }
}

fn encode(out: &mut fmt::Formatter<'_>, bytes: &[u8], extra: &[u8]) -> fmt::Result {
    for byte in bytes {
        if plain(*byte) || extra.contains(byte) {
            write!(out, "{}", char::from(*byte))?;
        } else {
            write!(out, "%{byte:02X}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Pkcs11Uri {
        text.parse().unwrap()
    }

    #[test]
    fn what_we_use_is_read() {
        assert_eq!(parse("pkcs11:"), Pkcs11Uri::default());
        let uri = parse(
            "PKCS11:token=The%20Software%20PKCS%2311;serial=ce4d;manufacturer=Snake%20Oil,%20Inc.;model=1.0;\
             object=issuing-2026a;type=private;id=%69%95%3E?module-path=/usr/lib/softhsm/libsofthsm2.so&x-vendor=a|b",
        );
        assert_eq!(uri.token.as_deref(), Some("The Software PKCS#11"));
        assert_eq!(uri.serial.as_deref(), Some("ce4d"));
        assert_eq!(uri.manufacturer.as_deref(), Some("Snake Oil, Inc."));
        assert_eq!(uri.model.as_deref(), Some("1.0"));
        assert_eq!(uri.object.as_deref(), Some("issuing-2026a"));
        assert_eq!(uri.id.as_deref(), Some(&[0x69, 0x95, 0x3e][..]));
        assert_eq!(uri.module_path, Some("/usr/lib/softhsm/libsofthsm2.so".into()));
    }

    #[test]
    fn each_refusal_has_its_own_cause() {
        // Every text is `pkcs11:token=a` with exactly one thing added that refuses.
        parse("pkcs11:token=a");
        let table = [
            ("pkcs12:token=a", "starts with `pkcs11:`"),
            ("token=a", "starts with `pkcs11:`"),
            ("pkcs11:token=a;token=a", "`token` comes twice"),
            ("pkcs11:token=a;type=private;type=private", "`type` comes twice"),
            (
                "pkcs11:token=a?module-path=/a&module-path=/a",
                "`module-path` comes twice",
            ),
            ("pkcs11:token=a;", "`name=value`"),
            ("pkcs11:token=a;serial", "`name=value`"),
            ("pkcs11:token=a;sèrial=1", "letters, digits"),
            ("pkcs11:token=a;colour=red", "unknown attribute `colour`"),
            ("pkcs11:token=a;type=public", "`type` of a CA key"),
            ("pkcs11:token=a;slot-id=0", "changes between starts"),
            ("pkcs11:token=a;slot-description=x", "not used to select"),
            ("pkcs11:token=a;library-version=3", "not used to select"),
            ("pkcs11:token=a;object=%4", "two hexadecimal digits"),
            ("pkcs11:token=a;object=%4g", "two hexadecimal digits"),
            ("pkcs11:token=a;object=%+4", "two hexadecimal digits"),
            ("pkcs11:token=a;object=b c", "percent-encoded"),
            ("pkcs11:token=a;object=b/c", "percent-encoded"),
            ("pkcs11:token=a;object=%ff", "not UTF-8"),
            ("pkcs11:token=a;object=%00", "has a NUL"),
            ("pkcs11:token=a;object=", "is empty"),
            ("pkcs11:token=a;id=", "`id` of a PKCS#11 URI is empty"),
            ("pkcs11:token=a;serial=12345678901234567", "at most 16 bytes"),
            ("pkcs11:token=a;model=12345678901234567", "at most 16 bytes"),
            ("pkcs11:token=123456789012345678901234567890123", "at most 32 bytes"),
            ("pkcs11:token=a?module-path=softhsm.so", "must be absolute"),
            ("pkcs11:token=a?module-name=softhsm", "search path"),
            ("pkcs11:token=a?module-path=/a%", "two hexadecimal digits"),
        ];
        for (text, reason) in table {
            let error = text.parse::<Pkcs11Uri>().unwrap_err();
            assert!(error.0.contains(reason), "{text}: {error}");
        }
        let long = format!("pkcs11:object={}", "a".repeat(LONGEST));
        assert!(long.parse::<Pkcs11Uri>().unwrap_err().0.contains("at most 8192"));
    }

    #[test]
    fn a_pin_anywhere_is_refused_with_the_fix_and_never_repeated() {
        for text in [
            "pkcs11:token=a?pin-value=canary-8842",
            "pkcs11:token=a;pin-value=canary-8842",
            "pkcs11:token=a?PIN-VALUE=canary-8842",
            "pkcs11:token=a?pin_value=canary-8842",
            "pkcs11:token=a?pin=canary-8842",
            "pkcs11:token=a?pin-value=canary-8842%",
            "pkcs11:token=a?pin-source=file:/canary-8842",
            "pkcs11:token=a;pin-source=file:/canary-8842",
        ] {
            let error = text.parse::<Pkcs11Uri>().unwrap_err().to_string();
            assert!(error.contains("pin = { credential = "), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    fn label(longest: usize) -> impl Strategy<Value = Option<String>> {
        proptest::option::of(proptest::collection::vec(
            proptest::char::any().prop_filter("no NUL", |c| *c != '\0'),
            1..=longest / 4,
        ))
        .prop_map(|chars| chars.map(|chars| chars.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(pkcs11:)?[a-z=;?&%0-9/ -]{0,80}|.{0,80}") {
            let _ = text.parse::<Pkcs11Uri>();
        }

        #[test]
        fn what_is_written_is_read_back(
            (token, serial, manufacturer, model, object) in (label(32), label(16), label(32), label(16), label(80)),
            id in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..40)),
            path in label(80),
        ) {
            let module_path = path.map(|path| PathBuf::from(format!("/{path}")));
            let uri = Pkcs11Uri { token, serial, manufacturer, model, object, id, module_path };
            prop_assert_eq!(uri.to_string().parse::<Pkcs11Uri>().unwrap(), uri);
        }
    }
}
