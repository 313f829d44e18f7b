//! `[aia]`: whether a job fetches intermediates, and from where.

use std::time::Duration;

use settings::{ConfigError, Source};

use super::{AiaTerms, files, raw, span};

/// Hosts are named one by one: nobody is asked by default.
pub(super) fn checked(source: &Source, base: &files::Base, raw: &raw::RawAia) -> Result<AiaTerms, ConfigError> {
    if raw.hosts.get_ref().is_empty() {
        return Err(source.error(
            &raw.hosts.span(),
            "name the hosts that may be asked, or leave [aia] out",
        ));
    }
    let name = |text: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        !text.is_empty() && text.len() <= 253 && text.bytes().all(fits) && text.bytes().any(|b| b.is_ascii_alphabetic())
    };
    for host in raw.hosts.get_ref() {
        if !name(host.get_ref()) {
            return Err(source.error(&host.span(), "a host by its name, for example \"pki.infineon.com\""));
        }
    }
    let resolve = raw.resolve.iter().map(|text| {
        let pair = text.get_ref().split_once('=').filter(|(host, _)| name(host));
        pair.and_then(|(host, address)| Some((host.to_owned(), address.parse().ok()?)))
            .ok_or_else(|| {
                source.error(
                    &text.span(),
                    "HOST=ADDRESS:PORT, for example \"pki.infineon.com=10.0.0.5:80\"",
                )
            })
    });
    let hosts = raw.hosts.get_ref().iter().map(|host| host.get_ref().clone());
    Ok(AiaTerms {
        hosts: hosts.collect(),
        resolve: resolve.collect::<Result<_, _>>()?,
        folder: base.resolve(&raw.folder),
        every: span(raw.every, 5).max(Duration::from_millis(100)),
    })
}
