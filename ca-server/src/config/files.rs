//! Files a configuration names.

use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use settings::{ConfigError, Source};
use toml::Spanned;
use zeroize::Zeroizing;

use super::SecretSource;

/// Largest file that is read: a configuration names keys, certificates and rules, nothing larger.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The directory relative paths start from.
pub(super) struct Base(PathBuf);

impl Base {
    pub(super) fn of(file: &Path) -> Self {
        Self(file.parent().unwrap_or(Path::new("")).to_owned())
    }

    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.0.join(path)
    }
}

/// Read a file that is no secret.
pub(super) fn read(source: &Source, span: &Range<usize>, path: &Path) -> Result<Vec<u8>, ConfigError> {
    open(source, span, path).and_then(|file| slurp(source, span, path, file))
}

/// Read a text file.
pub(super) fn read_text(source: &Source, span: &Range<usize>, path: &Path) -> Result<String, ConfigError> {
    String::from_utf8(read(source, span, path)?)
        .map_err(|_| source.error(span, format!("{}: not UTF-8", path.display())))
}

/// Read a secret file: only its owner may read it.
pub(super) fn read_secret(
    source: &Source,
    span: &Range<usize>,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let file = open(source, span, path)?;
    let mode = file
        .metadata()
        .map_err(|e| source.error(span, format!("{}: {e}", path.display())))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(source
            .error(
                span,
                format!(
                    "{}: others may read this secret (mode {:04o})",
                    path.display(),
                    mode & 0o7777
                ),
            )
            .help(format!("chmod 600 {}", path.display())));
    }
    slurp(source, span, path, file).map(Zeroizing::new)
}

/// The files of a list: a directory stands for its files with one of these endings, in the order of their names.
pub(super) fn expand(
    source: &Source,
    base: &Base,
    paths: &[Spanned<PathBuf>],
    endings: &[&str],
) -> Result<Vec<(Range<usize>, PathBuf)>, ConfigError> {
    let mut files = Vec::new();
    for path in paths {
        let span = path.span();
        let full = base.resolve(path.get_ref());
        if full.is_dir() {
            let within = directory(source, &span, &full, endings)?;
            files.extend(within.into_iter().map(|file| (span.clone(), file)));
        } else {
            files.push((span, full));
        }
    }
    Ok(files)
}

/// The files of a directory with one of these endings, in the order of their names.
pub(super) fn directory(
    source: &Source,
    span: &Range<usize>,
    path: &Path,
    endings: &[&str],
) -> Result<Vec<PathBuf>, ConfigError> {
    let wrong = |e: std::io::Error| source.error(span, format!("{}: {e}", path.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(wrong)? {
        let file = entry.map_err(wrong)?.path();
        let fits = file
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| endings.contains(&e));
        if fits && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(source.error(span, format!("{}: no *.{} in it", path.display(), endings.join(", *."))));
    }
    Ok(files)
}

/// The last part of a path, for messages.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A one-line secret from a file or a credential.
pub(super) fn secret(
    source: &Source,
    base: &Base,
    place: &Spanned<SecretSource>,
) -> Result<Zeroizing<String>, ConfigError> {
    let span = place.span();
    let bytes = match place.get_ref() {
        SecretSource::File(path) => read_secret(source, &span, &base.resolve(path))?,
        SecretSource::Credential(name) => {
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                return Err(source.error(&span, "a credential is named without a path"));
            }
            let directory = std::env::var_os("CREDENTIALS_DIRECTORY").unwrap_or_else(|| "/run/secrets".into());
            let mut path = Path::new(&directory).join(name);
            if !path.exists() {
                path = Path::new("/run/secrets").join(name);
            }
            Zeroizing::new(read(source, &span, &path)?)
        }
        SecretSource::Fd(_) | SecretSource::Prompt => {
            return Err(source.error(&span, "here only { file = \"…\" } or { credential = \"…\" } is taken"));
        }
    };
    let text = core::str::from_utf8(&bytes).map_err(|_| source.error(&span, "the secret is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains(char::is_control) {
        return Err(source.error(&span, "the secret must be one line"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// RFC 3986 §2.1: everything but unreserved characters.
pub(super) fn percent_encoded(text: &str) -> Zeroizing<String> {
    use core::fmt::Write as _;
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 3));
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn open(source: &Source, span: &Range<usize>, path: &Path) -> Result<std::fs::File, ConfigError> {
    std::fs::File::open(path).map_err(|e| source.error(span, format!("{}: {e}", path.display())))
}

fn slurp(source: &Source, span: &Range<usize>, path: &Path, file: std::fs::File) -> Result<Vec<u8>, ConfigError> {
    // Room for all of it from the start: a buffer that grows leaves pieces of a secret behind.
    let size = file.metadata().map_or(0, |metadata| metadata.len()).min(LARGEST);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| source.error(span, format!("{}: {e}", path.display())))?;
    if bytes.len() as u64 > LARGEST {
        return Err(source.error(span, format!("{}: larger than 16 MiB", path.display())));
    }
    Ok(bytes)
}
