//! Files of others, over plain HTTP: all of them are signed.

use std::io::Read as _;
use std::time::Duration;

use crate::exit::{Exit, Failure};
use crate::output::clean;

/// Fetch a file; one that is longer than `longest` comes one byte too long.
pub(crate) fn over_http(url: &str, longest: u64) -> Result<Vec<u8>, Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(60)))
        .max_redirects(0)
        .http_status_as_error(false)
        .build()
        .into();
    let away = |what: String| Failure::new(Exit::TryAgain, format!("{}: {what}", clean(url)));
    let mut answer = agent.get(url).call().map_err(|e| away(e.to_string()))?;
    match answer.status().as_u16() {
        200 => {}
        404 => {
            return Err(Failure::new(
                Exit::NotFound,
                format!("{}: nothing is there", clean(url)),
            ));
        }
        status => return Err(away(format!("answered {status}"))),
    }
    let mut bytes = Vec::new();
    answer
        .body_mut()
        .as_reader()
        .take(longest + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| away(e.to_string()))?;
    Ok(bytes)
}
